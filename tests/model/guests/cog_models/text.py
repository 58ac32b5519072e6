"""Predictors as one writes them for Cog: text in, text out, a token at a time."""

from typing import Optional

from cog import (
    AsyncConcatenateIterator,
    BasePredictor,
    BaseRunner,
    ConcatenateIterator,
    Input,
    Secret,
    concurrent,
    current_scope,
    emit_metric,
)


class Predictor(BasePredictor):
    """A parrot that knows when to stop."""

    def setup(self) -> None:
        self.vocabulary = ["the", "parrot", "says", "it", "again", "and", "again"]

    def predict(
        self,
        prompt: str = Input(description="Text to repeat", min_length=1, max_length=40),
        max_new_tokens: int = Input(description="How many words", ge=1, le=8, default=3),
        temperature: float = Input(description="Higher is wilder", ge=0, le=2, default=0.7),
        style: str = Input(choices=["plain", "loud"], default="plain"),
        seed: Optional[int] = Input(description="Leave blank to randomize", default=None),
        stop: str = Input(regex="[a-z]*", default="", deprecated=True),
    ) -> ConcatenateIterator[str]:
        emit_metric("seeded", seed is not None)
        for word in [prompt, *self.vocabulary][: max_new_tokens + 1]:
            if word == stop:
                return
            yield (word.upper() if style == "loud" else word) + " "


class Greeter(BasePredictor):
    """One input: with Cog that is an object, too."""

    def predict(self, text: str) -> str:
        return f"hello {text}"


class Asynchronous(BasePredictor):
    async def setup(self) -> None:
        self.mark = "!"

    @concurrent(max=4)
    async def predict(self, text: str = Input(description="Text")) -> AsyncConcatenateIterator[str]:
        for letter in text:
            yield letter
        yield self.mark


class Tool(BaseRunner):
    """Newer predictors have run()."""

    def run(self, key: Secret, plain: str = Input(default="x")) -> str:
        return f"{plain} {key} {key.get_secret_value()}"


def shout(text: str = Input(description="Text")) -> str:
    """A function will do."""
    current_scope().record_metric("length", len(text))
    return text.upper()
