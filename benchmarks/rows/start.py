"""From the start of the process to the first right answer, and memory (PSS).

A model that does nothing, on one replica; then the same on five, for what each further one takes.
`mock` is Zypher with its mock, as `zypher serve` starts it without arguments, but that it does not
wait. FastAPI has no replicas: its model is in the server. `raw` is the server alone.
"""

import statistics
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import shared_out
from benchmarks.systems import FASTAPI, LITSERVE, MOCK, MOSEC, RAW, ZYPHER, Setup, System, serving
from benchmarks.tables import Bench, table

MORE = 5
IN_ONE_PROCESS = (RAW, FASTAPI)


class Start(NamedTuple):
    """Seconds until the first answer, MB then, and MB for each further replica."""

    seconds: float
    memory: float
    further: float | None


def start(bench: Bench) -> None:
    """How soon it answers, and its memory."""

    def measure(system: System, programs: Path) -> Start:
        setup = Setup("mock", arguments=("--mock-delay", 0)) if system is MOCK else Setup("echo")
        with serving(system, programs, setup) as service:
            seconds, memory = service.seconds, shared_out(service.processes)
        if system in IN_ONE_PROCESS:
            return Start(seconds, memory, None)
        with serving(system, programs, setup._replace(workers=MORE)) as service:
            further = (shared_out(service.processes) - memory) / (MORE - 1)
        return Start(seconds, memory, further)

    figures = bench.in_turns("start", (RAW, MOCK, ZYPHER, FASTAPI, LITSERVE, MOSEC), measure)
    table(
        "start",
        ("seconds", "MB", "each further MB"),
        {name: cells(rounds) for name, rounds in figures.items()},
    )


def cells(rounds: list[Start]) -> tuple[str, ...]:
    """Medians."""
    further = [one.further for one in rounds if one.further is not None]
    return (
        f"{statistics.median(one.seconds for one in rounds):.2f}",
        f"{statistics.median(one.memory for one in rounds):.0f}",
        f"{statistics.median(further):.0f}" if further else "-",
    )
