"""10,000 predictions in flight: what they take, and what others feel of them.

First a caller asks for a model that does nothing, again and again on a quiet server. Then 10,000
predictions are submitted of a model that sleeps until all of this is over, and the caller asks on:

- asynchronous: over 64 connections, and nobody waits;
- synchronous: each waits on a connection of its own, as far as the limit of open files allows.

`raw` answers as many calls after the same sleep, each on a connection of its own. Memory is what
the server's process has (RSS), before them and with them. In the end every result is looked at.
"""

import resource
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Caller, exchange, get, post
from benchmarks.processes import resident
from benchmarks.rows.jobs import ASYNCHRONOUS, CONNECTIONS, id_of, is_output, is_result, p50_and_p99
from benchmarks.systems import RAW, ZYPHER, Setup, System, serving, wait_for
from benchmarks.tables import Bench, table

IN_FLIGHT = 10_000
# Seconds to submit all of them, beside those in which others are watched.
SUBMITTING = 15
OTHER = post("/models/echo/predict", 1)
# What a server and a client have open beside the connections.
FILES = 200


class Flight(NamedTuple):
    """The p99 of others in ms and the server's memory in MB, without and with so many in flight."""

    p99_before: float
    p99: float
    memory_before: float
    memory: float
    errors: int


def flight(bench: Bench) -> None:
    """10,000 predictions in flight."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    compare(bench, "asynchronous", (ZYPHER,), Asynchronous, IN_FLIGHT)
    compare(bench, "synchronous", (RAW, ZYPHER), Synchronous, min(IN_FLIGHT, hard - FILES))


class Asynchronous:
    """Predictions that were submitted, and sleep."""

    def __init__(self, port: int, count: int, sleep: int) -> None:
        self._port, self._sleep = port, sleep
        answers, _ = exchange(port, [post("/predict", sleep, ASYNCHRONOUS)] * count, CONNECTIONS)
        self._ids = [id_of(answer) for answer in answers if answer.status == 202]

    def answered(self) -> int:
        """How many have had the right result, once all have ended."""
        requests = [get(f"/predict/{id}") for id in self._ids]
        results, _ = exchange(self._port, requests, CONNECTIONS)
        return sum(is_output(result, self._sleep) for result in results)


class Synchronous:
    """Calls that wait for what sleeps."""

    def __init__(self, port: int, count: int, sleep: int) -> None:
        self._sleep = sleep
        requests = [post("/predict", sleep)] * count
        self._exchange = ThreadPoolExecutor(1).submit(exchange, port, requests, count)

    def answered(self) -> int:
        """How many have had the right result."""
        return sum(is_result(answer, self._sleep) for answer in self._exchange.result().answers)


Kind = type[Asynchronous] | type[Synchronous]


def compare(bench: Bench, name: str, systems: Sequence[System], kind: Kind, count: int) -> None:
    """So many of a kind."""
    room = ("--concurrency", count, "--max-connections", 2 * count)
    setup = Setup("sleep", arguments=room)
    sleep = SUBMITTING + bench.seconds

    def measure(system: System, programs: Path) -> Flight:
        with serving(system, programs, setup) as (port, _, (server, *_), _):
            others(port, 1)
            p99_before, memory_before = others(port, bench.seconds), resident(server)
            sleepers = kind(port, count, sleep)
            wait_for(lambda: asleep(port) == count)
            p99, memory = others(port, bench.seconds), resident(server)
            assert asleep(port) == count, "Some have ended too early to be measured."
            wait_for(lambda: not asleep(port))
            return Flight(p99_before, p99, memory_before, memory, count - sleepers.answered())

    title = f"{count:,} in flight, {name}"
    report(title, bench.in_turns(title, systems, measure))


def others(port: int, seconds: float) -> float:
    """The p99 of a caller who asks again and again for so long, in milliseconds."""
    end = time.perf_counter() + seconds
    answers = []
    with Caller(port) as caller:
        while time.perf_counter() < end:
            answers.append(caller.call(OTHER))
    assert all(is_result(answer, 1) for answer in answers)
    return p50_and_p99(answers)[1]


def asleep(port: int) -> int:
    """How many are in flight."""
    with Caller(port) as caller:
        return int(caller.call(get("/stats")).json["models"]["sleep"]["processing"])


def report(title: str, figures: dict[str, list[Flight]]) -> None:
    """Medians; the errors are those of all rounds."""

    table(
        title,
        ("others' p99 ms", "then", "ratio", "server MB", "then", "errors"),
        {
            name: (
                f"{statistics.median(one.p99_before for one in rounds):.2f}",
                f"{statistics.median(one.p99 for one in rounds):.2f}",
                f"{statistics.median(one.p99 / one.p99_before for one in rounds):.2f}",
                f"{statistics.median(one.memory_before for one in rounds):.0f}",
                f"{statistics.median(one.memory for one in rounds):.0f}",
                f"{sum(one.errors for one in rounds)}",
            )
            for name, rounds in figures.items()
        },
    )
