"""What the durable queue takes, and what it costs to have a long one.

    .venv/bin/python benchmarks/durable_queue.py [--waiting 1000000] [--directory .]

All numbers are of this machine and this disk, whose own fsync is printed first; medians of three
rounds. `memory` is the same engine without a disk. Every prediction has 100 bytes of input and of
result; 64 callers, each of which makes its next call when the last one was answered:

- submit: durable submissions.
- life: submit, claim, finish of one prediction.
- step: submit one, claim one; on an empty queue, and with many waiting.

Then the real server: from its start to ready, with nothing, 100,000 and `--waiting` predictions
waiting in a file that a killed server has left, and its resident memory after that.
"""

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from collections.abc import AsyncIterator
from itertools import repeat
from pathlib import Path

import psutil
import uvloop

from zypher.brokers import Broker, Limits, open_broker
from zypher.clock import SystemClock
from zypher.prediction import Outcome, Prediction, new_id

ZYPHER = Path(sys.executable).with_name("zypher")
LIMITS = Limits(max_queued=10_000_000, max_queued_bytes=10_000_000_000)
CALLERS = 64
BODY = b'"' + b"x" * 98 + b'"'
GOOD = Outcome(result=BODY)

Call = Callable[[Broker], Awaitable[None]]


async def submit(broker: Broker) -> None:
    prediction = Prediction(id=new_id(), model="echo", input=BODY, created=time.time())
    await broker.submit(prediction, keep=True)


async def step(broker: Broker) -> None:
    await submit(broker)
    await broker.claim("worker", "echo", limit=1, timeout=10)


async def life(broker: Broker) -> None:
    await submit(broker)
    for claimed in await broker.claim("worker", "echo", limit=1, timeout=10):
        await broker.finish([(claimed.claim, GOOD)])


async def rate(broker: Broker, call: Call, count: int) -> float:
    """Calls per second with all callers at once."""
    calls = iter(repeat(call, count))

    async def caller() -> None:
        for call in calls:
            await call(broker)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / (time.perf_counter() - started)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Broker]:
    broker = open_broker(url, LIMITS, SystemClock())
    await broker.start()
    try:
        yield broker
    finally:
        await broker.aclose()


async def throughput(directory: Path) -> None:
    """Submissions and lives, on the disk and in memory, side by side."""
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(3):
        for call, count in ((submit, 60_000), (life, 30_000)):
            for url in (f"sqlite:///{directory}/{call.__name__}{number}.db", "memory:"):
                async with opened(url) as broker:
                    measured = await rate(broker, call, count)
                    rates.setdefault((call.__name__, url.partition(":")[0]), []).append(measured)
    for name in ("submit", "life"):
        disk, memory = (statistics.median(rates[name, kind]) for kind in ("sqlite", "memory"))
        print(f"{name}: {disk:,.0f}/s on the disk, {disk / memory:.2f} of memory ({memory:,.0f}/s)")


async def long_queue(directory: Path, waiting: int) -> Path:
    """The rate of steps on an empty queue and with many waiting; returns the long queue."""
    path = directory / "long.db"
    async with opened(f"sqlite:///{directory}/short.db") as short, opened(f"sqlite:///{path}") as long:
        await rate(long, submit, waiting)
        rates: dict[Broker, list[float]] = {short: [], long: []}
        for _ in range(3):
            for broker, measured in rates.items():
                measured.append(await rate(broker, step, 30_000))
        empty, full = (statistics.median(measured) for measured in rates.values())
    print(f"step: {empty:,.0f}/s on an empty queue, {full / empty:.2f} of that with {waiting:,} waiting")
    return path


def start(path: Path, waiting: int) -> None:
    """A real server on this queue: how soon it is ready, and its memory."""
    started = time.perf_counter()
    with subprocess.Popen(
        [
            *(ZYPHER, "serve", f"echo={Path(__file__).with_name('echo.py')}:echo", "--port", "0"),
            *("--broker", f"sqlite:///{path}", "--max-queued", "10000000"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        next(line for line in server.stderr if line.startswith("Serving"))
        ready = time.perf_counter() - started
        resident = psutil.Process(server.pid).memory_info().rss
        server.kill()
    print(f"start with {waiting:,} waiting: ready in {ready:.2f} s, {resident / 1e6:.0f} MB")
