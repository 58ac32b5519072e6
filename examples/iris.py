"""Which iris is it? A scikit-learn classifier that takes NumPy arrays, many in one call.

Serve it, and ask it from another terminal:

    ./run serve examples/iris.py:Iris

    curl --json '{"input": [5.1, 3.5, 1.4, 0.2]}' http://127.0.0.1:8080/predict
    {"input":[5.1, 3.5, 1.4, 0.2],"result":{"species":"setosa","probability":0.982}}
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_iris  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

import zypher


@dataclass
class Answer:
    species: str
    probability: float


class Iris:
    """Tells the species of an iris from four lengths in cm: sepal, its width, petal, its width."""

    def setup(self) -> None:
        data = load_iris()
        self.classifier = LogisticRegression(max_iter=1000)
        self.classifier.fit(data.data, data.target_names[data.target])

    @zypher.batch(max_size=32, max_wait=0.005)
    def predict(self, flowers: list[npt.NDArray[np.float64]]) -> list[Answer]:
        for flower in flowers:
            if flower.shape != (4,):  # it fails alone: the others run again, one by one
                raise zypher.InvalidInput(f"Expected 4 numbers, not an array of {flower.shape}.")
        rows = self.classifier.predict_proba(np.stack(flowers))
        species = self.classifier.classes_
        return [Answer(species[row.argmax()], round(float(row.max()), 3)) for row in rows]
