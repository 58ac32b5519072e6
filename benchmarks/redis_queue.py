"""Predictions over Redis, side by side with FastAPI and taskiq (Redis Streams, results in Redis).

    .venv/bin/python benchmarks/redis_queue.py

Both have the same redis-server, which writes nothing to its disk and is emptied for each of them,
the same number of worker processes with as much room, and get the same requests over 64
connections that stay open. They take turns, and every figure is the median of the rounds:

- no-op: 10,000 asynchronous predictions of a model that answers at once, on 2 workers. Accepted:
  until the last submission was answered. Ended: until the last result was stored. Every id is
  asked for afterwards, and what is not the right result is an error.
- alone: one prediction at a time on a quiet system, from its submission until the caller has the
  result: over a second request that waits for it, or in one synchronous request. taskiq looks for
  results every millisecond.
- blocking: a model that blocks for 50 ms, on 4 workers with 4 processes (taskiq: threads) each. The
  rate in parts of the ideal one: from the first submission on, and from the last one on, when
  the workers have the processors for themselves.

Needs `redis-server` on the PATH. taskiq, in its newest version, is installed with uv into an
environment of its own below ~/.cache, since both sides bring a Redis client.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from socket import create_server
from typing import Any, NamedTuple

import uvloop
from mock_load import Connection, in_parallel
from redis import Redis

HERE = Path(__file__).parent
ZYPHER = Path(sys.executable).with_name("zypher")
TASKIQ = Path.home() / ".cache" / "zypher-benchmarks" / "taskiq"
PEER = ("taskiq", "taskiq-redis", "redis[hiredis]", "fastapi", "uvicorn", "uvloop", "httptools")

ROUNDS = 3
# Seconds after which one that does not answer any more is given up, with an error.
PATIENCE = 180.0
CONNECTIONS = 64
JOBS, NAPS, ALONE, WARM_UP = 10_000, 4_800, 300, 1_000
ROOM = 100  # no-ops that one worker runs at once
WORKERS, REPLICAS = 4, 4  # of the blocking model
IDEAL = WORKERS * REPLICAS / 0.05

Figures = dict[str, list[float]]


class Setup(NamedTuple):
    """One of the models, on so many workers with so much room each."""

    model: str
    workers: int
    room: int


class Side(NamedTuple):
    """How a server and its workers are started, and how many results there are."""

    name: str
    programs: Callable[[Setup, str, int], list[Sequence[object]]]
    stored: Callable[[Redis, Setup], int]


NO_OP = Setup("echo", 2, ROOM)
BLOCKING = Setup("nap", WORKERS, REPLICAS)


def zypher(setup: Setup, redis: str, port: int) -> list[Sequence[object]]:
    """A server without replicas, and workers."""
    model = f"{setup.model}={HERE / setup.model}.py:{setup.model}"
    room = "--replicas" if setup is BLOCKING else "--concurrency"
    shared = ["--broker", redis, "--max-queued", 100_000]
    return [
        [ZYPHER, "serve", "--replicas", 0, "--port", port, *shared],
        *([ZYPHER, "worker", model, room, setup.room, *shared] for _ in range(setup.workers)),
    ]


def taskiq(setup: Setup, redis: str, port: int) -> list[Sequence[object]]:
    """uvicorn, and one program that starts the workers."""
    bin = TASKIQ / "bin"
    room = ["--max-async-tasks", setup.room, "--max-threadpool-threads", setup.room]
    quiet = ["--log-level", "WARNING"]
    return [
        [bin / "uvicorn", "taskiq_app:app", "--port", port, "--no-access-log"],
        [bin / "taskiq", "worker", "taskiq_app:broker", "-w", setup.workers, *room, *quiet],
    ]


def ended_predictions(redis: Redis, setup: Setup) -> int:
    return int(redis.hget(f"zypher:q:{setup.model}", "completed") or 0)


def results(redis: Redis, setup: Setup) -> int:
    return redis.dbsize() - redis.exists("taskiq", "autoclaim:taskiq:taskiq")


SIDES = (Side("zypher", zypher, ended_predictions), Side("taskiq", taskiq, results))


# The programs.


def install_peer() -> None:
    """The newest taskiq, in an environment of its own."""
    uv = shutil.which("uv") or HERE.parent / ".uv" / "bin" / "uv"
    subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, TASKIQ], check=True)
    subprocess.run([uv, "pip", "install", "-q", "-p", TASKIQ, *PEER], check=True)
    listed = subprocess.run(
        [uv, "pip", "list", "-q", "-p", TASKIQ], check=True, capture_output=True, text=True
    )
    names = {name.partition("[")[0] for name in PEER}
    versions = (line.split() for line in listed.stdout.splitlines())
    print("Peer: " + ", ".join(" ".join(v) for v in versions if v and v[0] in names))


@contextmanager
def program(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with its children when it is left."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_for(process: subprocess.Popen[str], word: str, times: int = 1) -> None:
    """Read what a program says until it has said a word so often."""
    assert process.stdout is not None
    for line in process.stdout:
        times -= word in line
        if not times:
            return
    raise SystemExit(f"It has ended before it said {word!r}: {process.args!r}")


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """A server that writes nothing to its disk."""
    port = free_port()
    command = ["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", folder]
    with program(command) as process:
        wait_for(process, "Ready to accept")
        yield Redis(port=port)


@contextmanager
def service(side: Side, setup: Setup, redis: Redis, folder: Path) -> Iterator[int]:
    """A server and its workers, all of them up, on an empty Redis: the server's port."""
    redis.flushall()
    port = free_port()
    url = f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"
    path = f"{HERE}:{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"REDIS_URL": url, "MODEL": setup.model, "PYTHONPATH": path}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(program(command, cwd=folder, env=environment))
            for command in side.programs(setup, url, port)
        ]
        wait_for(programs[0], "Serving")
        for process in programs[1:]:
            wait_for(process, "Working", setup.workers // len(programs[1:]))
        yield port


# What is measured.


class Timing(NamedTuple):
    """Seconds until all were accepted and had ended; how many had when the last was accepted."""

    accepted: float
    ended: float
    ended_before: int


class Load:
    """So many asynchronous predictions, from their submission to their stored results."""

    def __init__(self, port: int, count: int) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self._port, self._count = port, count
        self._ids: dict[int, str] = {}

    async def run(self, stored: Callable[[], int]) -> Timing:
        """Submit all of them, and wait until all have ended."""
        target = stored() + self._count
        started = time.perf_counter()
        await in_parallel(self._port, self._count, CONNECTIONS, self._submit)
        accepted = time.perf_counter()
        left = target - stored()
        while (missing := target - stored() - self.errors) > 0:
            if time.perf_counter() > accepted + 60:
                print(f"  {missing} have not ended in a minute")
                break
            await asyncio.sleep(0.005)
        ended = time.perf_counter()
        await in_parallel(self._port, len(self._ids), CONNECTIONS, self._check)
        return Timing(accepted - started, ended - started, self._count - left)

    async def _submit(self, connection: Connection, number: int) -> None:
        started = time.perf_counter()
        status, body = await connection.request(
            "POST", "/predict", b'{"input":%d}' % number, "Async-Mode: true\r\n"
        )
        self.latencies.append(time.perf_counter() - started)
        if status == 202:
            self._ids[number] = json.loads(body)["prediction_id"]
        else:
            self.errors += 1

    async def _check(self, connection: Connection, index: int) -> None:
        number = list(self._ids)[index] if self.errors else index
        status, body = await connection.request("GET", f"/predict/{self._ids[number]}")
        self.errors += status != 200 or json.loads(body)["output"]["result"] != number


async def load(
    port: int, side: Side, setup: Setup, redis: Redis, count: int, figures: Figures
) -> Timing:
    """Warm up, then measure a load."""

    def stored() -> int:
        return side.stored(redis, setup)

    warm_up = Load(port, WARM_UP)
    await warm_up.run(stored)
    measured = Load(port, count)
    timing = await measured.run(stored)
    *_, p99 = statistics.quantiles(measured.latencies, n=100)
    figures["accepted/s"].append(count / timing.accepted)
    figures["ended/s"].append(count / timing.ended)
    figures["submit p50 ms"].append(1e3 * statistics.median(measured.latencies))
    figures["submit p99 ms"].append(1e3 * p99)
    figures["errors"].append(warm_up.errors + measured.errors)
    return timing


async def alone(port: int, figures: Figures) -> None:
    """One prediction at a time."""
    connection = await Connection.open(port)
    errors = 0

    async def in_two_requests(number: int) -> bool:
        submitted = await connection.request(
            "POST", "/predict", b'{"input":%d}' % number, "Async-Mode: true\r\n"
        )
        id = json.loads(submitted[1])["prediction_id"]
        status, body = await connection.request(
            "GET", f"/predict/{id}", headers="Prefer: wait=30\r\n"
        )
        return status == 200 and json.loads(body)["output"]["result"] == number

    async def in_one(number: int) -> bool:
        status, body = await connection.request("POST", "/predict", b'{"input":%d}' % number)
        return status == 200 and json.loads(body)["result"] == number

    for name, call in (("asynchronous", in_two_requests), ("synchronous", in_one)):
        times = []
        for number in range(ALONE):
            started = time.perf_counter()
            errors += not await call(number)
            times.append(1e3 * (time.perf_counter() - started))
            await asyncio.sleep(0.002)
        figures[f"alone, {name}: p50 ms"].append(statistics.median(times))
        figures[f"alone, {name}: p99 ms"].append(statistics.quantiles(times, n=100)[-1])
    figures["alone, errors"].append(errors)
    connection.close()


def report(title: str, figures: dict[str, Figures]) -> None:
    """A table of medians; the errors of all rounds together."""
    print(f"\n{title:32}{'zypher':>10}{'taskiq':>10}{'ratio':>8}")
    for name in figures["zypher"]:
        summary = sum if "errors" in name else statistics.median
        ours, theirs = (summary(figures[side.name][name]) for side in SIDES)
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        print(f"{name:32}{ours:10,.3f}{theirs:10,.3f}{ratio:>8}")


async def main() -> None:
    install_peer()
    no_op: dict[str, Figures] = {side.name: defaultdict(list) for side in SIDES}
    blocking: dict[str, Figures] = {side.name: defaultdict(list) for side in SIDES}
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis:
        for number, side in product(range(ROUNDS), SIDES):
            print(f"round {number + 1} of {ROUNDS}: {side.name}", file=sys.stderr)
            figures = no_op[side.name]
            with service(side, NO_OP, redis, Path(name)) as port:
                async with asyncio.timeout(PATIENCE):
                    await load(port, side, NO_OP, redis, JOBS, figures)
                    await alone(port, figures)
            figures = blocking[side.name]
            with service(side, BLOCKING, redis, Path(name)) as port:
                async with asyncio.timeout(PATIENCE):
                    timing = await load(port, side, BLOCKING, redis, NAPS, figures)
            alone_for, left = timing.ended - timing.accepted, NAPS - timing.ended_before
            figures["parts of the ideal"].append(NAPS / timing.ended / IDEAL)
            figures["... once all are accepted"].append(left / alone_for / IDEAL)
    report(f"{JOBS:,} no-ops, {NO_OP.workers} workers", no_op)
    report(f"{NAPS:,} of 50 ms, {WORKERS} x {REPLICAS} replicas", blocking)


if __name__ == "__main__":
    uvloop.run(main())
