"""Asynchronous jobs over HTTP, side by side with what one would use instead.

    .venv/bin/python benchmarks/jobs.py [--rounds 3] [--seconds 2]

A model that does nothing is given work for so many seconds, over 64 connections, and nobody waits
for it. Two rates: of what is accepted, and until all of that is done. They are compared with `raw`,
which answers and does nothing. All use both cores, the load as well.

- sqlite: as installed; what is accepted is on the disk, and every result.
- redis: a server, two workers and a Redis that syncs its file every second.
- FastAPI: BackgroundTasks and a dict; nothing survives its process.

Then one job at a time: from the submission until its result is there, and the disk's own fsync.
Needs `wrk` and `redis-server` on the PATH.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from durable_queue import fsync
from peers import APPS, BIN, PATIENCE, end, free_port, uvicorn

LUA = Path(__file__).with_name("post.lua")
CONNECTIONS = 64
MODEL = f"echo={APPS / 'models.py'}:echo"
ROOM = "1000000"  # for waiting predictions
ALONE = 200
JSON = {"Content-Type": "application/json"}


class Rates(NamedTuple):
    """Jobs per second: while they were accepted, and until all were done."""

    accepted: float
    done: float


System = Callable[[Path], AbstractContextManager[int]]


@contextmanager
def program(directory: Path, *command: object) -> Iterator[None]:
    """A program that runs meanwhile."""
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=directory,
        start_new_session=True,
    )
    try:
        yield
    finally:
        end(process)


@contextmanager
def raw(directory: Path) -> Iterator[int]:
    port = free_port()
    with program(directory, *uvicorn("raw:app", BIN, port)):
        yield port


@contextmanager
def fastapi(directory: Path) -> Iterator[int]:
    port = free_port()
    with program(directory, *uvicorn("fastapi_app:app", BIN, port)):
        yield port


@contextmanager
def sqlite(directory: Path) -> Iterator[int]:
    port = free_port()
    with program(directory, BIN / "zypher", "serve", MODEL, "--port", port, "--max-queued", ROOM):
        yield port


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    port, queue = free_port(), free_port()
    broker = ("--broker", f"redis://127.0.0.1:{queue}/0", "--max-queued", ROOM)
    server = ("redis-server", "--port", queue, "--appendonly", "yes")
    zypher = BIN / "zypher"
    with (
        program(directory, *server),
        program(directory, zypher, "worker", MODEL, *broker),
        program(directory, zypher, "worker", MODEL, *broker),
        program(directory, zypher, "serve", "--replicas", 0, "--port", port, *broker),
    ):
        yield port


SYSTEMS: dict[str, System] = {"raw": raw, "sqlite": sqlite, "redis": redis, "FastAPI": fastapi}


def asked(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    """The JSON that a request is answered with; None if nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, JSON | headers)
        return json.loads(connection.getresponse().read())
    except OSError:
        return None
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("It does not get so far.")
        time.sleep(0.005)


def is_ready(port: int) -> bool:
    """True if it has given a right answer."""
    answer = asked(port, "POST", "/predict", b'{"input":1}')
    return answer is not None and answer.get("result") == 1


def completed(port: int) -> int:
    """How many jobs it has done."""
    return sum(model["completed"] for model in asked(port, "GET", "/stats")["models"].values())


def measure(name: str, seconds: int) -> Rates:
    """Give it work for so long, and wait until all is done."""
    with tempfile.TemporaryDirectory() as directory, SYSTEMS[name](Path(directory)) as port:
        wait_until(lambda: is_ready(port))
        warm_up, _ = give(port, 1)
        if name == "raw":
            return Rates(give(port, seconds)[1], 0.0)
        wait_until(lambda: completed(port) >= warm_up)
        before = completed(port)
        started = time.perf_counter()
        jobs, accepted = give(port, seconds)
        wait_until(lambda: completed(port) >= before + jobs)
        return Rates(accepted, jobs / (time.perf_counter() - started))


def give(port: int, seconds: int) -> tuple[int, float]:
    """Let wrk submit for so long: how many jobs, and how many per second."""
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "60s", "-s", str(LUA)]
    command = [*wrk, f"http://127.0.0.1:{port}/predict", "--", "jobs"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.splitlines()[-1])
    assert not told["refused"] + told["broken"], output
    return told["answers"], told["answers"] / told["seconds"]


def alone(name: str) -> float:
    """Milliseconds (median) from a submission until its result is there, one after the other."""
    with tempfile.TemporaryDirectory() as directory, SYSTEMS[name](Path(directory)) as port:
        wait_until(lambda: is_ready(port))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        times = []
        for _ in range(ALONE):
            started = time.perf_counter()
            connection.request("POST", "/predict", b'{"input":1}', JSON | {"Async-Mode": "true"})
            id = json.loads(connection.getresponse().read())["prediction_id"]
            connection.request("GET", f"/predict/{id}", headers={"Prefer": "wait=10"})
            response = connection.getresponse()
            assert json.loads(response.read())["output"]["result"] == 1
            times.append(1e3 * (time.perf_counter() - started))
        return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    wanted = parser.parse_args()
    figures: dict[str, list[Rates]] = defaultdict(list)
    for _ in range(wanted.rounds):
        for name in SYSTEMS:
            figures[name].append(measure(name, wanted.seconds))
    reference = statistics.median(rates.accepted for rates in figures["raw"])
    print(f"{'':12}{'accepted/s':>12}{'x raw':>8}{'done/s':>12}{'x raw':>8}")
    for name, rounds in figures.items():
        accepted = statistics.median(rates.accepted for rates in rounds)
        done = statistics.median(rates.done for rates in rounds)
        print(
            f"{name:12}{accepted:12,.0f}{accepted / reference:8.2f}"
            f"{done:12,.0f}{done / reference:8.2f}"
        )
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        fsync(Path(directory))
    for name in ("sqlite", "redis"):
        print(f"one job alone, {name}: {alone(name):.2f} ms (median) until its result is there")


if __name__ == "__main__":
    main()
