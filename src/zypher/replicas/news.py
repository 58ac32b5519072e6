"""What a replica has said, until somebody takes it."""

from collections.abc import Sequence
from typing import NamedTuple

from zypher.prediction import Claim, Outcome
from zypher.replicas.frames import MOST_TOLD, Told


class Report(NamedTuple):
    """What a replica has to say: first what its runs told, then what became of them."""

    told: Sequence[Told]
    outcomes: Sequence[tuple[Claim, Outcome]]
    seconds: Sequence[float]  # that the runs of these outcomes took
    returned: Sequence[Claim]  # which it had been handed, and which have not run


class News:
    """Collects the next report. What runs tell is dropped where too much of it waits."""

    def __init__(self) -> None:
        self._begin()

    def __bool__(self) -> bool:
        return bool(self._outcomes or self._told or self._returned)

    def add_told(self, told: Told) -> None:
        if self._told_bytes < MOST_TOLD:
            self._told.append(told)
            self._told_bytes += len(told.data)

    def add_outcome(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        self._outcomes.append((claim, outcome))
        self._seconds.append(seconds)

    def add_returned(self, claims: Sequence[Claim]) -> None:
        self._returned += claims

    def take(self) -> Report:
        """All that has been collected since the last time."""
        report = Report(self._told, self._outcomes, self._seconds, self._returned)
        self._begin()
        return report

    def _begin(self) -> None:
        self._told: list[Told] = []
        self._told_bytes = 0
        self._outcomes: list[tuple[Claim, Outcome]] = []
        self._seconds: list[float] = []
        self._returned: list[Claim] = []
