"""Models as their authors write them, for the tests of what those test them with."""

import asyncio
from collections.abc import Iterator
from typing import Any

import zypher


class Sentiment:
    """Says how a text feels."""

    def __init__(self) -> None:
        self.setups = 0

    def setup(self) -> None:
        self.setups += 1
        self.words = {"good": 1.0, "fine": 0.5, "bad": -1.0}

    def predict(self, text: str) -> dict[str, float]:
        return {"score": sum(self.words.get(word, 0.0) for word in text.lower().split())}


class Lengths:
    def __init__(self) -> None:
        self.calls: list[int] = []

    @zypher.batch(max_size=3)
    def predict(self, texts: list[str]) -> list[int | zypher.ItemError]:
        self.calls.append(len(texts))
        return [len(text) or zypher.ItemError("An empty text.") for text in texts]


class Slow:
    async def setup(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def predict(self, seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return asyncio.get_running_loop() is self.loop


class Broken:
    def setup(self) -> None:
        raise LookupError("no weights")

    def predict(self, text: str) -> str:
        return text


def area(width: float, height: float = 1.0) -> float:
    return width * height


def countdown(start: int) -> Iterator[int]:
    yield from range(start, 0, -1)


def letters(word: str) -> zypher.JoinedText:
    yield from word


def picky(value: int) -> Any:
    if value < 0:
        raise zypher.InvalidInput("Negative.")
    return [float("nan"), object(), 1 / value if value else ZeroDivisionError][value % 3]


def fails(value: int) -> float:
    return 1 / value


def steps(count: int) -> list[Any]:
    run = zypher.current()
    for step in range(count):
        run.progress((step + 1) / count, f"step {step + 1}")
    run.log("done")
    return [run.attempt, run.deadline, run.cancelled, len(run.id)]
