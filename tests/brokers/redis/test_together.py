"""What is asked in one turn is done together, and each gets what is its own."""

import asyncio
from contextlib import aclosing

import pytest

from tests.brokers.redis.conftest import Join
from tests.redis_servers import RedisServer
from zypher.brokers.base import Limits
from zypher.brokers.redis import RedisBroker
from zypher.brokers.redis.calls import Call, joined
from zypher.clock import SystemClock
from zypher.errors import Internal, QueueFull
from zypher.prediction import Prediction
from zypher.testing.contract.base import GOOD, LIMITS, new

pytestmark = pytest.mark.anyio


def scripts_run(redis_server: RedisServer) -> int:
    about = redis_server.call("INFO", "commandstats")
    return int(about["cmdstat_evalsha"]["calls"])


async def test_submissions_of_one_turn_are_one_script(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    await node.submit(new(), keep=True)  # now Redis knows the script
    before = scripts_run(redis_server)
    made = await asyncio.gather(*(node.submit(new(), keep=True) for _ in range(20)))
    assert scripts_run(redis_server) - before <= 2  # the node looks around once a second
    claimed = await node.claim("w", "m", limit=21, timeout=0)
    assert [one.id for one in claimed[1:]] == [one.id for one in made]


async def test_what_is_large_does_not_come_together() -> None:
    loop = asyncio.get_running_loop()
    small, large = (Call(loop, ("EVALSHA", "sha", 0, b"x" * n), joins=True) for n in (1, 600_000))
    other = Call(loop, ("EVALSHA", "sha", 0, b"x"))
    calls = [small, small, large, large, other, small]
    assert joined(calls) == [[small, small, large], [large], [other], [small]]


async def test_together_they_are_refused_what_each_would_be_refused(join: Join) -> None:
    node = await join()
    room = LIMITS.max_queued * 9 // 10  # the rest is for callers who wait
    submitting = (node.submit(new(), keep=True) for _ in range(room + 3))
    answers = await asyncio.gather(*submitting, return_exceptions=True)
    assert all(isinstance(answer, Prediction) for answer in answers[:room])
    assert all(isinstance(answer, QueueFull) for answer in answers[room:])
    assert (await node.stats())["m"].queued == room


async def test_one_that_cannot_be_taken_in_is_no_harm_to_others(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    redis_server.call("SET", "zypher:q:spoilt:normal", "no stream")
    one, spoilt, other = new(), new(model="spoilt"), new()
    submitting = (node.submit(each, keep=True) for each in (one, spoilt, other))
    answers = await asyncio.gather(*submitting, return_exceptions=True)
    assert (answers[0], answers[2]) == (one, other)
    assert isinstance(answers[1], Internal)
    claimed = await node.claim("w", "m", limit=3, timeout=0)
    assert [each.id for each in claimed] == [one.id, other.id]
    assert not await node.finish([(each.claim, GOOD) for each in claimed])
    assert (await node.stats())["m"].queued == 0


async def test_what_runs_in_great_numbers_is_no_list_to_redis(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    await asyncio.gather(*(node.submit(new(), keep=True) for _ in range(20)))
    claimed = await node.claim("w", "m", limit=20, timeout=0)
    for key in ("zypher:leases", "zypher:running:m"):
        assert redis_server.call("OBJECT", "ENCODING", key) == b"skiplist"
        assert redis_server.call("ZCARD", key) == 20
    assert not await node.finish([(one.claim, GOOD) for one in claimed])
    assert redis_server.call("EXISTS", "zypher:leases", "zypher:running:m") == 0


async def test_thousands_are_claimed_and_end_in_one_call(redis_server: RedisServer) -> None:
    many = 9_000
    node = RedisBroker(redis_server.url, Limits(max_queued=2 * many), SystemClock())
    redis_server.call("FLUSHALL")
    async with aclosing(node):
        await node.start()
        await asyncio.gather(*(node.submit(new(), keep=True) for _ in range(many)))
        claimed = await node.claim("w", "m", limit=many, timeout=0)
        assert len(claimed) == many
        assert not await node.finish([(one.claim, GOOD) for one in claimed])
        assert redis_server.call("XLEN", "zypher:q:m:normal") == 0
