"""Models that tell what their process has, what ran there before, and how they feel."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import zypher


class Surroundings:
    """Says what it was given of the machine."""

    def predict(self, names: list[str]) -> list[object]:
        import numpy  # noqa: F401 - which brings a library that reads the variables
        from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

        pools = sorted({pool["num_threads"] for pool in threadpool_info()})
        return [{name: os.environ.get(name) for name in names}, pools, os.getpid()]


class Noting:
    """Answers with the inputs and ids that its process was called with before."""

    example = "warm"

    def setup(self) -> None:
        self.before: list[str] = []

    def predict(self, text: str) -> list[str]:
        self.before.append(f"{text} {zypher.current().id}")
        return self.before[:-1]


class AsyncNoting(Noting):
    async def predict(self, text: str) -> list[str]:  # type: ignore[override]
        await asyncio.sleep(0)
        return Noting.predict(self, text)


class YieldingNoting(Noting):
    async def predict(self, text: str) -> AsyncIterator[list[str]]:  # type: ignore[override]
        zypher.current().progress(0.5)
        print("on its way")
        yield Noting.predict(self, text)


class Batched:
    """Answers with the sizes of all batches so far."""

    example = 1

    def setup(self) -> None:
        self.sizes: list[int] = []

    @zypher.batch(max_size=3, max_wait=0)
    def predict(self, numbers: list[int]) -> list[list[int]]:
        self.sizes.append(len(numbers))
        return [list(self.sizes)] * len(numbers)


class PickyBatch:
    """Refuses its own example."""

    example = 1

    @zypher.batch
    def predict(self, numbers: list[int]) -> list[object]:
        return [zypher.ItemError("not this one")] * len(numbers)


class Faulty:
    """Cannot run its own example."""

    example = 0

    def predict(self, number: int) -> float:
        return 1 / number


class Misfit:
    """Its example is not of its type."""

    example = "many"

    def predict(self, number: int) -> int:
        return number


class Unspeakable:
    """Its example is nothing that JSON has."""

    example = float("nan")

    def predict(self, number: float) -> float:
        return number


class Moody:
    """Feels well until an input says otherwise, and answers with its process."""

    mood = "well"

    def predict(self, mood: str) -> int:
        if self.mood == "well":
            self.mood = mood
        return os.getpid()

    def healthcheck(self) -> bool | None:
        if self.mood == "raises":
            raise RuntimeError("no answer from the device")
        if self.mood == "hangs":
            time.sleep(60)
        return {"unwell": False, "well": True}.get(self.mood)


class AsyncMoody(Moody):
    async def predict(self, mood: str) -> int:  # type: ignore[override]
        return Moody.predict(self, mood)

    async def healthcheck(self) -> bool | None:  # type: ignore[override]
        if self.mood == "hangs":
            await asyncio.sleep(60)
        return Moody.healthcheck(self)


class Busy:
    """Is unwell whenever it is asked while it runs something, and counts how often it was asked."""

    def setup(self) -> None:
        self.asked = 0
        self.is_running = False

    async def predict(self, seconds: float) -> int:
        self.is_running = True
        await asyncio.sleep(seconds)
        self.is_running = False
        return self.asked

    def healthcheck(self) -> bool:
        self.asked += 1
        return not self.is_running


class Thoughtful:
    """Takes its time to say that it is well; answers with the attempt."""

    def predict(self, number: int) -> int:
        return zypher.current().attempt

    def healthcheck(self) -> None:
        time.sleep(0.2)


def process(number: int) -> list[int]:
    """Its process and the attempt."""
    return [os.getpid(), zypher.current().attempt]


class Growing:
    """Keeps so many megabytes, and answers with its process."""

    def setup(self) -> None:
        self.kept: list[bytes] = []

    def predict(self, megabytes: int) -> int:
        self.kept.append(os.urandom(1_000_000) * megabytes)
        return os.getpid()


class AsyncGrowing(Growing):
    """Takes a moment, and many at once."""

    async def predict(self, megabytes: int) -> int:  # type: ignore[override]
        await asyncio.sleep(0.05)
        return super().predict(megabytes)


class Failing:
    """Does as it is told."""

    def predict(self, order: str) -> str:
        if order == "refuse":
            raise zypher.InvalidInput("not today")
        if order == "crash":
            os.abort()
        if order != "work":
            raise ValueError(f"secret {order}")
        return order


@zypher.batch(max_size=1)
def picky(orders: list[str]) -> list[object]:
    """Refuses every item on purpose."""
    return [zypher.ItemError("not this one") for _ in orders]


def turn(step: list[str | int]) -> str:
    """One run after the other: notes its name in a file, and is brief, or held by a test's port."""
    file, name, port = str(step[0]), str(step[1]), int(step[2])
    with Path(file).open("a") as begun:
        begun.write(f"{name}\n")
    os.write(2, f"{name} was here\n".encode())
    if not port:
        time.sleep(0.005)
        return name
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(str(os.getpid()).encode() + b"\n")
        answer = connection.makefile().read()
    assert not zypher.current().cancelled  # to ask is to take in what is to run next
    return answer


@zypher.batch(max_size=4, max_wait=30)
def turns(steps: list[list[str | int]]) -> list[list[str]]:
    """As `turn`, by the first of a batch; each answers with the names of all."""
    turn(steps[0])
    return [[str(step[1]) for step in steps]] * len(steps)
