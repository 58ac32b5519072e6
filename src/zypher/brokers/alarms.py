"""When the predictions in memory have to be looked at again."""

import heapq
from collections.abc import Iterator
from itertools import count

from zypher.brokers.queue import Entry

# So many that are off are not worth a sweep.
_FEW = 1_000


class Alarms:
    """Steady times, at most one for each entry; one that is off holds nothing of its entry."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []  # time and number, those that are off included
        self._on: dict[int, Entry] = {}
        self._numbers = count(1)

    def set(self, at: float, entry: Entry) -> None:
        """Ring for this entry at the steady time `at`, and at no other."""
        self.turn_off(entry)
        entry.alarm = next(self._numbers)
        self._on[entry.alarm] = entry
        heapq.heappush(self._heap, (at, entry.alarm))
        if len(self._heap) > 2 * len(self._on) + _FEW:
            self._heap = [alarm for alarm in self._heap if alarm[1] in self._on]
            heapq.heapify(self._heap)

    def turn_off(self, entry: Entry) -> None:
        """Do not ring for this entry."""
        if entry.alarm:
            self._on.pop(entry.alarm, None)
            entry.alarm = 0

    def pauses(self) -> Iterator[Entry]:
        """The entries that pause."""
        return (entry for entry in self._on.values() if entry.delayed)

    def ring(self, now: float) -> Iterator[Entry]:
        """The entries whose time has come, each once."""
        while self._heap and self._heap[0][0] <= now:
            _, number = heapq.heappop(self._heap)
            if (entry := self._on.pop(number, None)) is not None:
                yield entry
