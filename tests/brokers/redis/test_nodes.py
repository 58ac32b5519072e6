"""What one node does, the others see, at once and without asking again and again."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from tests.brokers.redis.conftest import Join
from tests.redis_servers import RedisServer
from zypher.brokers.base import Event, Seen
from zypher.errors import PredictionError
from zypher.prediction import Outcome, Prediction, Status
from zypher.testing.contract.base import GOOD, PATIENCE, new

pytestmark = pytest.mark.anyio

# More than is told with the news of an end.
LARGE = Outcome(result=b'"' + 100_000 * b"x" + b'"')


@pytest.mark.usefixtures("without_sweeps")
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("outcome", [GOOD, LARGE], ids=["small", "large"])
async def test_who_waits_on_any_node_is_told_of_an_end_on_another(
    join: Join, keep: bool, outcome: Outcome
) -> None:
    first, second, third = await join(), await join(), await join()
    made = await first.submit(new(), keep=keep)
    waits = [asyncio.create_task(node.wait(made.id, PATIENCE)) for node in (first, second, first)]
    (claimed,) = await third.claim("w", "m", limit=1, timeout=PATIENCE)
    await asyncio.gather(*(node.stats() for node in (first, second)))  # they wait by now
    await third.finish([(claimed.claim, outcome)])
    told = await asyncio.gather(*waits)
    assert told[0] is not None
    assert told[0].result == outcome.result
    assert told[1:] == [told[0], told[0]]
    assert [await node.get(made.id) for node in (first, second)] == [told[0] if keep else None] * 2
    assert await third.claim("w", "m", limit=1, timeout=0) == []


async def test_who_waits_on_a_node_that_leaves_is_told_how_it_stands(join: Join) -> None:
    leaving, other = await join(), await join()
    made = await other.submit(new(), keep=True)
    waits = [asyncio.create_task(node.wait(made.id, PATIENCE)) for node in (leaving, other)]
    await asyncio.gather(*(node.stats() for node in (leaving, other)))  # they wait by now
    leaving.hurry()
    assert await waits[0] == made
    assert await leaving.wait(made.id, PATIENCE) == made
    (claimed,) = await other.claim("w", "m", limit=1, timeout=PATIENCE)
    await other.finish([(claimed.claim, GOOD)])
    told = await waits[1]
    assert told is not None
    assert told.status is Status.COMPLETED


@pytest.mark.usefixtures("without_sweeps")
async def test_who_wants_work_on_any_node_is_told_of_its_arrival_on_another(join: Join) -> None:
    first, second = await join(), await join()
    claim = asyncio.create_task(second.claim("w", "m", limit=1, timeout=PATIENCE))
    await second.stats()
    made = await first.submit(new(), keep=True)
    (claimed,) = await claim
    assert claimed.id == made.id


@pytest.mark.usefixtures("without_sweeps")
async def test_who_has_claimed_all_that_there_was_waits_for_more_without_asking(
    join: Join, redis_server: RedisServer
) -> None:
    node = await join()
    await node.submit(new(), keep=True)
    assert len(await node.claim("w", "m", limit=2, timeout=PATIENCE)) == 1
    beat = redis_server.call("GET", "zypher:beat")  # each claim is one
    claim = asyncio.create_task(node.claim("w", "m", limit=2, timeout=PATIENCE))
    await node.stats()
    assert redis_server.call("GET", "zypher:beat") == beat
    made = await node.submit(new(), keep=True)
    assert [one.id for one in await claim] == [made.id]


@pytest.mark.usefixtures("without_sweeps")
async def test_as_many_idle_workers_as_predictions_arrive_at_once_begin_one_each(
    join: Join,
) -> None:
    nodes = [await join() for _ in range(3)]
    workers = [(node, f"{place}-{one}") for place, node in enumerate(nodes) for one in range(3)]
    claims = [
        asyncio.create_task(node.claim(name, "m", limit=1, timeout=PATIENCE))
        for node, name in workers
    ]
    await asyncio.gather(*(node.stats() for node in nodes))
    made = await asyncio.gather(*(nodes[0].submit(new(), keep=True) for _ in workers))
    claimed = [one.id for batch in await asyncio.gather(*claims) for one in batch]
    assert sorted(claimed) == sorted(one.id for one in made)


async def test_a_key_that_comes_to_two_nodes_at_once_is_one_prediction(join: Join) -> None:
    first, second = await join(), await join()
    for turn in range(50):
        one, other = (new(idempotency_key=f"k{turn}", fingerprint=b"f") for _ in range(2))
        records = await asyncio.gather(
            first.submit(one, keep=True, waits=True), second.submit(other, keep=True)
        )
        assert records[0].id == records[1].id
    assert len((await first.list(limit=100)).predictions) == 50


@pytest.mark.usefixtures("without_sweeps")
async def test_a_worker_is_told_at_once_what_was_canceled_on_another_node(join: Join) -> None:
    server, node = await join(), await join()
    made = await server.submit(new(), keep=True)
    (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
    withdrawn = asyncio.create_task(node.withdrawn("w", timeout=PATIENCE))
    await node.stats()
    await server.cancel(made.id)
    assert await withdrawn == [(claimed.claim, True)]


@pytest.mark.usefixtures("without_sweeps")
async def test_who_watches_sees_the_events_of_another_node_in_their_order(join: Join) -> None:
    server, node = await join(), await join()
    made = await server.submit(new(), keep=True)
    (claimed,) = await node.claim("w", "m", limit=1, timeout=0)

    async def publish() -> None:
        for number in range(300):
            await node.publish([(claimed.claim, Event("progress", b"%d" % number))])
        await node.finish([(claimed.claim, GOOD)])

    publishing = asyncio.create_task(publish())
    seen, events = Seen(), []
    while seen.status is not Status.COMPLETED:
        news = await server.watch(made.id, seen, timeout=PATIENCE)
        assert news is not None
        assert not news.has_gap
        events += [int(event.data) for _, event in news.events]
        last = news.events[-1][0] if news.events else seen.sequence
        seen = Seen(news.record.status, news.record.attempt, last)
    await publishing
    assert events == [*range(300)]


async def test_several_nodes_share_what_waits_and_none_runs_twice(join: Join) -> None:
    nodes = [await join() for _ in range(3)]
    made = await asyncio.gather(*(nodes[i % 3].submit(new(), keep=True) for i in range(90)))
    taken: list[list[Prediction]] = [[], [], []]

    async def work(place: int) -> None:
        while batch := await nodes[place].claim(f"w{place}", "m", limit=5, timeout=0):
            taken[place] += batch
            await nodes[place].finish([(one.claim, GOOD) for one in batch])

    await asyncio.gather(*(work(place) for place in range(3)))
    assert sorted(one.id for part in taken for one in part) == sorted(one.id for one in made)
    assert all(len(part) >= 10 for part in taken)


async def test_a_cancel_and_an_end_on_different_nodes_have_one_winner(join: Join) -> None:
    server, node = await join(), await join()
    for _ in range(30):
        made = await server.submit(new(), keep=True)
        (claimed,) = await node.claim("w", "m", limit=1, timeout=0)
        canceled, refused = await asyncio.gather(
            server.cancel(made.id), node.finish([(claimed.claim, GOOD)]), return_exceptions=True
        )
        record = await server.get(made.id)
        assert record is not None
        assert record.status is (Status.CANCELED if refused else Status.COMPLETED)
        assert isinstance(canceled, PredictionError) is not bool(refused)


async def test_models_are_known_in_the_order_in_which_any_node_told_of_them(join: Join) -> None:
    from zypher.brokers.base import ModelInfo

    first, second = await join(), await join()
    infos = [ModelInfo(name=name, description="", input_schema={}) for name in "zab"]
    for node, info in zip((first, second, first), infos, strict=True):
        await node.register_model(info)
    await second.register_model(replace(infos[0], description="again"))
    assert [*await first.models()] == [*await second.models()] == ["z", "a", "b"]


async def test_each_end_is_counted_by_one_node_however_many_bring_it_about(join: Join) -> None:
    nodes = [await join() for _ in range(3)]
    first, second, _ = nodes
    for made in [new() for _ in range(6)]:
        await first.submit(made, keep=True)
    claimed = await second.claim("w", "m", limit=2, timeout=PATIENCE)
    both = [(one.claim, GOOD) for one in claimed]
    await asyncio.gather(*(node.finish(both) for node in nodes))
    (lost,) = await second.claim("w", "m", limit=1, timeout=PATIENCE)
    await asyncio.gather(*(node.crash([lost.claim], "was killed") for node in nodes))
    rest = (await first.list(status=Status.QUEUED)).predictions
    ways = [node.cancel(one.id) for one in rest for node in nodes]
    await asyncio.gather(*ways, return_exceptions=True)
    ends = Counter[tuple[str, ...]]()
    for node in nodes:
        ends.update(node.metrics.predictions)
    assert ends == {("m", "async", "completed"): 2, ("m", "async", "canceled"): 4}
    assert sum(node.metrics.crashes["m",] for node in nodes) == 1
