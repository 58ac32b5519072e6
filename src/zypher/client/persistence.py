"""How long and how often something is tried."""

import random
from math import inf
from time import monotonic

from zypher.client.answers import Trouble

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


def checked(name: str, seconds: float) -> float:
    """A time that a caller has given, in seconds. Raises `TypeError` and `ValueError`."""
    if not isinstance(seconds, int | float):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}.")
    if not seconds >= 0:
        raise ValueError(f"{name} is a number of seconds from 0 on, not {seconds!r}.")
    return seconds


class Timer:
    """A time that runs out after so many seconds; None for one that never does."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = inf if seconds is None else seconds
        self.restart()

    def restart(self) -> None:
        """Begin it anew."""
        self._end = monotonic() + self.seconds

    @property
    def left(self) -> float:
        """The seconds until it runs out."""
        return max(0.0, self._end - monotonic())


class Persistence:
    """Bears troubles with a server, up to so many seconds from the first one.

    All ends with the `timer` of the call; while room is awaited, that does not run.
    """

    def __init__(self, seconds: float, timer: Timer, *, awaits_room: bool = False) -> None:
        self.timer = timer
        self._seconds = seconds
        self._awaits_room = awaits_room
        self._began: float | None = None
        self._count = 0

    def pause_after(self, trouble: Trouble, *, most: float = inf) -> float:
        """How long to wait before the next try. Raises its error when it is enough.

        `most`: bear this trouble for so many seconds at most.
        """
        if trouble.is_full and self._awaits_room:
            self._began = None
            self.timer.restart()
            return self._next_pause(trouble)
        if self._began is None:
            self._began = monotonic()
        left = min(self._began + min(self._seconds, most) - monotonic(), self.timer.left)
        if left <= 0 or left < (trouble.error.retry_after or 0):
            raise trouble.error
        return min(self._next_pause(trouble), left)

    def _next_pause(self, trouble: Trouble) -> float:
        """Longer from time to time, and never the same for those who failed together."""
        usual = min(_FIRST_PAUSE * 2.0**self._count, _LONGEST_PAUSE)
        self._count += 1
        told = trouble.error.retry_after or 0
        return told + usual * random.uniform(0.5, 1.0)  # noqa: S311
