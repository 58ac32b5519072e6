"""Thousands of predictions of every kind leave nothing behind, in Redis and in the nodes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.redis.conftest import Join
from tests.brokers.redis.test_calls import submitted
from tests.redis_servers import RedisServer
from zypher.brokers import Limits
from zypher.brokers.base import Event, Seen, WorkerInfo
from zypher.brokers.redis import RedisBroker
from zypher.prediction import Options, Prediction
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, PATIENCE, new

pytestmark = pytest.mark.anyio

ROUNDS = 40
DAY = 86_400.0
PROGRESS = Event("progress", b"1")
HOOK = Options(webhook="http://host/")

# What there may be for good: counters and registries, of which each is one key.
FIXED = {
    *("zypher:epoch", "zypher:clock", "zypher:beat", "zypher:places", "zypher:total"),
    *("zypher:queues", "zypher:q:m", "zypher:q:m:rate"),
    *(f"zypher:q:m:{lane}" for lane in ("high", "normal", "low")),
}


class Life:
    """A server and a worker, and all that becomes of predictions between them."""

    def __init__(self, server: RedisBroker, worker: RedisBroker, clock: ManualClock) -> None:
        self.server, self.worker, self.clock = server, worker, clock

    async def start(self, *, keep: bool = True, waits: bool = False, **fields: Any) -> Prediction:
        made = new(created=self.clock.wall(), owner="ann", **fields)
        return await self.server.submit(made, keep=keep, waits=waits)

    async def run(self, outcome: Any = GOOD) -> Prediction:
        (claimed,) = await self.worker.claim("w", "m", limit=1, timeout=PATIENCE)
        await self.worker.publish([(claimed.claim, PROGRESS)])
        assert not await self.worker.finish([(claimed.claim, outcome)])
        await self.worker.publish([(claimed.claim, PROGRESS)])
        return claimed

    async def turn(self, number: int) -> None:
        """One of each kind."""
        await self.start()
        await self.run()
        made = await self.start(keep=False)
        waiting = asyncio.create_task(self.server.wait(made.id, PATIENCE))
        await self.run()
        assert await waiting
        made = await self.start(waits=True, idempotency_key=f"k{number}", fingerprint=b"f")
        await self.run()
        await self.server.wait(made.id, PATIENCE)
        called = self.server.call(new(owner="ann"))
        await self.run()
        assert await called.outcome
        made = await self.start(keep=False)
        await self.server.abandon(made.id)
        made = await submitted(called := self.server.call(new(owner="ann")))
        called.outcome.cancel()
        await asyncio.wait([called.outcome])
        await self.server.abandon(made.id)
        made = await self.start(keep=False)
        await self.server.keep(made.id)
        await self.run(BAD)
        made = await self.start()
        (claimed,) = await self.worker.claim("w", "m", limit=1, timeout=PATIENCE)
        await self.server.cancel(made.id)
        await self.worker.withdrawn("w", timeout=PATIENCE)
        await self.server.delete(made.id)
        await self.start()
        (claimed,) = await self.worker.claim("w", "m", limit=1, timeout=PATIENCE)
        await self.worker.crash([claimed.claim], "was killed")
        await self.run()
        await self.start(options=Options(retries=1))
        await self.run(BAD)
        self.clock.advance(2)
        await self.server.enforce_clocks()
        await self.run()
        await self.start(options=Options(queue_timeout=1))
        self.clock.advance(2)
        await self.server.enforce_clocks()
        await self.start(options=HOOK)
        await self.run()
        await self.deliver()
        made = await self.start(keep=False)
        await self.server.watch(made.id, Seen(), timeout=0)
        claimed = await self.run()
        await self.server.watch(made.id, Seen(), timeout=0)
        await self.server.delete(made.id)

    async def deliver(self) -> None:
        """Call a webhook, the second time with success."""
        delivery = await self.server.next_delivery(timeout=0)
        assert delivery is not None
        await self.server.put_off_delivery(delivery.record.id, self.clock.wall())
        assert await self.server.next_delivery(timeout=0)
        await self.server.drop_delivery(delivery.record.id)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One server is enough: what is left behind is the scripts' affair."""
    with RedisServer(tmp_path) as server:
        yield server


def held(node: RedisBroker) -> dict[str, int]:
    """How much each collection of a node holds."""
    return {name: len(value) for name, value in vars(node).items() if hasattr(value, "__len__")}


@pytest.mark.usefixtures("quick_sweeps")
async def test_what_has_expired_leaves_nothing_behind(
    join: Join, redis_server: RedisServer
) -> None:
    clock = ManualClock()
    server, worker = [await join(clock, limits=Limits(max_crashes=3)) for _ in range(2)]
    await worker.register_worker(WorkerInfo(id="w", host="h", pid=1, replicas={}))
    life = Life(server, worker, clock)
    await life.turn(0)
    before = held(server), held(worker)
    for number in range(1, ROUNDS):
        await life.turn(number)
    clock.advance(2 * DAY)
    await server.purge()
    await server.purge()
    await worker.forget_worker("w")
    stats = (await server.stats())["m"]
    assert (stats.queued, stats.queued_bytes, stats.waiting, stats.processing) == (
        0,
        0,
        (0,) * 3,
        0,
    )
    async with asyncio.timeout(PATIENCE):  # the last answers can be asked for again for a while
        while redis_server.call("KEYS", "zypher:p:*"):
            await asyncio.sleep(0.1)
    assert {key.decode() for key in redis_server.call("KEYS", "*")} - FIXED == set()
    assert redis_server.call("HGET", "zypher:total", "bytes") == b"0"
    for lane in ("high", "normal"):
        assert redis_server.call("XLEN", f"zypher:q:m:{lane}") <= 1
        assert redis_server.call("XPENDING", f"zypher:q:m:{lane}", "workers")["pending"] == 0
    after = held(server), held(worker)
    for then, now in zip(before, after, strict=True):
        assert {name: size for name, size in now.items() if size > then[name] + 2} == {}
