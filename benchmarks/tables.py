"""How figures are printed, and how rounds are taken in turns."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmarks.systems import System, installed

T = TypeVar("T")


class Bench(NamedTuple):
    """Who takes part, and how much is asked of them."""

    names: Sequence[str]
    rounds: int
    seconds: int
    jobs: int

    def in_turns(
        self, title: str, systems: Iterable[System], measure: Callable[[System, Path], T]
    ) -> dict[str, list[T]]:
        """What was measured, by the system's name: each takes its turn in every round."""
        wanted = [system for system in systems if system.name in self.names]
        places = [(system, place) for system in wanted if (place := installed(system))]
        figures: dict[str, list[T]] = {system.name: [] for system, _ in places}
        for number in range(self.rounds):
            for system, programs in places:
                told = f"{title}: round {number + 1} of {self.rounds}, {system.name}"
                print(told, file=sys.stderr, flush=True)
                figures[system.name].append(measure(system, programs))
        return figures


def table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """A line for each system."""
    widths = [max(len(column), 8) + 2 for column in columns]
    name = max(12, *map(len, rows)) if rows else 12
    print(f"\n{title}\n{'':{name}}" + _line(columns, widths))
    for system, cells in rows.items():
        print(f"{system:{name}}" + _line(cells, widths))
    sys.stdout.flush()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def ratio(value: float, reference: float | None) -> str:
    """A value in parts of another one, if there is one."""
    return f"{value / reference:.2f}" if reference else "-"
