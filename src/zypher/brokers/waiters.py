"""Those who wait for something to happen to a prediction."""

import asyncio
from functools import partial
from typing import Generic, TypeVar

from zypher.brokers.queue import resolve
from zypher.brokers.refusals import shutting_down

T = TypeVar("T")


class Waiters(dict[str, list[asyncio.Future[T | None]]]):
    """By the id that they wait for. Not by entry: one can wait for what is not in memory."""

    def count(self, id: str) -> int:
        """How many wait for this id."""
        return len(self.get(id, ()))

    def one(self, id: str, timeout: float) -> "Waiter[T]":
        """For a `with` block: a future that has what `tell` tells of this id.

        It has None after `timeout` seconds.
        """
        return Waiter(self, id, timeout)

    def join(self, id: str) -> asyncio.Future[T | None]:
        """The same for as long as it takes, until it is done."""
        waiter: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self.setdefault(id, []).append(waiter)
        waiter.add_done_callback(partial(self.leave, id))
        return waiter

    def leave(self, id: str, waiter: asyncio.Future[T | None]) -> None:
        """One of those waits no more."""
        waiters = self[id]
        waiters.remove(waiter)
        if not waiters:
            del self[id]

    def tell(self, id: str, news: T) -> int:
        """Wake all who wait for this id; how many there were."""
        return sum([resolve(waiter, news) for waiter in self.get(id, ())])

    def hurry(self) -> None:
        """Their time is over: all who wait have None."""
        for waiters in self.values():
            for waiter in waiters:
                resolve(waiter, None)

    def close(self) -> None:
        """Nothing will happen any more: tell those who wait for it."""
        for waiter in [waiter for waiters in self.values() for waiter in waiters]:
            if not waiter.done():
                waiter.set_exception(shutting_down())


class Waiter(Generic[T]):
    """One of those who wait, for as long as the `with` block lasts."""

    def __init__(self, waiters: Waiters[T], id: str, timeout: float) -> None:
        self._waiters = waiters
        self._id = id
        self._timeout = timeout

    def __enter__(self) -> asyncio.Future[T | None]:
        loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T | None] = loop.create_future()
        self._waiters.setdefault(self._id, []).append(self._future)
        self._alarm = loop.call_later(self._timeout, resolve, self._future, None)
        return self._future

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()
        self._waiters.leave(self._id, self._future)
