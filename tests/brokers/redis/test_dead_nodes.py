"""Nodes die, and their clocks differ by hours: others take over what they had, once and in time."""

import asyncio

import pytest

from tests.brokers.redis.conftest import Join
from tests.redis_servers import RedisServer
from zypher.brokers.base import Limits, WorkerInfo
from zypher.brokers.redis import RedisBroker
from zypher.prediction import Claim, Options, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, LIMITS, PATIENCE, new

pytestmark = pytest.mark.anyio

HOURS = 3 * 3600.0


class OtherClock(ManualClock):
    """That of a machine that has run for longer, and whose wall clock is wrong."""

    def __init__(self, *, up: float = HOURS, wrong: float = 0.0) -> None:
        super().__init__()
        self.advance(up)
        self.jump(wrong - up)


def pass_time(seconds: float, *clocks: ManualClock) -> None:
    for clock in clocks:
        clock.advance(seconds)


async def register(node: RedisBroker, worker: str) -> None:
    await node.register_worker(WorkerInfo(id=worker, host="h", pid=1, replicas={}))


async def test_what_a_dead_node_ran_is_run_by_another_after_a_lease_and_not_before(
    join: Join,
) -> None:
    clock, other = ManualClock(), OtherClock()
    dead, node = await join(clock), await join(other)
    await dead.submit(new(), keep=True)
    (claimed,) = await dead.claim("w", "m", limit=1, timeout=0)
    await dead.aclose()
    assert await node.reclaim() == 0
    pass_time(LIMITS.lease - 1, clock, other)
    assert await node.reclaim() == 0
    pass_time(1, clock, other)
    assert await node.reclaim() == 1
    (again,) = await node.claim("v", "m", limit=1, timeout=0)
    assert again.claim == Claim(claimed.id, 2)


async def test_what_is_renewed_stays_with_its_worker_whatever_the_clocks_of_others_say(
    join: Join,
) -> None:
    clock, other = ManualClock(), OtherClock()
    worker, node = await join(clock), await join(other)
    await node.submit(new(), keep=True)
    (claimed,) = await worker.claim("w", "m", limit=1, timeout=0)
    for _ in range(5):
        pass_time(LIMITS.lease * 0.9, clock, other)
        assert await worker.renew("w", [claimed.claim]) == set()
        assert await node.reclaim() == 0


async def test_a_worker_that_is_not_heard_of_leaves_the_registry_and_the_consumers(
    join: Join, redis_server: RedisServer
) -> None:
    clock, other = ManualClock(), OtherClock()
    dead, node = await join(clock), await join(other)
    await register(dead, "w")
    await register(node, "v")
    await node.submit(new(), keep=True)
    await node.reclaim()
    pass_time(1, clock, other)
    assert await dead.claim("w", "m", limit=1, timeout=0)  # after it was last heard of
    await node.reclaim()
    for _ in range(2):
        pass_time(LIMITS.lease - 1, clock, other)
        await node.renew("v", [])
        await node.reclaim()
    assert [*await node.workers()] == ["v"]
    consumers = redis_server.call("XINFO", "CONSUMERS", "zypher:q:m:normal", "workers")
    assert [consumer[b"name"] for consumer in consumers] == [b"given-back"]


async def test_a_node_that_died_while_it_was_idle_swallows_no_bell(join: Join) -> None:
    dead, node, server = await join(), await join(), await join()
    waits = asyncio.create_task(dead.claim("w", "m", limit=1, timeout=PATIENCE))
    await dead.stats()
    claim = asyncio.create_task(node.claim("v", "m", limit=1, timeout=PATIENCE))
    await node.stats()
    await dead._hearing.stop()  # as the end of its process would
    made = [await server.submit(new(), keep=True) for _ in range(2)]
    (claimed,) = await claim
    assert claimed.id in {one.id for one in made}
    waits.cancel()


@pytest.mark.parametrize("wrong", [3600.0, -3600.0])
async def test_deadlines_and_pauses_do_not_depend_on_whose_wall_clock_is_wrong(
    join: Join, wrong: float
) -> None:
    clock, other = ManualClock(), OtherClock(wrong=wrong)
    # What has ended expires by the clock of who asks, and is kept for a day here.
    server, node = [await join(which, limits=Limits(ttl=86_400)) for which in (clock, other)]
    now = clock.wall()
    waits, runs, retried = (
        new("n", created=now, options=Options(deadline=60)),
        new(created=now, options=Options(run_timeout=60)),
        new(created=now, options=Options(retries=1)),
    )
    for one in (waits, runs, retried):
        await server.submit(one, keep=True)
    batch = await node.claim("w", "m", limit=2, timeout=0)
    assert not await node.finish([(batch[1].claim, BAD)])
    assert await server.position(retried.id) is None
    pass_time(5, clock, other)
    assert await server.enforce_clocks() == 1
    assert await server.position(retried.id) == 0
    pass_time(54, clock, other)
    assert await node.enforce_clocks() == 0
    pass_time(2, clock, other)
    assert await node.enforce_clocks() == 2
    for one, code in ((waits, "deadline"), (runs, "run_timeout")):
        record = await server.get(one.id)
        assert record is not None
        assert record.failure is not None
        assert record.failure.code == code
    assert await node.withdrawn("w", timeout=0) == [(batch[0].claim, True)]


async def test_many_pauses_that_end_at_once_end_nothing_but_themselves(join: Join) -> None:
    clock, count = ManualClock(), 1_200  # more than are looked at in one go
    node = await join(clock, limits=Limits(max_queued=2 * count))
    options = Options(retries=1, deadline=600)
    made = [new(created=clock.wall(), options=options) for _ in range(count)]
    await asyncio.gather(*(node.submit(one, keep=True) for one in made))
    batch = await node.claim("w", "m", limit=count, timeout=0)
    assert not await node.finish([(one.claim, BAD) for one in batch])
    clock.advance(5)
    assert await node.enforce_clocks() + await node.enforce_clocks() == count
    assert len(await node.claim("w", "m", limit=count, timeout=0)) == count


async def test_a_finish_is_that_of_any_node_which_knows_the_claim(join: Join) -> None:
    first, second = await join(), await join()
    await first.submit(new(), keep=True)
    (claimed,) = await first.claim("w", "m", limit=1, timeout=0)
    assert not await second.finish([(claimed.claim, GOOD)])
    assert await first.finish([(claimed.claim, GOOD)]) == {claimed.claim}
    record = await first.get(claimed.id)
    assert record is not None
    assert record.status is Status.COMPLETED
