"""Those who wait for something to happen to a prediction."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from zypher.brokers.queue import resolve
from zypher.brokers.refusals import shutting_down

T = TypeVar("T")


class Waiters(Generic[T]):
    """By the id that they wait for. Not by entry: one can wait for what is not in memory."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[asyncio.Future[T | None]]] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._waiters

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiters)

    def count(self, id: str) -> int:
        """How many wait for this id."""
        return len(self._waiters.get(id, ()))

    @contextmanager
    def one(self, id: str, timeout: float) -> Iterator[asyncio.Future[T | None]]:
        """A future that has what `tell` tells of this id, or None after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T | None] = loop.create_future()
        waiters = self._waiters.setdefault(id, [])
        waiters.append(waiter)
        alarm = loop.call_later(timeout, resolve, waiter, None)
        try:
            yield waiter
        finally:
            alarm.cancel()
            waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(id, None)

    def tell(self, id: str, news: T) -> int:
        """Wake all who wait for this id; how many there were."""
        waiters = self._waiters.get(id)
        return sum([resolve(waiter, news) for waiter in waiters]) if waiters else 0

    def close(self) -> None:
        """Nothing will happen any more: tell those who wait for it."""
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            if not waiter.done():
                waiter.set_exception(shutting_down())
