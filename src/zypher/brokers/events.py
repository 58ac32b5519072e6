"""What runs tell while they run: a bounded log for each, and all of them bounded together."""

from collections import deque
from collections.abc import Sequence

from zypher.brokers.base import Event

# The most that is held of one run, and of all runs together.
_MOST_EVENTS = 1_000
_MOST_BYTES = 1_000_000
_MOST_BYTES_OF_ALL = 64_000_000

# What an event takes beside its data.
_OVERHEAD = 200


class EventLog:
    """The last events of one attempt, numbered from 1."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self.size = 0
        self.last = 0  # number
        self._events: deque[Event] = deque()

    def append(self, event: Event) -> None:
        """Add an event, at the expense of the oldest ones if there is no room."""
        self._events.append(event)
        self.last += 1
        self.size += len(event.data) + _OVERHEAD
        while len(self._events) > _MOST_EVENTS or (
            self.size > _MOST_BYTES and len(self._events) > 1
        ):
            self.size -= len(self._events.popleft().data) + _OVERHEAD

    def empty(self) -> None:
        """Forget the events, but not their numbers."""
        self._events.clear()
        self.size = 0

    def after(self, sequence: int) -> list[tuple[int, Event]]:
        """The events behind this number, with theirs."""
        first = self.last - len(self._events) + 1
        start = max(first, sequence + 1)
        return [(start + n, event) for n, event in enumerate(list(self._events)[start - first :])]


class EventLogs(dict[str, EventLog]):
    """The logs of the predictions that have one, by id."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0
        self._ended: deque[tuple[float, str]] = deque()

    def append(self, id: str, attempt: int, event: Event) -> None:
        """Add an event of an attempt; the first one of a new attempt begins a new log."""
        log = self.get(id)
        if log is None or log.attempt != attempt:
            self._forget(id)
            log = self[id] = EventLog(attempt)
        self._size -= log.size
        log.append(event)
        self._size += log.size
        while self._size > _MOST_BYTES_OF_ALL and len(self) > 1:
            self._empty(next(iter(self)))

    def after(
        self, id: str, attempt: int, sequence: int
    ) -> tuple[Sequence[tuple[int, Event]], bool]:
        """The events of an attempt behind this number; and whether some of those are gone."""
        log = self.get(id)
        if log is None or log.attempt != attempt:
            return [], sequence > 0
        if sequence > log.last:  # the log that had it was forgotten, and another one begun
            return log.after(0), True
        events = log.after(sequence)
        first = events[0][0] if events else log.last + 1
        return events, first > sequence + 1

    def forget_at(self, id: str, at: float) -> None:
        """Hold a log until `at`, which never goes back from call to call."""
        self._ended.append((at, id))

    def purge(self, now: float) -> None:
        """Forget what need not be held any more."""
        while self._ended and self._ended[0][0] <= now:
            self._forget(self._ended.popleft()[1])

    def _empty(self, id: str) -> None:
        """Forget the events of a log; its run may go on, and number its next ones."""
        log = self[id] = self.pop(id)  # the last that will be emptied once more
        self._size -= log.size
        log.empty()

    def _forget(self, id: str) -> None:
        log = self.pop(id, None)
        if log is not None:
            self._size -= log.size
