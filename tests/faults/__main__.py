"""Injects the faults at full size, and prints a table of what came of it.

    ./run faults [--prove] [--only NAME]

With --prove: takes one guard after the other out of a copy of the source, and shows that the
fault that needs it finds that out.
"""

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.faults.alone import run
from tests.faults.catalogue import FAULTS
from tests.faults.guards import GUARDS, report_of, source_without
from tests.faults.redis.guards import GUARDS as REDIS_GUARDS
from tests.faults.report import Report, Size

_SOURCE = Path(__file__).parents[2] / "src"


def main() -> int:
    """The exit code is 0 if every promise was kept, or every guard found missing."""
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__)
    parser.add_argument("--prove", action="store_true", help="show that each fault test bites")
    parser.add_argument("--only", choices=FAULTS, metavar="NAME", help=", ".join(FAULTS))
    wanted = parser.parse_args()
    names = [wanted.only] if wanted.only else list(FAULTS)
    print(f"{os.cpu_count()} cores; one fsync takes {_fsync() * 1e3:.1f} ms (median)\n")
    return _prove(names) if wanted.prove else _inject(names)


def _inject(names: list[str]) -> int:
    """Print what came of every fault."""
    _row(
        *("fault", "accepted", "lost", "run again", "executed twice", "visible twice"),
        *("recovery p50 / p99", "violations", "remarks"),
    )
    _row(*["---"] * 9)
    broken: list[str] = []
    for name in names:
        result = _report(name)
        _row(*_cells(result))
        broken += [f"{result.fault}: {sentence}" for sentence in result.violations]
    _list("Violations", broken)
    return 1 if broken else 0


def _report(name: str) -> Report:
    try:
        return run(name, Size.FULL)
    except pytest.skip.Exception as reason:
        return Report(name, remarks=f"not tried: {reason}")


def _cells(report: Report) -> Iterable[object]:
    recovery = report.recovery
    return (
        report.fault,
        report.accepted,
        report.lost,
        report.run_again,
        report.executed_twice,
        report.visible_twice,
        f"{recovery[0]:.2f} s / {recovery[1]:.2f} s" if recovery else "",
        len(report.violations),
        report.remarks,
    )


def _prove(names: list[str]) -> int:
    """Print what every fault reports with its guard and without it."""
    _row("guard", "fault", "with it", "without it")
    _row(*["---"] * 4)
    unproven: list[str] = []
    with_all_guards = functools.cache(lambda fault: report_of(fault, _SOURCE).violations)
    for guard in (*GUARDS, *REDIS_GUARDS):
        if guard.fault in names:
            kept = with_all_guards(guard.fault)
            with source_without(guard) as source:
                found = report_of(guard.fault, source).violations
            _row(guard.name, guard.fault, *map(_first, (kept, found)))
            if kept or not found:
                unproven.append(guard.name)
    _list("Not proven", unproven)
    return 1 if unproven else 0


def _first(violations: list[str]) -> str:
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{violations[0]}{more}" if violations else "nothing is violated"


def _row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def _list(title: str, sentences: list[str]) -> None:
    if sentences:
        print(f"\n{title}:")
        for sentence in sentences:
            print("-", sentence)


def _fsync() -> float:
    """Seconds that the disk of the temporary directory takes to make a small write last."""
    with tempfile.TemporaryFile() as file:

        def once() -> float:
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            return time.perf_counter() - started

        return statistics.median(once() for _ in range(100))


if __name__ == "__main__":
    sys.exit(main())
