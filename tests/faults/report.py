"""What a fault test is given and what it gives back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tests.faults import invariants
from tests.faults.history import History

T = TypeVar("T")


class Size(StrEnum):
    """How hard a fault test tries: as in every test run, or as in the published table."""

    SMALL = "small"
    FULL = "full"

    def of(self, small: T, full: T) -> T:
        """The one of two that is for this size."""
        return small if self is Size.SMALL else full


@dataclass(frozen=True)
class Report:
    """What came out of one fault. Times are seconds."""

    fault: str
    accepted: int = 0
    lost: int = 0
    executed_twice: int = 0  # without a cause, or after it was seen final
    run_again: int = 0  # because the fault took the first run: at-least-once, as promised
    visible_twice: int = 0
    recovery: tuple[float, float] | None = None  # p50 and p99
    violations: list[str] = field(default_factory=list)
    remarks: str = ""


def report(
    fault: str, history: History, *, violations: Sequence[str] = (), remarks: Iterable[str] = ()
) -> Report:
    """The figures of a history; `violations` and `remarks` are what it does not show."""
    twice = invariants.executed_twice(history)
    again = invariants.run_again(history)
    return Report(
        fault=fault,
        accepted=len(history.accepted),
        lost=len(invariants.lost(history)),
        executed_twice=len(twice),
        run_again=len(again) - len(twice),
        visible_twice=len(invariants.visible_twice(history)),
        recovery=_spread(invariants.recoveries(history)),
        violations=[*violations, *invariants.violations(history)],
        remarks="; ".join(remarks),
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def _spread(values: Sequence[float]) -> tuple[float, float] | None:
    return (percentile(values, 0.5), percentile(values, 0.99)) if values else None
