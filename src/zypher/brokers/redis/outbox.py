"""The webhooks that are to be called, shared by the senders of all nodes."""

import asyncio
from typing import Any

from zypher.brokers.base import MOST_TO_ONE_HOST, Delivery, Limits
from zypher.brokers.redis.node import flag, happens
from zypher.brokers.redis.records import dict_of, from_hash
from zypher.brokers.redis.registry import Registry
from zypher.clock import Clock

# A delivery that was taken is handed out again when nothing was heard of it for so long, in
# seconds: longer than any call takes.
_HELD = 300.0


class Outbox(Registry):
    """The part of the redis broker that hands out deliveries."""

    def __init__(self, url: str, limits: Limits, clock: Clock) -> None:
        super().__init__(url, limits, clock)
        self._delivery_news = asyncio.Event()
        self._failures: dict[str, int] = {}  # of those that were taken here

    async def next_delivery(self, *, timeout: float) -> Delivery | None:
        now = asyncio.get_running_loop().time
        deadline = now() + timeout
        while True:
            self._require_open()
            self._delivery_news.clear()
            found = await self._deliver(will_wait=now() < deadline)
            if found is not None:
                id, hash = found[0].decode(), found[1]
                failures = self._failures[id] = int(dict_of(hash)[b"failures"])
                return Delivery(from_hash(id, hash), failures)
            if not await happens(self._delivery_news.wait(), deadline):
                return None

    async def _deliver(self, *, will_wait: bool) -> Any:
        """The delivery that is due first, if there is one."""
        taking = self._new_name()  # sent twice, it takes one all the same
        arguments = (taking, self._time, self._clock.wall(), self._name, flag(will_wait))
        bounds = (MOST_TO_ONE_HOST, _HELD)
        return await self._link.run("deliver", *arguments, *bounds, orphaned=self._hand_back)

    def _hand_back(self, found: Any) -> None:
        """Nobody takes this delivery: it is due for others."""
        if found is not None:
            id, failures, wall = found[0], dict_of(found[1])[b"failures"], self._clock.wall()
            self._begin(self._run("settle", id, wall, wall, failures))

    async def drop_delivery(self, id: str) -> None:
        await self._run("settle", id, self._clock.wall(), "", "")
        self._failures.pop(id, None)

    async def put_off_delivery(self, id: str, at: float) -> None:
        failures = self._failures.get(id, 0) + 1
        await self._run("settle", id, self._clock.wall(), at, failures)
        self._failures.pop(id, None)
