"""How many event streams there may be at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from zypher.errors import Unavailable


class Quota:
    """Counts streams; `most` is how many there may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = 0

    def require_room(self) -> None:
        """Raise `Unavailable` if there may be no more."""
        if self._number >= self._most:
            raise Unavailable(
                "As many event streams are followed as max-streams allows. Poll instead, or try "
                "again later.",
                retry_after=5,
            )

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one for as long as the block."""
        self._number += 1
        try:
            yield
        finally:
            self._number -= 1
