"""What usual things cost: API keys, a header field that is new each time, a 4 KB input with
pydantic types, 5 % of inputs that fail.

Synchronous calls over 32 connections, all processes of the server on one core, wrk on the other.
Each rate is given in parts of the system's own with none of this, in the same rounds. `raw` checks
no key, reads the 4 KB and does not look at them, and fails nothing. The model that fails raises
(FastAPI's: an `HTTPException`), which is answered with 500; that is no error here. Beside the rates
stands what all processes of a server take of the processor for one answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.payloads import DOCUMENT
from benchmarks.systems import FASTAPI, RAW, ZYPHER, Setup, System, serving
from benchmarks.tables import Bench, ratio, table
from benchmarks.wrk import Answers, ask, median

CONNECTIONS = 32


class Case(NamedTuple):
    """What is asked, and of whom."""

    title: str
    setup: Setup
    inputs: Sequence[Any]
    headers: Sequence[str] = ()


CASES = (
    Case("nothing", Setup("echo", pinned=True), [1]),
    Case("API key", Setup("echo", pinned=True, keyed=True), [1]),
    Case("new field", Setup("echo", pinned=True), [1], ["X-Request-Id: #"]),
    Case("4 KB", Setup("document", pinned=True), [DOCUMENT]),
    Case("5 % fail", Setup("failing", pinned=True), [1, -1]),
)


def costs(bench: Bench) -> None:
    """What keys, types and failures cost."""

    def measure(system: System, programs: Path) -> list[Answers]:
        return [asked(system, programs, case, bench.seconds) for case in CASES]

    figures = bench.in_turns("costs", (RAW, ZYPHER, FASTAPI), measure)
    table(
        f"costs, {CONNECTIONS} connections",
        (
            *("answers/s", *(column for case in CASES for column in (case.title, "CPU us"))),
            *("failed %", "errors"),
        ),
        {name: cells(rounds) for name, rounds in figures.items()},
    )


def asked(system: System, programs: Path, case: Case, seconds: int) -> Answers:
    """Warm up, then ask."""
    with serving(system, programs, case.setup) as service:
        work = (service, case.setup, case.inputs, CONNECTIONS)
        ask(*work, 1, headers=case.headers)
        return ask(*work, seconds, headers=case.headers)


def cells(rounds: list[list[Answers]]) -> tuple[str, ...]:
    """The rate, and what is left of it in each case."""
    cases = list(zip(*rounds, strict=True))
    rates = [median(case, "rate") for case in cases]
    costs = [median(case, "cost") for case in cases]
    failing = cases[-1]
    failed = 100 * sum(one.refused for one in failing) / sum(one.answered for one in failing)
    errors = sum(answers.errors for case in cases[:-1] for answers in case)
    return (
        f"{rates[0]:,.0f}",
        *(
            cell
            for rate, cost in zip(rates, costs, strict=True)
            for cell in (ratio(rate, rates[0]), f"{cost:.0f}")
        ),
        f"{failed:.1f}",
        f"{errors + sum(answers.broken for answers in failing)}",
    )
