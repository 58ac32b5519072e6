"""Leases without a clock that machines would have to share.

Redis counts beats. A lease has the beat of its last renewal, and each node notes which beat it saw
at which time of its own steady clock: what was not renewed since the beat of a lease ago is lost.
"""

from collections import deque

# Beats that follow each other so closely, in seconds, are one.
_GRAIN = 0.01


class Beats:
    """The beats that this node has seen, and when."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, beat: int) -> None:
        """This beat was seen at this steady time."""
        if self._seen and beat < self._seen[-1][1]:  # Redis has lost some: all begins anew
            self._seen.clear()
        if self._seen and now - self._seen[-1][0] < _GRAIN:
            now = self._seen.pop()[0]
        self._seen.append((now, beat))

    def expired(self, now: float) -> int | None:
        """The beat up to which leases have run out; None if this node has not watched so long."""
        expired = None
        while self._seen and self._seen[0][0] <= now - self._lease:
            expired = self._seen.popleft()[1]
        if expired is not None:
            self._seen.appendleft((now - self._lease, expired))
        return expired

    def forget(self) -> None:
        """What was seen means nothing any more."""
        self._seen.clear()
