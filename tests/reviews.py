"""A model with pydantic types, apart from the others: these start sooner without pydantic."""

from typing import Annotated

from pydantic import BaseModel, Field


class Review(BaseModel):
    """What somebody thinks of something."""

    text: Annotated[str, Field(min_length=1)]
    stars: Annotated[int, Field(ge=1, le=5)] = 3


class Sentiment:
    """Judges reviews by their stars."""

    def setup(self) -> None:
        self.words = {1: "bad", 2: "poor", 3: "fair", 4: "good", 5: "great"}

    def predict(self, review: Review) -> dict[str, str]:
        return {"label": self.words[review.stars]}
