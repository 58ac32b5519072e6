"""The next batch, or the next one, that is in a replica before the last one is out."""

import asyncio
from collections.abc import Callable, Sequence

from zypher.prediction import Claim
from zypher.replicas.flights import Flights
from zypher.replicas.frames import Call
from zypher.replicas.tickets import TicketOffice


class Ahead:
    """When something may wait behind what runs in a replica, and for how long.

    `returns` is handed what has waited for too long; `changed` is called when time has changed
    something.
    """

    def __init__(
        self,
        flights: Flights,
        *,
        returns: Callable[[Sequence[Claim]], None],
        changed: Callable[[], None],
    ) -> None:
        self._flights = flights
        self._returns = returns
        self._changed = changed
        self._tickets = TicketOffice()
        self._ticket = 0  # of what waits
        self._followed: int | None = None  # of what waited, and runs now
        self._timer: asyncio.TimerHandle | None = None
        self._nears_end = False

    @property
    def descriptor(self) -> int:
        """Where the replica takes tickets."""
        return self._tickets.readable

    @property
    def has_room(self) -> bool:
        """True shortly before what runs is likely to end, if nothing waits behind it yet."""
        return self._nears_end and not self._flights.waiting

    def queue(self, calls: Sequence[Call]) -> int:
        """These wait for what runs; the ticket that lets them begin."""
        self._flights.queue(calls)
        self._ticket = self._tickets.put()
        self._wait(self._flights.patience(calls), self._end_wait)
        return self._ticket

    def follow(self) -> None:
        """What ran is out, and what waited for that runs."""
        self._followed = self._ticket if self._flights.waiting else None
        self._flights.follow(asyncio.get_running_loop().time())
        self.expect_end()

    def expect_end(self) -> None:
        """Something has begun to run, or nothing does any more."""
        self._nears_end = False
        pause = self._flights.expected() if self._flights.running else None
        if pause is None:
            self._stop_waiting()
        else:
            self._wait(pause, self._near_end)

    def take_back(self) -> bool:
        """Take back what waits, if anything does; False if that has begun.

        What should run before it may not have arrived there yet: then it comes back as well, for
        its ticket was there, too.
        """
        self._nears_end = False
        if self._flights.waiting and not self._tickets.take(self._ticket):
            return False
        has_come_along = self._followed is not None and self._tickets.use(self._followed)
        self._returns(self._flights.take_back(also_running=has_come_along))
        if has_come_along:
            self._followed = None
            self.expect_end()
        return True

    def close(self) -> None:
        """The replica is dead: what has not begun there is unharmed."""
        self._stop_waiting()
        self._tickets.look()
        if not self.take_back():
            self._flights.follow(asyncio.get_running_loop().time())
        self._tickets.close()

    def _near_end(self) -> None:
        self._nears_end = True
        self._changed()

    def _end_wait(self) -> None:
        self.take_back()
        self._changed()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
