"""Handing out the webhooks that have to be called, and what becomes of them."""

import asyncio
from abc import abstractmethod

from zypher.brokers.base import Delivery
from zypher.brokers.outbox import Outbox, Undelivered
from zypher.brokers.registry import Registry
from zypher.clock import Clock


class Deliveries(Registry):
    """The part of a broker in one process that hands out deliveries."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._outbox = Outbox()

    @abstractmethod
    async def _undelivered(self, now: float) -> tuple[Undelivered | None, float]:
        """The first delivery that may be taken and is due; if none is, when the first will be."""

    @abstractmethod
    async def _drop_delivery(self, one: Undelivered) -> None:
        """Forget a delivery that was taken."""

    @abstractmethod
    async def _put_off_delivery(self, one: Undelivered) -> None:
        """A delivery that was taken is due once more."""

    @abstractmethod
    def _require_open(self) -> None:
        """Raise `Unavailable` once this is closed."""

    async def next_delivery(self, *, timeout: float) -> Delivery | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._require_open()
            self._outbox.news.clear()
            one, first_due = await self._undelivered(self._clock.wall())
            self._outbox.put_off_until(first_due)
            if one is None:
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._outbox.news.wait()
                except TimeoutError:
                    return None
            elif one.entry.record.id not in self._outbox:  # another taker may have been quicker
                self._outbox.take(one)
                return Delivery(one.entry.record, one.failures)

    async def drop_delivery(self, id: str) -> None:
        one = self._outbox.taken(id)
        if one is not None:
            await self._drop_delivery(one)
            self._outbox.let_go(id)

    async def put_off_delivery(self, id: str, at: float) -> None:
        one = self._outbox.taken(id)
        if one is not None:
            await self._put_off_delivery(one._replace(due=at, failures=one.failures + 1))
            self._outbox.put_off_until(at)
            self._outbox.let_go(id)
