"""Uses Zypher in all ways for a long time, and says whether what it takes up stays the same.

./run soak [--minutes 60] [--only sqlite|redis]
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.places import PLACES
from tests.soak.soak import Plan, Soak, soak

# As many violations are printed: where something stands still, there are thousands.
_MOST = 20


def main() -> int:
    """The exit code is 0 if all that is measured was flat, and every promise was kept."""
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="for each queue; at least 4")
    parser.add_argument("--only", choices=PLACES, help="one queue")
    wanted = parser.parse_args()
    if wanted.minutes < 4:
        parser.error("Less than 4 minutes say nothing: what has ended stays for up to 2.")
    names = [wanted.only] if wanted.only else list(PLACES)
    found = [_soak(name, wanted.minutes) for name in names]
    return 1 if any(found) else 0


def _soak(place: str, minutes: float) -> list[str]:
    """Print what came of one; what is wrong with it."""
    with tempfile.TemporaryDirectory() as directory:
        result = asyncio.run(soak(place, Plan.of(minutes), Path(directory)))
    _print(place, minutes, result)
    return result.violations


def _print(place: str, minutes: float, result: Soak) -> None:
    report = result.report
    print(f"## {place}, {minutes:g} minutes\n")
    print(f"{report.accepted} submitted and watched: {report.lost} lost, ", end="")
    print(f"{report.run_again} run again because of a fault, {report.executed_twice} without.")
    print(", ".join(f"{count} times {name}" for name, count in sorted(result.done.items())), end="")
    print(f"; {result.interrupted} were interrupted.\n")
    print("| gauge | first third | last third | per hour |\n| --- | --- | --- | --- |")
    for trend in result.trends:
        print(trend)
    print("\nViolations:" if result.violations else "\nFlat, and nothing is violated.")
    for sentence in result.violations[:_MOST]:
        print("-", sentence)
    if (more := len(result.violations) - _MOST) > 0:
        print(f"- and {more} more")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
