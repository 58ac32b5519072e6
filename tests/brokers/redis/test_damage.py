"""Somebody has deleted a part of what is in Redis: nothing else is lost, nothing stands still."""

import asyncio

import pytest

from tests.brokers.redis.conftest import Join
from tests.redis_servers import RedisServer
from zypher.brokers.redis import RedisBroker
from zypher.prediction import Prediction, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, new

pytestmark = pytest.mark.anyio

QUEUE = "zypher:q:m:normal"


async def some(node: RedisBroker) -> tuple[list[Prediction], list[Prediction]]:
    """Two that run, and four that wait, one of which was given back."""
    made = [await node.submit(new(), keep=True) for _ in range(6)]
    claimed = await node.claim("w", "m", limit=3, timeout=0)
    await node.release([claimed[0].claim])
    return [*claimed[1:]], [made[0], *made[3:]]


async def drain(node: RedisBroker) -> list[str]:
    """Run all that waits; the ids."""
    ids = []
    while batch := await node.claim("w", "m", limit=10, timeout=0):
        ids += [one.id for one in batch]
        assert not await node.finish([(one.claim, GOOD) for one in batch])
    return ids


@pytest.mark.parametrize(
    "damage",
    [
        ("XGROUP", "DESTROY", QUEUE, "workers"),
        ("DEL", QUEUE),
        ("DEL", QUEUE, f"{QUEUE}:back"),
        ("XTRIM", QUEUE, "MAXLEN", "0"),
    ],
    ids=" ".join,
)
async def test_all_that_waits_and_runs_ends_though_a_stream_or_its_group_was_deleted(
    join: Join, redis_server: RedisServer, damage: tuple[str, ...]
) -> None:
    node = await join()
    running, waiting = await some(node)
    redis_server.call(*damage)
    await node.release([running[0].claim])
    assert not await node.finish([(running[1].claim, GOOD)])
    assert sorted(await drain(node)) == sorted(one.id for one in [*waiting, running[0]])
    stats = (await node.stats())["m"]
    assert (stats.queued, stats.waiting, stats.processing) == (0, (0, 0, 0), 0)


async def test_what_nobody_waits_for_any_more_is_kept_though_the_group_was_deleted(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    made = await node.submit(new(priority=Priority.LOW), keep=False)
    redis_server.call("XGROUP", "DESTROY", "zypher:q:m:high", "workers")
    assert await node.keep(made.id) is not None
    assert await drain(node) == [made.id]


async def test_a_record_that_was_deleted_stops_neither_reclaim_nor_the_clocks_nor_purge(
    join: Join, redis_server: RedisServer
) -> None:
    clock = ManualClock()
    node = await join(clock)
    ended, lost, other = [await node.submit(new(), keep=True) for _ in range(3)]
    await node.cancel(ended.id)
    await node.claim("w", "m", limit=2, timeout=0)
    await node.reclaim()
    redis_server.call("DEL", f"zypher:p:{ended.id}", f"zypher:p:{lost.id}")
    clock.advance(LIMITS.lease)
    assert await node.reclaim() == 1
    await node.enforce_clocks()
    assert await drain(node) == [other.id]
    clock.advance(LIMITS.ttl)
    async with asyncio.timeout(5):
        assert await node.purge() == 2
    assert await node.get(other.id) is None
    assert not redis_server.call("ZCARD", "zypher:expiring")


async def test_the_scripts_come_back_when_they_were_flushed(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    waiting = asyncio.create_task(node.claim("w", "m", limit=1, timeout=5))
    await node.stats()
    redis_server.call("SCRIPT", "FLUSH")
    made = await asyncio.gather(*(node.submit(new(), keep=True) for _ in range(20)))
    (claimed,) = await waiting
    assert claimed.id == made[0].id
    redis_server.call("SCRIPT", "FLUSH")
    assert not await node.finish([(claimed.claim, GOOD)])
    record = await node.get(claimed.id)
    assert record is not None
    assert record.status is Status.COMPLETED
