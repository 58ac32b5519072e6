"""The webhooks that are to be called, shared by the senders of all nodes."""

import asyncio

from zypher.brokers.base import MOST_TO_ONE_HOST, Delivery, Limits
from zypher.brokers.redis.node import flag
from zypher.brokers.redis.records import from_hash
from zypher.brokers.redis.registry import Registry, dict_of
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
            wall, will_wait = self._clock.wall(), flag(now() < deadline)
            found = await self._run(
                *("deliver", self._time, wall, self._name, will_wait, MOST_TO_ONE_HOST, _HELD),
                self._new_name(),
            )
            if found is not None:
                id, hash = found[0].decode(), found[1]
                failures = self._failures[id] = int(dict_of(hash)[b"failures"])
                return Delivery(from_hash(id, hash), failures)
            try:
                async with asyncio.timeout_at(deadline):
                    await self._delivery_news.wait()
            except TimeoutError:
                return None

    async def drop_delivery(self, id: str) -> None:
        await self._run("settle", id, self._clock.wall(), "", "")
        self._failures.pop(id, None)

    async def put_off_delivery(self, id: str, at: float) -> None:
        failures = self._failures.get(id, 0) + 1
        await self._run("settle", id, self._clock.wall(), at, failures)
        self._failures.pop(id, None)
