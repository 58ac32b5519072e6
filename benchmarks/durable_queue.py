"""What the durable queue takes, and what it costs to have a long one.

    .venv/bin/python benchmarks/durable_queue.py

The disk's own fsync is printed first: all else depends on it. Every prediction has 100 bytes of
input and of result. 64 callers at once, each making its next call when the last one was answered;
medians of five rounds:

- submit: durable submissions. `memory` is the same engine without a disk, in the same round.
- life: submit, claim and finish of one prediction.
- step: submit one and claim one; on an empty queue, and in the same round on a long one.

Then the real server on a file that was in use when its server was killed, with nothing, 100,000
and 1,000,000 predictions waiting: from the start of the process until it is ready, and its
resident memory when it is.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import psutil
import uvloop

from zypher.brokers import Broker, Limits, open_broker
from zypher.clock import SystemClock
from zypher.prediction import Outcome, Prediction, new_id

ZYPHER = Path(sys.executable).with_name("zypher")
ECHO = Path(__file__).with_name("echo.py")
LIMITS = Limits(max_queued=10_000_000, max_queued_bytes=10_000_000_000)
ROUNDS = 5
CALLERS = 64
WAITING = (0, 100_000, 1_000_000)
BODY = b'"' + b"x" * 98 + b'"'

Call = Callable[[Broker], Awaitable[None]]


async def submit(broker: Broker) -> None:
    prediction = Prediction(id=new_id(), model="echo", input=BODY, created=time.time())
    await broker.submit(prediction, keep=True)


async def step(broker: Broker) -> None:
    await submit(broker)
    await broker.claim("worker", "echo", limit=1, timeout=10)


async def life(broker: Broker) -> None:
    await submit(broker)
    (claimed,) = await broker.claim("worker", "echo", limit=1, timeout=10)
    await broker.finish([(claimed.claim, Outcome(result=BODY))])


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


def fsync(directory: Path) -> None:
    """How long this disk takes to make 4 KB durable."""
    times = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(500):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file)
            times.append(1e3 * (time.perf_counter() - started))
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[-1]
    print(f"fsync of 4 KB on this disk: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


async def throughput(directory: Path, call: Call, count: int) -> None:
    """A call on the disk and in memory, side by side."""
    rates = defaultdict(list)
    for number in range(ROUNDS):
        for url in (f"sqlite:///{directory}/{call.__name__}-{number}.db", "memory:"):
            async with opened(url) as broker:
                rates[url.partition(":")[0]].append(await rate(broker, call, count))
    disk, memory = (statistics.median(rates[kind]) for kind in ("sqlite", "memory"))
    print(f"{call.__name__}: {disk:,.0f}/s on the disk, {disk / memory:.2f} of memory")


async def long_queue(directory: Path, waiting: int) -> None:
    """Steps with many waiting, against steps on an empty queue."""
    rates = defaultdict(list)
    queue = f"sqlite:///{directory}"
    async with opened(f"{queue}/empty.db") as empty, opened(f"{queue}/full.db") as full:
        await rate(full, submit, waiting)
        for _ in range(ROUNDS):
            rates["empty"].append(await rate(empty, step, 30_000))
            rates["full"].append(await rate(full, step, 30_000))
    short, long = (statistics.median(rates[kind]) for kind in ("empty", "full"))
    print(f"step: {short:,.0f}/s on an empty queue, {long / short:.2f} of that with {waiting:,}")


async def killed(directory: Path, waiting: int) -> Path:
    """The files of a queue as they are while it is in use, all of it waiting."""
    path, copy = directory / f"{waiting}.db", directory / f"killed-{waiting}.db"
    async with opened(f"sqlite:///{path}") as broker:
        await rate(broker, submit, waiting)
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    path.unlink()
    return copy


def start(path: Path, waiting: int) -> None:
    """A real server on this queue: how soon it is ready, and its memory."""
    started = time.perf_counter()
    with subprocess.Popen(
        [ZYPHER, "serve", f"echo={ECHO}:echo", "--port", "0", "--broker", f"sqlite:///{path}"],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        next(line for line in server.stderr if line.startswith("Serving"))
        ready = time.perf_counter() - started
        resident = psutil.Process(server.pid).memory_info().rss
        server.kill()
    print(f"{waiting:,} waiting: ready in {ready:.2f} s, {resident / 1e6:.0f} MB resident")


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        directory = Path(name)
        fsync(directory)
        await throughput(directory, submit, 60_000)
        await throughput(directory, life, 30_000)
        await long_queue(directory, max(WAITING))
        for waiting in WAITING:
            start(await killed(directory, waiting), waiting)


if __name__ == "__main__":
    uvloop.run(main())
