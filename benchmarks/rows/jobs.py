"""Asynchronous jobs: nobody waits for the model, and nothing that was accepted may be lost.

10,000 jobs of a model that does nothing are submitted over 64 connections; server, workers, Redis
and the load share the same two cores. Three rates, each beside `raw`, which answers as many
synchronous calls of the same client and does nothing:

- accepted: until the last submission was answered;
- ended: until the server tells that all have ended (one `GET /stats` every 10 ms);
- fetched: until the client has every result, asked for by its id over the same connections.

Each result is compared with its input; what is missing, wrong or refused is an error. Then one job
at a time on the quiet system: from its submission until its result is there, over two requests of
one connection, the second of which waits.

`durable` is the queue in a file, as installed, beside FastAPI's BackgroundTasks and a dict, which
survive nothing; the time of the disk's own fsync is measured in the same rounds. `redis` is a
server, two workers and a Redis that syncs its file every second, beside taskiq and Celery on the
same.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Answer, Caller, exchange, get, post
from benchmarks.processes import folder, fsync
from benchmarks.systems import (
    CELERY,
    FASTAPI,
    OVER_REDIS,
    PATIENCE,
    RAW,
    TASKIQ,
    ZYPHER,
    Setup,
    System,
    serving,
)
from benchmarks.tables import Bench, ratio, table

CONNECTIONS, WARM_UP, ALONE = 64, 1_000, 200
ASYNCHRONOUS, WAIT = "Async-Mode: true\r\n", "Prefer: wait=10\r\n"
TIMES = ("p50 ms", "p99 ms", "alone ms")


class Jobs(NamedTuple):
    """Jobs per second up to each stage, times in milliseconds; 0 is what `raw` does not have."""

    accepted: float
    ended: float
    fetched: float
    p50: float
    p99: float
    alone: float
    errors: int


def durable(bench: Bench) -> None:
    """10,000 asynchronous jobs, with the queue in a file."""
    syncs: list[float] = []

    def measure(system: System, programs: Path) -> Jobs:
        with folder() as directory:
            syncs.append(fsync(directory))
        return measured(system, programs, Setup("echo"), bench.jobs)

    figures = bench.in_turns("durable", (RAW, ZYPHER, FASTAPI), measure)
    report(f"durable, {bench.jobs:,} jobs", figures)
    sync = statistics.median(syncs)
    print(f"fsync of 4 KB on this disk: {sync:.2f} ms; 1 ms and two of them: {1 + 2 * sync:.2f} ms")


def redis(bench: Bench) -> None:
    """10,000 asynchronous jobs over Redis, with two workers."""

    def measure(system: System, programs: Path) -> Jobs:
        return measured(system, programs, Setup("echo", workers=2), bench.jobs)

    systems = (RAW, OVER_REDIS, TASKIQ, CELERY)
    report(f"redis, 2 workers, {bench.jobs:,} jobs", bench.in_turns("redis", systems, measure))


def measured(system: System, programs: Path, setup: Setup, count: int) -> Jobs:
    """One round of one system."""
    work = calls if system is RAW else jobs
    with serving(system, programs, setup) as service:
        work(service.port, min(WARM_UP, count))
        return work(service.port, count)


def calls(port: int, count: int) -> Jobs:
    """Synchronous calls, as a reference."""
    answers, took = exchange(port, [post("/predict", n) for n in range(count)], CONNECTIONS)
    right = sum(is_result(answer, n) for n, answer in enumerate(answers))
    return Jobs(count / took, 0, 0, *p50_and_p99(answers), 0, count - right)


def jobs(port: int, count: int) -> Jobs:
    """Jobs, from their submission to their results."""
    before = ended(port)
    requests = [post("/predict", n, ASYNCHRONOUS) for n in range(count)]
    answers, accepting = exchange(port, requests, CONNECTIONS)
    taken_in = sum(answer.status == 202 for answer in answers)
    waiting = time_until(lambda: ended(port) >= before + taken_in)
    ids = {n: id_of(answer) for n, answer in enumerate(answers) if answer.status == 202}
    requests = [get(f"/predict/{id}") for id in ids.values()]
    results, fetching = exchange(port, requests, CONNECTIONS)
    right = sum(is_output(result, n) for n, result in zip(ids, results, strict=True))
    return Jobs(
        count / accepting,
        count / (accepting + waiting),
        count / (accepting + waiting + fetching),
        *p50_and_p99(answers),
        alone(port),
        count - right,
    )


def time_until(condition: Callable[[], bool]) -> float:
    """Seconds until it holds, or until one has no patience any more."""
    started = time.perf_counter()
    while not condition() and time.perf_counter() < started + PATIENCE:
        time.sleep(0.01)
    return time.perf_counter() - started


def ended(port: int) -> int:
    """How many jobs have ended."""
    with Caller(port) as caller:
        stats = caller.call(get("/stats")).json["models"].values()
    return sum(model["completed"] + model.get("failed", 0) for model in stats)


def alone(port: int) -> float:
    """Milliseconds (median) until the result of one job is there, one after the other."""
    took = []
    with Caller(port) as caller:
        for number in range(ALONE):
            started = time.perf_counter()
            id = id_of(caller.call(post("/predict", number, ASYNCHRONOUS)))
            while not is_output(caller.call(get(f"/predict/{id}", WAIT)), number):
                pass
            took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def p50_and_p99(answers: Sequence[Answer]) -> tuple[float, float]:
    """Latencies in milliseconds."""
    quantiles = statistics.quantiles((1e3 * answer.seconds for answer in answers), n=100)
    return quantiles[49], quantiles[98]


def id_of(answer: Answer) -> str:
    return str(answer.json["prediction_id"])


def is_result(answer: Answer, number: int) -> bool:
    return answer.status == 200 and bool(answer.json["result"] == number)


def is_output(answer: Answer, number: int) -> bool:
    return answer.status == 200 and bool(answer.json["output"]["result"] == number)


def report(title: str, figures: dict[str, list[Jobs]]) -> None:
    """Medians; the errors are those of all rounds."""

    def median(rounds: Sequence[Jobs], field: str) -> float:
        return float(statistics.median(getattr(jobs, field) for jobs in rounds))

    raw = median(figures["raw"], "accepted") if "raw" in figures else None
    rates = ("accepted", "ended", "fetched")
    table(
        title,
        (*(column for rate in rates for column in (f"{rate}/s", "x raw")), *TIMES, "errors"),
        {
            name: (
                *(cell for rate in rates for cell in rate_and_ratio(median(rounds, rate), raw)),
                *(milliseconds(median(rounds, field)) for field in ("p50", "p99", "alone")),
                f"{sum(jobs.errors for jobs in rounds)}",
            )
            for name, rounds in figures.items()
        },
    )


def milliseconds(time: float) -> str:
    return f"{time:.2f}" if time else ""


def rate_and_ratio(rate: float, raw: float | None) -> tuple[str, str]:
    return (f"{rate:,.0f}", ratio(rate, raw)) if rate else ("", "")
