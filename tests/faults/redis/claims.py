"""Outcomes that come twice, entries that are delivered twice, and a clock that jumps."""

from dataclasses import replace
from pathlib import Path

from tests.faults import claims
from tests.faults.desk import Desk
from tests.faults.redis.cluster import durable_redis
from tests.faults.report import Report, Size
from tests.redis_servers import RedisServer
from zypher.prediction import Claim

# The queue of the desk's one model.
_STREAM = "zypher:q:m:normal"
_GROUP = "workers"


async def duplicates(size: Size, directory: Path) -> Report:
    """Outcomes that come again, and entries that others claim or that are there twice."""
    with durable_redis(directory) as redis:

        async def stolen(desk: Desk) -> bool:
            """The entry of what runs is given to another consumer."""
            await desk.submit()
            claim = await desk.claim()
            _steal(redis)
            return await _ends_once(desk, claim)

        async def entered_twice(desk: Desk) -> bool:
            """A prediction that was given back has one entry more than it should."""
            id = await desk.submit()
            redis.call("XADD", _STREAM, "*", "id", id)
            await desk.broker.release([await desk.claim()])
            return await _ends_once(desk, await desk.claim())

        async with Desk(redis.url) as desk:
            stories = (*claims.STORIES, stolen, entered_twice)
            found = await claims.outcomes_too_many(desk, size, stories)
            return replace(found, fault="entries and outcomes that come again")


def _steal(redis: RedisServer) -> None:
    """Give all entries that workers have to another consumer."""
    with redis.client() as client:
        pending = client.xpending_range(_STREAM, _GROUP, "-", "+", 10)
        ids = [entry["message_id"] for entry in pending]
        client.xclaim(_STREAM, _GROUP, "thief", 0, ids, justid=True)


async def _ends_once(desk: Desk, claim: Claim) -> bool:
    """True if nobody else can claim it, and of two outcomes one is refused."""
    for _ in range(2):
        if await desk.broker.claim("thief", "m", limit=1, timeout=0):
            return False
        await desk.finish(claim)
    return [finish.accepted for finish in desk.history.finishes[-2:]] == [True, False]


async def clock_jumps(size: Size, directory: Path) -> Report:
    """Somebody sets the wall clock of a node an hour ahead, and an hour back."""
    with durable_redis(directory) as redis:
        async with Desk(redis.url) as desk:
            found = await claims.jumps(desk, size)
            return replace(found, fault="the clock of a node jumps by an hour")
