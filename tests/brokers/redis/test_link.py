"""The one way to Redis: whatever fails there, no answer is another's, and nothing is restarted."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.brokers.redis.conftest import Join
from tests.faults.proxy import Proxy
from tests.redis_servers import RedisServer
from zypher.brokers.base import Event, Seen, WorkerInfo
from zypher.brokers.redis import RedisBroker, link
from zypher.brokers.redis.address import parse
from zypher.brokers.redis.link import Link
from zypher.errors import PredictionError, StorageFull, Unavailable
from zypher.prediction import Claim, Options, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, new

pytestmark = pytest.mark.anyio

# A caller is told within so many seconds that Redis is away, and that it is back.
SOON = 5.0


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of its own, which a test may spoil."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def network(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """The way to that server."""
    async with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are given up after a short while, so that a test is done soon."""
    monkeypatch.setattr(link, "PATIENCE", 1.0)


def over(network: Proxy) -> str:
    return f"redis://127.0.0.1:{network.port}/0"


async def works(node: RedisBroker) -> None:
    """All of a life goes well."""
    made = await node.submit(new(), keep=False)
    waiting = asyncio.create_task(node.wait(made.id, PATIENCE))
    (claimed,) = await node.claim("w", "m", limit=1, timeout=PATIENCE)
    assert not await node.finish([(claimed.claim, GOOD)])
    record = await waiting
    assert record is not None
    assert record.status is Status.COMPLETED


async def works_soon(node: RedisBroker) -> None:
    """It does so before anybody has to lose patience."""
    async with asyncio.timeout(SOON):
        while True:
            with suppress(Unavailable):
                return await works(node)


async def test_a_call_whose_caller_has_left_changes_no_answer_of_others(
    redis_server: RedisServer,
) -> None:
    way, chance = Link(parse(redis_server.url)), random.Random(1)
    answered = 0

    async def ask(number: int) -> None:
        nonlocal answered
        assert await way.do("ECHO", number) == b"%d" % number
        answered += 1

    calls = []
    for number in range(10_000):
        calls.append(asyncio.create_task(ask(number)))
        if chance.random() < 0.5:
            chance.choice(calls[-100:]).cancel()
        if chance.random() < 0.05:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    left = [outcome for outcome in outcomes if isinstance(outcome, asyncio.CancelledError)]
    assert answered == len(calls) - len(left) == outcomes.count(None)
    assert len(left) > 1_000
    await way.aclose()


