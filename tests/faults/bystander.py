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
from typing import Self

import httpx2

from tests.faults.report import Size, percentile
from tests.harness import PATIENCE

# The model that is called: two at a time, of 50 ms each.
MODEL = "aside"
_CALLERS = 2


class Bystander:
    """Calls without pause as long as the `async with` block lasts, and takes the times."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._file = directory / "bystander.log"
        self._normal: list[float] = []
        self._times: list[float] = []

    async def __aenter__(self) -> Self:
        with self._file.open("w") as file:
            command = [sys.executable, "-m", __name__, self._url]
            self._process = subprocess.Popen(command, stdout=file)
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._process:
            self._process.terminate()
        self._times = self._read()[len(self._normal) :]

    async def settle(self, size: Size) -> None:
        """Let it find out what is normal; what comes from now on is compared with that."""
        await asyncio.sleep(size.of(1, 10))
        self._normal = self._read()

    def remark(self) -> str:
        """What it noticed, in words."""
        return f"another model's p99 went from {_p99(self._normal)} to {_p99(self._times)}"

    def noticed(self, size: Size, bound: float) -> list[str]:
        """A violation if its p99 grew to more than `bound` times what was normal.

        A small test has too few calls for a p99.
        """
        if size is Size.SMALL:
            return []
        normal, now = (percentile(times, 0.99) for times in (self._normal, self._times))
        return [f"{self.remark()}, more than {bound:g} times."] if now > bound * normal else []

    def _read(self) -> list[float]:
        return [float(line) for line in self._file.read_text().splitlines()]


def _p99(times: Sequence[float]) -> str:
    return f"{percentile(times, 0.99) * 1e3:.0f} ms" if times else "nothing"


async def _call(client: httpx2.AsyncClient) -> None:
    while True:
        started = time.perf_counter()
        response = await client.post(f"/models/{MODEL}/predict", json={"input": 0.05})
        assert response.status_code == 200, response.text
        print(time.perf_counter() - started, flush=True)


async def _main(url: str) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
        await asyncio.gather(*(_call(client) for _ in range(_CALLERS)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
