"""How many event streams there may be at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from zypher.errors import Unavailable


class Quota:
    """Counts streams; `most` is how many there may be.

    Of these an API key gets the half, so that it cannot lock out others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0
        self._parts: dict[str, Part] = {}

    def of(self, key: str | None) -> "Quota":
        """What a caller with this API key shares with others who have it."""
        if key is None:
            return self
        if key not in self._parts:
            self._parts[key] = Part(self, max(1, self._most // 2))
        return self._parts[key]

    def require_room(self) -> None:
        """Raise `Unavailable` if there may be no more."""
        if self._number >= self._most:
            raise _too_many("max-streams allows")

    @contextmanager
    def one_more(self) -> Iterator[Self]:
        """Count one for as long as the block."""
        self._number += 1
        try:
            yield self
        finally:
            self._number -= 1


class Part(Quota):
    """The part of a key in the whole."""

    def __init__(self, whole: Quota, most: int) -> None:
        super().__init__(most)
        self._whole = whole

    def require_room(self) -> None:
        self._whole.require_room()
        if self._number >= self._most:
            raise _too_many("one API key may have (half of max-streams)")

    @contextmanager
    def one_more(self) -> Iterator[Self]:
        with self._whole.one_more(), super().one_more():
            yield self


def _too_many(why: str) -> Unavailable:
    return Unavailable(
        f"As many event streams are followed as {why}. Poll instead, or try again later.",
        retry_after=5,
    )
