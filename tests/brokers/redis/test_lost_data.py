"""Redis comes back empty: what callers wait for is done all the same, and nobody waits in vain."""

import asyncio
from pathlib import Path

import pytest

from tests.brokers.redis.conftest import Join
from tests.redis_servers import EVERY_SECOND, RedisServer
from zypher.brokers.base import ModelInfo, Seen, WorkerInfo
from zypher.brokers.redis import RedisBroker
from zypher.prediction import Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, new

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick_sweeps")]


async def finish_next(node: RedisBroker) -> Prediction:
    """Run the next prediction that comes."""
    (claimed,) = await node.claim("w", "m", limit=1, timeout=PATIENCE)
    assert not await node.finish([(claimed.claim, GOOD)])
    return claimed


@pytest.mark.parametrize("keep", [False, True])
async def test_callers_on_all_nodes_get_their_outcomes_though_redis_has_lost_their_requests(
    join: Join, redis_server: RedisServer, keep: bool
) -> None:
    servers, worker = [await join(), await join()], await join()
    for _ in range(2):  # and once more: what was submitted again may be lost, too
        made = [await server.submit(new(), keep=keep, waits=True) for server in servers]
        waits = [
            asyncio.create_task(server.wait(one.id, PATIENCE))
            for server, one in zip(servers, made, strict=True)
        ]
        await asyncio.gather(*(server.stats() for server in servers))
        redis_server.call("FLUSHALL")
        await finish_next(worker)
        await finish_next(worker)
        for record in await asyncio.gather(*waits):
            assert record is not None
            assert record.status is Status.COMPLETED


async def test_so_does_one_whose_request_was_lost_before_it_began_to_wait(
    join: Join, redis_server: RedisServer
) -> None:
    server, worker = await join(), await join()
    made = await server.submit(new(), keep=False, waits=True)
    for key in redis_server.call("KEYS", f"*{made.id}*"):
        redis_server.call("DEL", key)
    waiting = asyncio.create_task(server.wait(made.id, PATIENCE))
    assert (await finish_next(worker)).id == made.id
    record = await waiting
    assert record is not None
    assert record.status is Status.COMPLETED


async def test_what_another_node_deleted_before_its_caller_began_to_wait_is_not_lost(
    join: Join,
) -> None:
    server, worker = await join(), await join()
    made = await server.submit(new(), keep=False, waits=True)
    await finish_next(worker)
    assert await worker.delete(made.id)
    assert await server.wait(made.id, PATIENCE) is None
    assert not await worker.claim("w", "m", limit=1, timeout=0)


@pytest.mark.parametrize("how", ["watched", "deleted"])
async def test_nor_is_what_was_followed_to_its_end_or_deleted_here(
    join: Join, redis_server: RedisServer, how: str
) -> None:
    server, worker = await join(), await join()
    made = await server.submit(new(), keep=False, waits=True)
    await finish_next(worker)
    if how == "watched":
        assert await server.watch(made.id, Seen(), timeout=0)
    else:
        assert await server.delete(made.id)
    for key in redis_server.call("KEYS", f"*{made.id}*"):  # no trace of it is left
        redis_server.call("DEL", key)
    assert await server.wait(made.id, PATIENCE) is None
    assert not await worker.claim("w", "m", limit=1, timeout=0)


async def test_all_nodes_tell_of_their_models_and_workers_again_each_time_that_redis_loses_them(
    join: Join, redis_server: RedisServer
) -> None:
    nodes = [await join(), await join()]
    for name, node in zip("ab", nodes, strict=True):
        await node.register_model(ModelInfo(name=name, description="", input_schema={}))
        await node.register_worker(WorkerInfo(id=name, host="h", pid=1, replicas={}))
    for _ in range(3):
        redis_server.call("FLUSHALL")
        async with asyncio.timeout(PATIENCE):
            while {*await nodes[0].models()} != {*"ab"} or {*await nodes[1].workers()} != {*"ab"}:
                await asyncio.sleep(0.05)


async def test_the_newest_signature_of_a_model_stays_in_force_when_redis_has_lost_it(
    join: Join, redis_server: RedisServer
) -> None:
    newer, older = await join(), await join()  # the newer one is heard first, or last
    takes_text = ModelInfo(name="m", description="", input_schema={"type": "string"})
    takes_more = ModelInfo(name="m", description="", input_schema={})
    await older.register_model(ModelInfo(name="first", description="", input_schema={}))
    await older.register_model(takes_text)
    await newer.register_model(takes_more)
    for nodes in ((newer, older), (older, newer)):
        redis_server.call("FLUSHALL")
        for node in nodes:
            await node._begin_anew()
        assert [*(await older.models()).values()][1:] == [takes_more]
    latest = ModelInfo(name="m", description="", input_schema={"type": "object"})
    await (await join()).register_model(latest)
    assert (await older.models())["m"] == latest


async def test_an_accepted_prediction_that_redis_has_lost_is_unknown_to_who_waits_for_it(
    join: Join, redis_server: RedisServer
) -> None:
    server, other = await join(), await join()
    made = await server.submit(new(), keep=True)
    waits = [asyncio.create_task(node.wait(made.id, PATIENCE)) for node in (server, other)]
    await asyncio.gather(server.stats(), other.stats())
    redis_server.call("FLUSHALL")
    assert await asyncio.gather(*waits) == [None, None]


async def test_a_run_that_redis_has_forgotten_is_lost_to_its_worker(
    join: Join, redis_server: RedisServer
) -> None:
    server, node = await join(), await join()
    await server.submit(new(), keep=True)
    (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
    redis_server.call("FLUSHALL")
    assert await node.renew("w", [claimed.claim]) == {claimed.claim}
    assert await node.finish([(claimed.claim, GOOD)]) == {claimed.claim}


@pytest.mark.usefixtures("without_sweeps")
async def test_a_lease_that_began_after_redis_went_back_in_time_is_not_over_too_soon(
    join: Join, tmp_path: Path
) -> None:
    clock = ManualClock()
    with RedisServer(tmp_path, *EVERY_SECOND) as redis:
        watcher, worker = [await join(clock, url=redis.url) for _ in range(2)]
        redis.copy_disk(tmp_path / "copy")
        for _ in range(20):  # beats, which will be lost
            await worker.renew("w", [])
        await watcher.reclaim()
        redis.cut_power(tmp_path / "copy")
        redis.start()
        clock.advance(LIMITS.lease / 2)
        await worker.submit(new(), keep=True)
        (claimed,) = await worker.claim("w", "m", limit=1, timeout=PATIENCE)
        for _ in range(20):
            await worker.renew("another", [])
        clock.advance(LIMITS.lease / 2)
        assert await watcher.reclaim() == 0
        assert not await worker.finish([(claimed.claim, GOOD)])
