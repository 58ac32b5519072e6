"""Sends hostile inputs to a real server, and prints a table of what came of it.

./run fuzz [--inputs 100000] [--seed 1] [--kind NAME]
"""

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.campaign import Outcome, Report, lines_of_functions, run
from tests.fuzz.generators import KINDS

_SHOWN = 5


def main() -> int:
    """The exit code is 0 if the server has kept all that it promises."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, metavar="NUMBER")
    parser.add_argument("--seed", type=int, default=1, metavar="NUMBER")
    parser.add_argument("--kind", choices=KINDS, metavar="NAME", help=", ".join(KINDS))
    wanted = parser.parse_args()
    begun = time.monotonic()
    report = run(wanted.inputs, wanted.seed, [wanted.kind] if wanted.kind else KINDS)
    _print(report, time.monotonic() - begun)
    return 1 if report.violations else 0


def _print(report: Report, seconds: float) -> None:
    possible = lines_of_functions()
    _row("kind", "inputs", "answers", "distinct", "lines reached", "the most frequent")
    _row(*["---"] * 6)
    outcomes: Counter[Outcome] = Counter()
    reached: set[tuple[str, int]] = set()
    for row in report.rows:
        reached |= row.lines & possible
        outcomes += row.outcomes
        answers = row.outcomes.total()
        lines = len(row.lines & possible)
        _row(row.kind, row.inputs, answers, len(row.outcomes), lines, _frequent(row.outcomes))
    inputs = sum(row.inputs for row in report.rows)
    of_all = f"{len(reached)} of {len(possible)}"
    _row("all", inputs, outcomes.total(), len(outcomes), of_all, "")
    before, after = report.before, report.after
    print(f"\n{seconds:.0f} s; the slowest /readyz took {report.slowest_probe * 1e3:.0f} ms")
    print(
        f"Memory {before.memory / 1e6:.0f} MB before, {after.memory / 1e6:.0f} MB after", end="; "
    )
    print(
        f"files {before.files}, {after.files}; threads {before.threads}, {after.threads}", end="; "
    )
    print(f"tasks {before.tasks}, {after.tasks}")
    print("Violations:", len(report.violations))
    for sentence in report.violations[:50]:
        print("-", sentence)


def _frequent(outcomes: Counter[Outcome]) -> str:
    return ", ".join(
        f"{status} {code}".strip() for (status, code), _ in outcomes.most_common(_SHOWN)
    )


def _row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
