"""What the durable queue takes, and what it costs to have a long one.

The broker in one process, without a server: 64 callers at once, each making its next call when the
last one was answered. Every prediction has 100 bytes of input and of result. All depends on the
disk's own fsync, which is printed first.

- submit: durable submissions, beside those of the same engine without a disk in the same round.
- life: submit, claim and finish of one prediction.
- step: submit one and claim one; on an empty queue, and in the same round on a long one.

Then the real server on a file that was in use when its server was killed, with nothing, 100,000
and 1,000,000 predictions waiting: from the start of the process until it is ready, and its resident
memory when it is. There is no `raw`, nor another system, in this row.
"""

import asyncio
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import psutil
import uvloop

from benchmarks.processes import folder, fsync, resident
from benchmarks.systems import PROGRAMS, ROOT, targets
from benchmarks.tables import Bench
from zypher.brokers import Broker, Limits, open_broker
from zypher.clock import SystemClock
from zypher.prediction import Outcome, Prediction, new_id

LIMITS = Limits(max_queued=10_000_000, max_queued_bytes=10_000_000_000)
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


async def throughput(directory: Path, call: Call, count: int, rounds: int) -> None:
    """A call on the disk and in memory, side by side."""
    rates = defaultdict(list)
    for number in range(rounds):
        for url in (f"sqlite:///{directory}/{call.__name__}-{number}.db", "memory:"):
            async with opened(url) as broker:
                rates[url.partition(":")[0]].append(await rate(broker, call, count))
    disk, memory = (statistics.median(rates[kind]) for kind in ("sqlite", "memory"))
    print(f"{call.__name__}: {disk:,.0f}/s on the disk, {disk / memory:.2f} of memory")


async def steps(directory: Path, waiting: int, rounds: int) -> None:
    """Steps with many waiting, against steps on an empty queue."""
    rates = defaultdict(list)
    queue = f"sqlite:///{directory}"
    async with opened(f"{queue}/empty.db") as empty, opened(f"{queue}/full.db") as full:
        await rate(full, submit, waiting)
        for _ in range(rounds):
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


def start(queue: Path, waiting: int) -> None:
    """A real server on this queue: how soon it is ready, and its memory."""
    command = (PROGRAMS / "zypher", "serve", *targets("echo"), "--port", "0")
    started = time.perf_counter()
    with subprocess.Popen(
        [*map(str, command), "--broker", f"sqlite:///{queue}"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as server:
        assert server.stderr is not None
        next(line for line in server.stderr if line.startswith("Serving"))
        ready = time.perf_counter() - started
        memory = resident(psutil.Process(server.pid))
        server.kill()
    print(f"{waiting:,} waiting: ready in {ready:.2f} s, {memory:.0f} MB resident", flush=True)


def long_queue(bench: Bench) -> None:
    """The durable queue by itself."""
    with folder() as directory:
        print(f"\nlong queue; fsync of 4 KB on this disk: {fsync(directory):.2f} ms")
        uvloop.run(in_process(directory, bench.rounds))
        for waiting in WAITING:
            start(uvloop.run(killed(directory, waiting)), waiting)


async def in_process(directory: Path, rounds: int) -> None:
    """What needs no server."""
    await throughput(directory, submit, 60_000, rounds)
    await throughput(directory, life, 30_000, rounds)
    await steps(directory, max(WAITING), rounds)
