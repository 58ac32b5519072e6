"""When the predictions in memory have to be looked at again."""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from zypher.brokers.queue import Entry
from zypher.prediction import Prediction

# So many that are off are not worth a sweep.
_FEW = 1_000


class _Alarm(NamedTuple):
    at: float
    number: int
    entry: Entry
    record: Prediction
    delayed: bool

    @property
    def is_on(self) -> bool:
        """True while the entry is as it was."""
        return self.entry.record is self.record and self.entry.delayed is self.delayed


class Alarms:
    """Steady times, each for an entry as it was then: one that has moved on is off."""

    def __init__(self) -> None:
        self._heap: list[_Alarm] = []
        self._numbers = count()
        self._sweep_at = _FEW

    def set(self, at: float, entry: Entry) -> None:
        """Ring at the steady time `at`, unless the entry has moved by then."""
        alarm = _Alarm(at, next(self._numbers), entry, entry.record, entry.delayed)
        heapq.heappush(self._heap, alarm)
        if len(self._heap) > self._sweep_at:
            self._heap = [alarm for alarm in self._heap if alarm.is_on]
            heapq.heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + _FEW

    def ring(self, now: float) -> Iterator[Entry]:
        """The entries whose time has come, each once."""
        while self._heap and self._heap[0][0] <= now:
            alarm = heapq.heappop(self._heap)
            if alarm.is_on:
                yield alarm.entry