async def test_what_was_claimed_for_somebody_who_has_left_is_given_to_another_at_once(
    join: Join,
) -> None:
    node, other = await join(), await join()
    for _ in range(100):
        made = await node.submit(new(), keep=True)
        claim = asyncio.create_task(node.claim("w", "m", limit=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        claim.cancel()
        (claimed,) = await other.claim("v", "m", limit=1, timeout=PATIENCE)
        assert claimed.id == made.id
        await other.finish([(claimed.claim, GOOD)])


@pytest.mark.usefixtures("without_sweeps")
@pytest.mark.parametrize("leaves", [False, True])
async def test_a_claim_whose_answer_is_lost_is_given_back_with_the_next(
    join: Join, network: Proxy, redis_server: RedisServer, leaves: bool
) -> None:
    node, other = await join(url=over(network)), await join()
    made = await other.submit(new(), keep=True)
    await node.stats()  # it is connected
    network.reset_next_reply()
    claim = asyncio.create_task(node.claim("w", "m", limit=1, timeout=0))
    if leaves:
        await asyncio.sleep(0)
        claim.cancel()
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await claim
    async with asyncio.timeout(SOON):
        while (await other.stats())["m"].processing == 0:
            await asyncio.sleep(0)
        (again,) = await node.claim("w", "m", limit=1, timeout=PATIENCE)
    assert (again.claim, again.crashes) == (Claim(made.id, 2), 0)


async def test_a_claim_that_arrives_when_its_worker_has_given_it_up_gets_nothing(
    join: Join, network: Proxy, redis_server: RedisServer
) -> None:
    node = await join(url=over(network))
    await node.stats()  # it is connected
    network.reset_next_reply()
    with pytest.raises(Unavailable):
        await node.claim("w", "m", limit=1, timeout=0)
    assert not await node.claim("w", "m", limit=1, timeout=0)
    made = await node.submit(new(), keep=True)
    late = Link(parse(redis_server.url))  # with what the network had held back
    now = monotonic()
    for doubts, gets in ((0, 0), (1, 1)):
        claim = late.run_once(
            "claim", "w", "n", "m", "m", 1, now, now, 0, 0, doubts, orphaned=print
        )
        _, claimed, _ = await claim
        assert [id.decode() for id, _ in claimed] == [made.id] * gets
    await late.aclose()


async def test_a_delivery_that_was_taken_for_somebody_who_has_left_is_due_for_others(
    join: Join,
) -> None:
    node, other = await join(), await join()
    made = await node.submit(new(options=Options(webhook="http://host/")), keep=True)
    await node.cancel(made.id)
    taking = asyncio.create_task(node.next_delivery(timeout=PATIENCE))
    await asyncio.sleep(0)
    taking.cancel()
    delivery = await other.next_delivery(timeout=PATIENCE)
    assert delivery is not None
    assert (delivery.record.id, delivery.failures) == (made.id, 0)


async def test_a_withdrawal_that_was_told_to_somebody_who_has_left_is_told_again(
    join: Join,
) -> None:
    node = await join()
    made = await node.submit(new(), keep=True)
    (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
    await node.cancel(made.id)
    asking = asyncio.create_task(node.withdrawn("w", timeout=PATIENCE))
    await asyncio.sleep(0)
    asking.cancel()
    assert await node.withdrawn("w", timeout=PATIENCE) == [(claimed.claim, True)]
    assert await node.withdrawn("w", timeout=0) == []


Verb = Callable[[RedisBroker], Awaitable[object]]
CLAIM = Claim("none", 1)
VERBS: dict[str, Verb] = {
    "submit": lambda node: node.submit(new(), keep=True),
    "keep": lambda node: node.keep("none"),
    "get": lambda node: node.get("none"),
    "wait": lambda node: node.wait("none", PATIENCE),
    "position": lambda node: node.position("none"),
    "cancel": lambda node: node.cancel("none"),
    "abandon": lambda node: node.abandon("other"),
    "watch": lambda node: node.watch("none", Seen(), timeout=PATIENCE),
    "delete": lambda node: node.delete("none"),
    "list": lambda node: node.list(),
    "claim": lambda node: node.claim("w", "m", limit=1, timeout=PATIENCE),
    "renew": lambda node: node.renew("w", [CLAIM]),
    "withdrawn": lambda node: node.withdrawn("w", timeout=PATIENCE),
    "publish": lambda node: node.publish([(CLAIM, Event("progress", b"1"))]),
    "finish": lambda node: node.finish([(CLAIM, GOOD)]),
    "next_delivery": lambda node: node.next_delivery(timeout=PATIENCE),
    "drop_delivery": lambda node: node.drop_delivery("none"),
    "reclaim": lambda node: node.reclaim(),
    "enforce_clocks": lambda node: node.enforce_clocks(),
    "purge": lambda node: node.purge(),
    "models": lambda node: node.models(),
    "workers": lambda node: node.workers(),
    "register_worker": lambda node: node.register_worker(
        WorkerInfo(id="w", host="h", pid=1, replicas={})
    ),
    "stats": lambda node: node.stats(),
}


@pytest.mark.parametrize("failure", ["forget", "cut"])
async def test_every_verb_says_soon_that_redis_is_away_and_works_soon_after(
    join: Join, network: Proxy, failure: str
) -> None:
    node = await join(url=over(network))
    await works(node)
    if failure == "cut":
        await network.cut()
    else:  # connections that are open and pass nothing
        network.stall()
    began = monotonic()
    outcomes = await asyncio.gather(
        *(verb(node) for verb in VERBS.values()), return_exceptions=True
    )
    assert monotonic() - began < SOON
    unmoved = [
        name
        for name, outcome in zip(VERBS, outcomes, strict=True)
        if not isinstance(outcome, Unavailable)
    ]
    assert unmoved == []
    assert node.degraded()
    if failure == "forget":
        network.forget()
    await network.heal()
    await works_soon(node)
    assert not node.degraded()


async def test_half_open_connections_are_given_up_and_callers_do_not_notice(
    join: Join, network: Proxy
) -> None:
    node = await join(url=over(network))
    network.forget()
    async with asyncio.timeout(SOON):
        await works(node)


async def test_who_waits_is_told_though_the_connection_for_news_was_killed(
    join: Join, redis_server: RedisServer
) -> None:
    node, other = await join(), await join()
    made = await node.submit(new(), keep=False)
    waiting = asyncio.create_task(node.wait(made.id, PATIENCE))
    (claimed,) = await other.claim("w", "m", limit=1, timeout=PATIENCE)
    assert redis_server.call("CLIENT", "KILL", "TYPE", "pubsub") >= 2
    await other.finish([(claimed.claim, GOOD)])
    async with asyncio.timeout(SOON):
        record = await waiting
    assert record is not None
    assert record.status is Status.COMPLETED


@pytest.mark.usefixtures("impatient")
async def test_a_primary_that_becomes_a_replica_is_away_until_it_is_one_again(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    made = await node.submit(new(), keep=True)
    redis_server.call("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(Unavailable, match="cannot be used"):
        await node.submit(new(), keep=True)
    with pytest.raises(Unavailable, match="cannot be used"):
        await node.get(made.id)  # which others may have moved on at the primary that there is now
    redis_server.call("REPLICAOF", "NO", "ONE")
    await works_soon(node)


@pytest.mark.usefixtures("impatient")
async def test_a_primary_without_the_replicas_that_it_must_have_is_away_and_says_why(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    redis_server.call("CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(Unavailable, match="NOREPLICAS"):
        await node.submit(new(), keep=True)
    redis_server.call("CONFIG", "SET", "min-replicas-to-write", 0)
    await works_soon(node)


async def test_when_the_memory_is_full_nothing_is_taken_in_and_what_is_there_ends(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    made = await node.submit(new(), keep=False)
    waiting = asyncio.create_task(node.wait(made.id, PATIENCE))
    (claimed,) = await node.claim("w", "m", limit=1, timeout=PATIENCE)
    redis_server.call("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(StorageFull, match="maxmemory"):
        await node.submit(new(), keep=True)
    assert not await node.renew("w", [claimed.claim])
    assert not await node.finish([(claimed.claim, GOOD)])
    assert (await waiting) is not None
    redis_server.call("CONFIG", "SET", "maxmemory", 0)
    await works(node)


@pytest.mark.usefixtures("impatient")
async def test_an_outage_that_is_longer_than_a_lease_costs_no_run(
    join: Join, redis_server: RedisServer
) -> None:
    clock = ManualClock()
    node, other = await join(clock), await join(clock)
    await node.submit(new(), keep=True)
    (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
    await other.reclaim()
    redis_server.freeze()
    with pytest.raises(PredictionError):
        await other.reclaim()
    clock.advance(LIMITS.lease)
    redis_server.thaw()
    assert await other.reclaim() == 0
    assert not await node.renew("w", [claimed.claim])
    await other.reclaim()
    clock.advance(LIMITS.lease)
    assert await other.reclaim() == 1
