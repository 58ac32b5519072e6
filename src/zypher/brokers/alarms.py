"""When the predictions in memory have to be looked at again."""

import heapq
from collections.abc import Iterator
from itertools import count

from zypher.brokers.queue import Entry
from zypher.prediction import Prediction

# So many that are off are not worth a sweep.
_FEW = 1_000


class Alarms:
    """Steady times, each for an entry as it was then: one that has moved on is off."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry, Prediction]] = []
        self._numbers = count()
        self._sweep_at = _FEW

    def set(self, at: float, entry: Entry) -> None:
        """Ring at the steady time `at`, unless the entry has moved by then."""
        heapq.heappush(self._heap, (at, next(self._numbers), entry, entry.record))
        if len(self._heap) > self._sweep_at:
            self._heap = [alarm for alarm in self._heap if alarm[2].record is alarm[3]]
            heapq.heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + _FEW

    def ring(self, now: float) -> Iterator[Entry]:
        """The entries whose time has come, each once."""
        while self._heap and self._heap[0][0] <= now:
            _, _, entry, record = heapq.heappop(self._heap)
            if entry.record is record:
                yield entry
