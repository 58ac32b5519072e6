"""A predictor as one writes it for Cog: numbers in, a structured result out."""

import enum
import json
from typing import Any, Optional

from cog import BaseModel, BaseRunner, File, Input, Path


class Species(str, enum.Enum):
    SETOSA = "setosa"
    VIRGINICA = "virginica"


class Output(BaseModel):
    price: float
    near: list[float]
    report: Optional[Path] = None


class Runner(BaseRunner):
    def setup(self) -> None:
        self.weights = {Species.SETOSA: 1.0, Species.VIRGINICA: 2.0}

    def run(
        self,
        sizes: list[float] = Input(description="In metres", ge=0),
        species: str = Input(default=Species.SETOSA, choices=list(Species)),
        offset: Optional[float] = None,
        options: dict[str, Any] = Input(default={}),
        table: Optional[File] = Input(description="One more", default=None),
        with_report: bool = False,
    ) -> Output:
        if table is not None:
            sizes = sizes + json.load(table)
        price = sum(sizes) * self.weights[Species(species)] + (offset or 0)
        result = Output(price=price, near=[price - 1, price + 1])
        if with_report:
            result.report = Path(__file__).with_name("report.txt")
        return result
