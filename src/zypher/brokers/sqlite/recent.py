"""What has ended last, and is asked for soon: it is answered from memory."""

from collections import deque
from collections.abc import Iterator

from zypher.brokers.queue import Entry

# How much is held of what has ended, beside on the disk.
MOST = 10_000
MOST_BYTES = 16_000_000


class Recent:
    """The entries that have ended last, bounded by number and bytes."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._size = 0

    @property
    def is_full(self) -> bool:
        """True if there are more than there may be."""
        return len(self._entries) > MOST or self._size > MOST_BYTES

    def add(self, entry: Entry) -> None:
        """This one has ended."""
        self._entries.append(entry)
        self._size += _size(entry)

    def superfluous(self) -> Iterator[Entry]:
        """The oldest ones, let go of until there is room."""
        while self.is_full:
            yield self._let_go()

    def expired(self, now: float) -> Iterator[Entry]:
        """Those that have expired, let go of."""
        for _ in range(len(self._entries)):
            entry = self._let_go()
            if entry.record.expires is not None and entry.record.expires <= now:
                yield entry
            else:
                self.add(entry)

    def _let_go(self) -> Entry:
        entry = self._entries.popleft()
        self._size -= _size(entry)
        return entry


def _size(entry: Entry) -> int:
    return len(entry.record.input) + len(entry.record.result or b"")
