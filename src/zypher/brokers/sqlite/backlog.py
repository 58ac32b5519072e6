"""What of a long queue is in memory, and what waits on the disk alone."""

from collections.abc import Iterator

from zypher.brokers.queue import Entry, ModelQueue
from zypher.prediction import Prediction, Priority

# How much of a lane is in memory, to be claimed. It is filled up once half of it is gone.
WINDOW = 1_000
WINDOW_BYTES = 16_000_000


class Backlog:
    """The part of one lane that is on the disk alone: all that is queued behind `loaded`."""

    def __init__(self) -> None:
        self.loaded = 0  # the highest place that has been in memory
        self.queued = 0
        self.queued_bytes = 0
        self.is_loading = False


class Backlogs:
    """The backlogs of one model's lanes."""

    def __init__(self, queue: ModelQueue) -> None:
        self._queue = queue
        self._lanes = {lane: Backlog() for lane in Priority}
        self._is_within_reach = True

    def __getitem__(self, lane: Priority) -> Backlog:
        return self._lanes[lane]

    def add(self, lane: Priority, queued: int, queued_bytes: int) -> None:
        """So many more of a lane, or fewer, wait on the disk alone."""
        self._lanes[lane].queued += queued
        self._lanes[lane].queued_bytes += queued_bytes
        self._tell(lane)

    def let_go(self) -> None:
        """Nothing can be read now: others need not wait for it, callers above all."""
        self._is_within_reach = False
        for lane in Priority:
            self._tell(lane)

    def resume(self) -> None:
        """It can be read again, and is waited for."""
        self._is_within_reach = True
        for lane in Priority:
            self._tell(lane)

    def take(self, record: Prediction) -> None:
        """One comes into memory."""
        self.add(record.priority, -1, -record.size)

    def keep_out(self, entry: Entry) -> bool:
        """True if a queued entry has to wait on the disk: memory is full, or others are first."""
        backlog = self._lanes[entry.record.priority]
        if entry.place <= backlog.loaded:
            return False
        if backlog.queued or self._is_full(entry.record.priority, part=1):
            self.add(entry.record.priority, 1, entry.record.size)
            return True
        backlog.loaded = entry.place
        return False

    @property
    def are_loading(self) -> bool:
        """True while something is being read into memory."""
        return any(backlog.is_loading for backlog in self._lanes.values())

    def to_load(self) -> Iterator[Priority]:
        """The lanes that should be filled up now."""
        for lane in self._queue.lanes.incomplete:
            if not self._lanes[lane].is_loading and not self._is_full(lane, part=2):
                yield lane

    def _tell(self, lane: Priority) -> None:
        if self._lanes[lane].queued and self._is_within_reach:
            self._queue.lanes.incomplete.add(lane)
        else:
            self._queue.lanes.incomplete.discard(lane)

    def _is_full(self, lane: Priority, *, part: int) -> bool:
        """True if as much of a lane is in memory as may be, or a part of that. One always may."""
        count = self._queue.lanes.count(lane)
        if count >= WINDOW // part:
            return True
        on_disk = sum(backlog.queued_bytes for backlog in self._lanes.values())
        return count > 0 and self._queue.queued_bytes - on_disk >= WINDOW_BYTES // part
