"""What a replica was handed: what runs there, and what waits there for its turn."""

import math
import time
from collections.abc import Sequence

import msgspec

from zypher.prediction import Claim
from zypher.replicas.frames import Call

# Something may wait behind a call if the last one took so long, in seconds: after a longer one
# it would wait in vain, and with a shorter one nothing is gained.
_BRIEF = (0.001, 0.1)

# It is handed over so long before the end that is to be expected, in seconds and in parts of the
# call: later than that it could come too late, and earlier others would do better to have it. So
# long after that end it is taken back, for another replica may be idle.
_LEAD, _LEAD_PART = 0.002, 0.2

# How long it may wait there, in leads.
PATIENCE = 2.0


class _Unit(msgspec.Struct, eq=False):
    """What runs in one call of predict: a batch, or one by itself. `since`: when it began."""

    left: int
    since: float


class _Flight(msgspec.Struct, frozen=True, eq=False):
    """A claim in flight: what it runs with, bytes of its input."""

    unit: _Unit
    size: int


class Flights:
    """The claims in flight of one replica. Times are the loop's, in seconds.

    `units`: how many calls of predict run. `bytes`: of all inputs. `seconds`: that the last call
    took. `waiting`: the next batch, or the next one, which begins once nothing else runs.
    """

    def __init__(self) -> None:
        self.units = 0
        self.bytes = 0
        self.seconds = math.inf
        self.running: dict[Claim, _Flight] = {}
        self.waiting: dict[Claim, _Flight] = {}

    def begin(self, calls: Sequence[Call], now: float, *, together: bool) -> None:
        """These run, as one batch or each by itself."""
        if together:
            self.running |= self._batch(calls, now)
            self.units += 1
            return
        for call in calls:
            size = len(call.input)
            self.running[call.claim] = _Flight(_Unit(1, now), size)
            self.bytes += size
        self.units += len(calls)

    def queue(self, calls: Sequence[Call]) -> None:
        """These run together, next."""
        self.waiting = self._batch(calls, math.inf)

    def end(self, claim: Claim, now: float) -> float:
        """It has ended; the seconds that its call took. Raises KeyError if it did not run."""
        flight = self.running.pop(claim)
        unit = flight.unit
        self.bytes -= flight.size
        unit.left -= 1
        seconds = now - unit.since
        if not unit.left:
            self.units -= 1
            self.seconds = seconds
        return seconds

    def follow(self, now: float) -> None:
        """What waited has begun."""
        for flight in self.waiting.values():
            flight.unit.since = now
        self.units += bool(self.waiting)
        self.running |= self.waiting
        self.waiting = {}

    def take_back(self, *, also_running: bool) -> list[Claim]:
        """What waits is not in flight any more; nor what should run, if that has not begun."""
        taken, self.waiting = self.waiting, {}
        if also_running:
            taken, self.running, self.units = self.running | taken, {}, 0
        self.bytes -= sum(flight.size for flight in taken.values())
        return list(taken)

    def expected(self) -> float | None:
        """How long after its beginning a call is so near its end that the next may be handed over.

        In seconds, by how long the last one took; None if the end has to be waited for.
        """
        shortest, longest = _BRIEF
        if not shortest <= self.seconds <= longest:
            return None
        return max(0.0, self.seconds - self._lead)

    def patience(self, calls: Sequence[Call]) -> float:
        """How many seconds these may wait: no more than half of what a clock leaves them."""
        spare = [(call.deadline - time.time()) / 2 for call in calls if call.deadline is not None]
        return max(0.0, min([PATIENCE * self._lead, *spare]))

    @property
    def _lead(self) -> float:
        return self.seconds * _LEAD_PART + _LEAD

    def _batch(self, calls: Sequence[Call], since: float) -> dict[Claim, _Flight]:
        unit = _Unit(len(calls), since)
        batch = {call.claim: _Flight(unit, len(call.input)) for call in calls}
        self.bytes += sum(flight.size for flight in batch.values())
        return batch
