"""Synchronous calls of models that do nothing, that nap, and that take batches.

- echo: a model that answers at once; all processes of the server on one core, wrk on the other.
- nap: an asynchronous model that takes 50 ms, at 1,000 connections, on the same cores as wrk.
- batched: a model that blocks for 10 ms for up to 32 inputs; the rate in parts of the ideal one.

`raw` does the same: it answers at once, or after 50 ms. It has no batches. Beside the rates stands
what all processes of a server take of the processors for one answer: it depends less on what else
the machine does.
"""

from pathlib import Path
from typing import NamedTuple

from benchmarks.systems import (
    FASTAPI,
    LITSERVE,
    MOSEC,
    RAW,
    ZYPHER,
    Setup,
    System,
    serving,
)
from benchmarks.tables import Bench, ratio, table
from benchmarks.wrk import Answers, ask, median


class Load(NamedTuple):
    """So many connections to a setup, and what an ideal server would do, if one knows."""

    setup: Setup
    connections: int
    ideal: float | None = None


LOADS = {
    "echo": [Load(Setup("echo", pinned=True), connections) for connections in (1, 32, 256)],
    "nap": [Load(Setup("nap"), 1_000)],
    "batched": [
        Load(Setup("batched"), 64, ideal=3_200),
        Load(Setup("batched", workers=2), 128, ideal=6_400),
    ],
}


def echo(bench: Bench) -> None:
    """A model that does nothing, on one core."""
    compare(bench, "echo", RAW, ZYPHER, FASTAPI, LITSERVE, MOSEC)


def nap(bench: Bench) -> None:
    """An asynchronous model that takes 50 ms."""
    compare(bench, "nap", RAW, ZYPHER, FASTAPI, LITSERVE)


def batched(bench: Bench) -> None:
    """A model that blocks for 10 ms for a batch."""
    compare(bench, "batched", ZYPHER, LITSERVE, MOSEC)


def compare(bench: Bench, model: str, *systems: System) -> None:
    """All loads of a model."""
    for load in LOADS[model]:

        def measure(system: System, programs: Path, load: Load = load) -> Answers:
            return asked(system, programs, load, bench.seconds)

        report(load, bench.in_turns(f"{model}, {load.connections}", systems, measure))


def asked(system: System, programs: Path, load: Load, seconds: int) -> Answers:
    """Warm up, then ask."""
    with serving(system, programs, load.setup) as service:
        ask(service, load.setup, [1], load.connections, 1)
        return ask(service, load.setup, [1], load.connections, seconds)


def report(load: Load, figures: dict[str, list[Answers]]) -> None:
    """Medians; the slowest answer and the errors are those of all rounds."""
    raw = figures.get("raw")
    reference = load.ideal or (median(raw, "rate") if raw else None)
    workers = f", {load.setup.workers} workers" if load.ideal else ""
    table(
        f"{load.setup.model}, {load.connections} connections{workers}",
        (
            *("answers/s", "of ideal" if load.ideal else "x raw", "CPU us", "p50 ms", "p99 ms"),
            *("p99 x raw", "slowest", "errors"),
        ),
        {
            name: (
                f"{median(rounds, 'rate'):,.0f}",
                ratio(median(rounds, "rate"), reference),
                f"{median(rounds, 'cost'):.0f}",
                f"{median(rounds, 'p50'):.2f}",
                f"{median(rounds, 'p99'):.2f}",
                ratio(median(rounds, "p99"), median(raw, "p99") if raw else None),
                f"{max(answers.slowest for answers in rounds):.0f}",
                f"{sum(answers.errors for answers in rounds)}",
            )
            for name, rounds in figures.items()
        },
    )
