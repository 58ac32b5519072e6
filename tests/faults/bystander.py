"""Calls of another model, which should not notice what happens to the first one.

    python -m tests.faults.bystander URL

They are made by a process of its own, so that the other clients do not hold them up.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import httpx2

from tests.faults.clients import client_of
from tests.faults.history import Fault
from tests.faults.report import Size, percentile

# The model that is called: four at a time, of 50 ms each.
MODEL = "aside"
_CALLERS = 4

# So many seconds after a fault it is over, and calls should be as they were before.
_AFTERMATH = 1.0


class _Call(NamedTuple):
    """When a call was made and when it was answered."""

    asked: float
    answered: float

    @property
    def seconds(self) -> float:
        return self.answered - self.asked

    def is_hit_by(self, fault: Fault) -> bool:
        """True if any of it fell into what a fault brought with it."""
        return fault.at <= self.answered and self.asked <= fault.at + _AFTERMATH


class Bystander:
    """Calls without pause as long as the `async with` block lasts, and takes the times."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._file = directory / "bystander.log"

    async def __aenter__(self) -> Self:
        with self._file.open("w") as file:
            command = [sys.executable, "-m", __name__, self._url]
            self._process = subprocess.Popen(command, stdout=file)
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._process:
            self._process.terminate()

    def remark(self, faults: Sequence[Fault]) -> str:
        """What it noticed of these faults, in words."""
        quiet, hit = self._times(faults)
        return f"another model's p99 went from {_p99(quiet)} to {_p99(hit)}"

    def noticed(self, faults: Sequence[Fault], size: Size, bound: float) -> list[str]:
        """A violation if its p99 was more than `bound` times as long while the faults lasted.

        A small test has too few calls for a p99.
        """
        if size is Size.SMALL:
            return []
        quiet, hit = (percentile(times, 0.99) for times in self._times(faults))
        return [f"{self.remark(faults)}, more than {bound:g} times."] if hit > bound * quiet else []

    def _times(self, faults: Sequence[Fault]) -> tuple[list[float], list[float]]:
        """The seconds of the calls between the faults, and of those that they could hit."""
        quiet: list[float] = []
        hit: list[float] = []
        for line in self._file.read_text().splitlines():
            call = _Call(*map(float, line.split()))
            (hit if any(map(call.is_hit_by, faults)) else quiet).append(call.seconds)
        return quiet, hit


def _p99(times: Sequence[float]) -> str:
    return f"{percentile(times, 0.99) * 1e3:.0f} ms" if times else "nothing"


async def _call(client: httpx2.AsyncClient) -> None:
    while True:
        asked = time.monotonic()
        response = await client.post(f"/models/{MODEL}/predict", json={"input": 0.05})
        assert response.status_code == 200, response.text
        print(asked, time.monotonic(), flush=True)


async def _main(url: str) -> None:
    async with client_of(url) as client:
        await asyncio.gather(*(_call(client) for _ in range(_CALLERS)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
