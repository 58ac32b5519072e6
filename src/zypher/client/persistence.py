"""How long and how often something is tried."""

import random
from math import inf
from time import monotonic

from zypher.client.answers import Trouble

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Timer:
    """A time that runs out after so many seconds; None for one that never does."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = inf if seconds is None else seconds
        self._end = monotonic() + self.seconds

    @property
    def left(self) -> float:
        """The seconds until it runs out."""
        return max(0.0, self._end - monotonic())

    def whole(self, most: int) -> int:
        """The whole seconds until it runs out, but no more than `most`."""
        return int(min(self.left, most))


class Persistence:
    """Bears troubles with a server, up to so many seconds from the first one."""

    def __init__(self, seconds: float, *, awaits_room: bool = False) -> None:
        self._seconds = seconds
        self._awaits_room = awaits_room
        self._timer: Timer | None = None
        self._count = 0

    def pause_after(self, trouble: Trouble, *, most: float = inf) -> float:
        """How long to wait before the next try. Raises its error when it is enough.

        `most`: bear this trouble for so many seconds at most.
        """
        if trouble.is_full and self._awaits_room:
            self._timer = None
            return self._next_pause(trouble)
        if self._timer is None:
            self._timer = Timer(min(self._seconds, most))
        left = self._timer.left
        if not left or left < (trouble.error.retry_after or 0):
            raise trouble.error
        return min(self._next_pause(trouble), left)

    def _next_pause(self, trouble: Trouble) -> float:
        """Longer from time to time, and never the same for those who failed together."""
        usual = min(_FIRST_PAUSE * 2.0**self._count, _LONGEST_PAUSE)
        self._count += 1
        told = trouble.error.retry_after or 0
        return told + usual * random.uniform(0.5, 1.0)  # noqa: S311
