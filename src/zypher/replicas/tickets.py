"""Whether what waits in a replica has begun, or is taken back: whoever gets its ticket decides."""

import contextlib
import os

# They fit into one byte, and no two that are in use at once are alike.
NUMBERS = 256


class Tickets:
    """A pipe that a replica and its parent both read. A ticket is in it, or one of them has it.

    So there is no moment in which both think that something runs, or neither, whenever the
    replica is killed.
    """

    def __init__(self, readable: int) -> None:
        self._readable = readable
        self._taken: set[int] = set()
        os.set_blocking(readable, False)
        os.set_inheritable(readable, False)

    def take(self, number: int) -> bool:
        """True if that ticket was there: from now on it is here."""
        self.look()
        return self.use(number)

    def look(self) -> None:
        """Take all that are there."""
        with contextlib.suppress(BlockingIOError):
            self._taken.update(os.read(self._readable, NUMBERS))

    def use(self, number: int) -> bool:
        """True if that ticket is here, perhaps taken along with another; it is used up then."""
        is_here = number in self._taken
        self._taken.discard(number)
        return is_here

    def close(self) -> None:
        os.close(self._readable)


class TicketOffice(Tickets):
    """The parent's end, which puts them in. `readable` is for the replica."""

    def __init__(self) -> None:
        self.readable, self._writable = os.pipe()
        super().__init__(self.readable)
        self._number = 0

    def put(self) -> int:
        """Put the next ticket in; its number."""
        self._number = (self._number + 1) % NUMBERS
        os.write(self._writable, bytes([self._number]))
        return self._number

    def close(self) -> None:
        super().close()
        os.close(self._writable)
