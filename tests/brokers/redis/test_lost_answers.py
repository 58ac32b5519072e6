"""A connection that is lost while an answer is under way loses and repeats nothing."""

import asyncio

import pytest

from tests.brokers.redis.conftest import Join
from tests.faults.proxy import Proxy
from tests.redis_servers import RedisServer
from zypher.brokers.base import Event, Seen
from zypher.errors import Unavailable
from zypher.prediction import Options, Status
from zypher.testing.contract.base import GOOD, PATIENCE, new

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("without_sweeps")
async def test_a_connection_that_is_cut_in_the_middle_of_any_reply_changes_nothing(
    join: Join, redis_server: RedisServer
) -> None:
    async with Proxy(redis_server.port) as network:
        far, near = await join(url=f"redis://127.0.0.1:{network.port}/0"), await join()
        made = new(options=Options(webhook="http://host/"))
        network.reset_next_reply()
        await far.submit(made, keep=False)
        (claimed,) = await near.claim("w", "m", limit=1, timeout=0)
        await near.publish([(claimed.claim, Event("progress", b"1"))])
        network.reset_next_reply()
        news = await far.watch(made.id, Seen(), timeout=0)
        assert news is not None
        assert news.events == [(1, Event("progress", b"1"))]
        network.reset_next_reply()
        assert await far.keep(made.id) is not None
        network.reset_next_reply()
        assert await far.finish([(claimed.claim, GOOD)]) == set()
        network.reset_next_reply()
        record = await far.wait(made.id, PATIENCE)
        assert record is not None
        assert record.status is Status.COMPLETED
        network.reset_next_reply()
        delivery = await far.next_delivery(timeout=0)
        assert delivery is not None
        assert delivery.record.id == made.id
        network.reset_next_reply()
        await far.drop_delivery(made.id)
        stats = (await near.stats())["m"]
        assert (stats.queued, stats.processing, stats.completed) == (0, 0, 1)


async def test_an_outcome_whose_answer_is_lost_is_given_to_its_caller_and_not_made_once_more(
    join: Join, redis_server: RedisServer
) -> None:
    async with Proxy(redis_server.port) as network:
        far, near = await join(url=f"redis://127.0.0.1:{network.port}/0"), await join()
        made = await far.submit(new(), keep=False)
        (claimed,) = await near.claim("w", "m", limit=1, timeout=0)
        waiting = asyncio.create_task(far.wait(made.id, PATIENCE))
        await far.stats()
        network.stall()
        assert not await near.finish([(claimed.claim, GOOD)])
        network.reset_next_reply()
        await network.heal()
        record = await waiting
        assert record is not None
        assert record.status is Status.COMPLETED
        assert not await near.claim("w", "m", limit=1, timeout=0)


async def test_an_outcome_that_was_taken_is_not_refused_when_it_is_handed_over_again(
    join: Join, redis_server: RedisServer
) -> None:
    async with Proxy(redis_server.port) as network:
        node = await join(url=f"redis://127.0.0.1:{network.port}/0")
        made = await node.submit(new(), keep=True)
        (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
        network.hold_replies()
        with pytest.raises(Unavailable):
            await node.finish([(claimed.claim, GOOD)])
        await network.heal()
        assert await node.renew("w", [claimed.claim]) == set()
        assert await node.finish([(claimed.claim, GOOD)]) == set()
        record = await node.get(made.id)
        assert record is not None
        assert record.status is Status.COMPLETED
