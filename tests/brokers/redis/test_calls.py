"""What is called over Redis: submitted and waited for in one, without a task."""

import asyncio

import pytest

from tests.brokers.redis.conftest import Join
from tests.brokers.redis.test_nodes import LARGE
from tests.brokers.redis.test_together import scripts_run
from tests.redis_servers import RedisServer
from zypher.brokers.base import Limits, Sent
from zypher.errors import QueueFull
from zypher.prediction import Outcome, Prediction, Status
from zypher.testing.contract.base import GOOD, PATIENCE, new

pytestmark = pytest.mark.anyio


async def submitted(sent: Sent) -> Prediction:
    """What there is of a call once Redis has it."""
    assert sent.submitted is not None
    return await sent.submitted


@pytest.mark.usefixtures("without_sweeps")
@pytest.mark.parametrize("outcome", [GOOD, LARGE], ids=["small", "large"])
async def test_who_calls_is_told_of_the_end_on_another_node(join: Join, outcome: Outcome) -> None:
    node, other = await join(), await join()
    called = [node.call(new()).outcome for _ in range(20)]
    for _ in called:
        (claimed,) = await other.claim("w", "m", limit=1, timeout=PATIENCE)
        assert not await other.finish([(claimed.claim, outcome)])
    for record in await asyncio.wait_for(asyncio.gather(*called), PATIENCE):
        assert record is not None
        assert record.result == outcome.result
        assert await node.get(record.id) is None
    assert not node._ends
    assert not node._waited
    assert not node._called


async def test_calls_of_one_turn_are_one_script(join: Join, redis_server: RedisServer) -> None:
    node = await join()
    await submitted(node.call(new()))  # now Redis knows the script
    before = scripts_run(redis_server)
    await asyncio.gather(*(submitted(node.call(new())) for _ in range(20)))
    assert scripts_run(redis_server) - before <= 2  # the node looks around once a second


@pytest.mark.usefixtures("quick_sweeps")
async def test_who_calls_gets_an_outcome_though_redis_has_lost_the_call(
    join: Join, redis_server: RedisServer
) -> None:
    node, worker = await join(), await join()
    for _ in range(2):  # and once more: what was submitted again may be lost, too
        sent = node.call(new())
        await submitted(sent)
        redis_server.call("FLUSHALL")
        (claimed,) = await worker.claim("w", "m", limit=1, timeout=PATIENCE)
        assert not await worker.finish([(claimed.claim, GOOD)])
        record = await asyncio.wait_for(sent.outcome, PATIENCE)
        assert record is not None
        assert record.status is Status.COMPLETED


@pytest.mark.usefixtures("without_sweeps")
async def test_a_call_that_ended_before_it_was_known_to_be_taken_in_does_not_run_again(
    join: Join,
) -> None:
    node, other = await join(), await join()
    await node._hearing.stop()  # the network is away, and the answer to the submission is lost
    prediction = new()
    sent = node.call(prediction)
    (claimed,) = await other.claim("w", "m", limit=1, timeout=PATIENCE)
    assert not await other.finish([(claimed.claim, GOOD)])
    again = await submitted(node.call(prediction))  # as it is sent when there is no answer
    assert again.status is Status.COMPLETED
    assert not await other.claim("w", "m", limit=1, timeout=0)
    node._look_at_end(prediction.id)  # as it does once a second
    record = await asyncio.wait_for(sent.outcome, PATIENCE)
    assert record is not None
    assert record.result == GOOD.result


async def test_a_call_to_a_node_that_leaves_goes_on_and_can_be_kept(
    join: Join, redis_server: RedisServer
) -> None:
    leaving, other = await join(), await join()
    made = await submitted(sent := leaving.call(new()))
    leaving.hurry()
    assert await sent.outcome is None
    assert await leaving.keep(made.id) is not None
    assert redis_server.call("HGET", f"zypher:p:{made.id}", "waiting") is None
    (claimed,) = await other.claim("w", "m", limit=1, timeout=PATIENCE)
    assert not await other.finish([(claimed.claim, GOOD)])
    record = await other.get(made.id)
    assert record is not None
    assert record.status is Status.COMPLETED


async def test_a_call_that_is_refused_is_waited_for_by_nobody(join: Join) -> None:
    node = await join(limits=Limits(max_queued=1))
    await submitted(node.call(new()))
    refused = node.call(new())
    for answer in (submitted(refused), refused.outcome):
        with pytest.raises(QueueFull, match="max-queued"):
            await asyncio.wait_for(answer, PATIENCE)
    await node.stats()  # what follows from that is done
    assert len(node._ends) == len(node._waited) == len(node._called) == 1
