"""Models that the tests serve. Each does one thing that a test needs done."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import zypher


async def echo(value: Any) -> Any:
    """Returns what it gets."""
    return value


async def hold(port: int) -> str:
    """Runs until the test that listens on this port says how to end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(str(os.getpid()).encode() + b"\n")
    answer = (await reader.read()).decode()
    writer.close()
    return answer


async def hold_large(port: int, padding: str) -> str:
    """As `hold`, with an input of any size."""
    return await hold(port)


def hold_blocking(port: int) -> str:
    """As `hold`, for a blocking model."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(str(os.getpid()).encode() + b"\n")
        return connection.makefile().read()


@dataclass
class Point:
    """A place on a plane."""

    x: float
    y: float = 0.0


def distance(a: Point, b: Point, metric: Literal["euclid", "taxi"] = "euclid") -> float:
    """How far apart two points are."""
    dx, dy = abs(a.x - b.x), abs(a.y - b.y)
    return dx + dy if metric == "taxi" else (dx * dx + dy * dy) ** 0.5


def fails(message: str) -> None:
    """Raises."""
    raise ValueError(message)


def not_a_number(count: int) -> list[float]:
    """Returns a NaN in the last place."""
    return [0.0] * count + [float("nan")]


def long_text(length: int) -> str:
    """Returns so much text."""
    return "x" * length


def counts(to: int) -> Iterator[int]:
    """Yields the numbers below `to`."""
    yield from range(to)


async def counts_async(to: int) -> AsyncIterator[int]:
    """As `counts`, asynchronously."""
    for number in range(to):
        yield number


def poison(value: str) -> str:
    """Dies of one input."""
    if value == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return value.upper()


def scribble(garbage: str) -> str:
    """Writes these bytes, in hex, where its process talks to the worker."""
    os.write(int(sys.argv[1]), bytes.fromhex(garbage))
    return "done"


async def echo_poison(value: str) -> str:
    """As `poison`, with many in flight: it dies while others wait."""
    await asyncio.sleep(0.05)
    return poison(value)


@zypher.batch(max_size=32, max_wait=0.05)
def poison_batch(values: list[str]) -> list[str]:
    """Dies of one input, with all that are in its batch."""
    return [poison(value) for value in values]


@zypher.batch(max_size=8, max_wait=0.2)
def batch_sizes(values: list[int]) -> list[int | zypher.ItemError]:
    """Returns the size of the batch to each; a negative value is refused."""
    return [zypher.ItemError("negative") if value < 0 else len(values) for value in values]


@zypher.batch(max_size=2, max_wait=10)
def batch_prints(words: list[str]) -> list[str]:
    """Prints a line for all of them."""
    print("together")
    return words


@zypher.batch(max_size=8, max_wait=0.2)
def batch_raises(values: list[int]) -> list[int]:
    """Raises for the whole batch if one value is negative."""
    if min(values) < 0:
        raise ValueError("negative")
    return values


class Wicked(BaseException):
    """As the panics of libraries written in Rust: no `Exception`."""


class Unspeakable(Exception):
    """Its message cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


@dataclass
class Picky:
    """Refuses in a way of its own."""

    kind: str

    def __post_init__(self) -> None:
        if self.kind == "post-init":
            raise KeyError(self.kind)


@dataclass
class HalfMade:
    """Has a field that was never set."""

    kind: str


def _trouble(kind: str) -> object:
    """Every way to end a run that a model may come upon."""
    match kind:
        case "base-exception":
            raise Wicked
        case "surrogate":
            raise ValueError("caf\udce9")
        case "unspeakable":
            raise Unspeakable
        case "stop-iteration":
            return next(iter([]))
        case "exit":
            raise SystemExit(3)
        case "cancelled":
            raise asyncio.CancelledError
        case "refused":
            raise zypher.InvalidInput("caf\udce9")
        case "half-made":
            return object.__new__(HalfMade)
        case "nothing-json-has":
            return object()
    return kind


async def trouble(picky: Picky) -> object:
    """Ends as its input says."""
    return _trouble(picky.kind)


def trouble_blocking(picky: Picky) -> object:
    """As `trouble`."""
    return _trouble(picky.kind)


@zypher.batch(max_size=8, max_wait=0.05)
def trouble_batch(items: list[Picky]) -> list[object]:
    """As `trouble`, for each."""
    return [_trouble(item.kind) for item in items]


def close_files(after: int) -> str:
    """Closes all its files, and with them its connection to the server."""
    os.closerange(after, 4096)
    time.sleep(60)
    return "never"


class SlowSetup:
    """Takes a while to load."""

    def setup(self) -> None:
        time.sleep(60)

    def predict(self, value: int) -> int:
        return value


class BrokenSetup:
    """Cannot load."""

    def setup(self) -> None:
        raise RuntimeError("no such weights")

    def predict(self, value: int) -> int:
        return value


def untyped(value):  # type: ignore[no-untyped-def]
    """Has no type hints."""
    return value


def numbers(values: list[int]) -> int:
    """Adds up."""
    return sum(values)


def maybe_numbers(values: list[int] | None) -> int:
    """Adds up, if there is something."""
    return sum(values or [])


async def nap(seconds: float) -> float:
    """Sleeps, as an async model does."""
    await asyncio.sleep(seconds)
    return seconds


def pid(seconds: float) -> int:
    """Sleeps, and returns which process it is."""
    time.sleep(seconds)
    return os.getpid()


class _Peak:
    """Counts how many runs are in flight."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def __enter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


_peak = _Peak()


async def peak(value: int) -> int:
    """Returns the most runs that were in flight so far."""
    with _peak:
        await asyncio.sleep(0.02)
        return _peak.most


def peak_blocking(value: int) -> int:
    """As `peak`, for a blocking model."""
    with _peak:
        time.sleep(0.05)
        return _peak.most
