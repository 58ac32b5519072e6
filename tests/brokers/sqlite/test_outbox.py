"""Webhooks that are to be called are in the file, with the end that they tell of."""

import pytest
from msgspec.structs import replace

from tests.brokers.sqlite.conftest import GOOD, LIMITS, Queue, failing_disk, new
from zypher.brokers.sqlite import SqliteBroker
from zypher.brokers.sqlite.salvage import salvage
from zypher.errors import Unavailable
from zypher.prediction import Options, Prediction

pytestmark = pytest.mark.anyio


def with_webhook() -> Prediction:
    return replace(new(), options=Options(webhook="https://receiver.example/"))


async def finished(broker: SqliteBroker) -> Prediction:
    """A prediction with a webhook that has ended."""
    prediction = with_webhook()
    await broker.submit(prediction, keep=True)
    (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
    await broker.finish([(claimed.claim, GOOD)])
    return prediction


async def take(broker: SqliteBroker) -> tuple[str, int]:
    """The next delivery: of which prediction, and how often it has failed."""
    delivery = await broker.next_delivery(timeout=0)
    assert delivery is not None
    return delivery.record.id, delivery.failures


async def test_a_delivery_outlives_the_server_with_what_is_known_of_it(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
        await take(broker)
        await broker.put_off_delivery(prediction.id, queue.clock.wall() + 10)
    async with queue.opened() as broker:
        assert await broker.next_delivery(timeout=0) is None
        queue.clock.advance(10)
        assert await take(broker) == (prediction.id, 1)


async def test_a_delivery_that_was_under_way_when_the_server_ended_is_made_again(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
        await take(broker)
    async with queue.opened() as broker:
        assert await take(broker) == (prediction.id, 0)
        await broker.drop_delivery(prediction.id)
    async with queue.opened() as broker:
        assert await broker.next_delivery(timeout=0) is None


async def test_what_fails_because_the_server_died_is_delivered_by_the_next(queue: Queue) -> None:
    prediction = with_webhook()
    for run in range(LIMITS.max_crashes):
        async with queue.opened() as broker:
            if run == 0:
                await broker.submit(prediction, keep=True)
            await broker.claim("w", "m", limit=1, timeout=0)  # it is still running at the end
    async with queue.opened() as broker:
        assert await take(broker) == (prediction.id, 0)


async def test_what_has_expired_is_removed_once_its_webhook_was_called(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
        queue.clock.advance(2 * LIMITS.ttl)
        assert await broker.purge() == 0
        await take(broker)
        await broker.drop_delivery(prediction.id)
        assert await broker.purge() == 1


async def test_what_takes_the_place_of_a_deleted_prediction_has_nothing_to_deliver(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
        await broker.delete(prediction.id)
    async with queue.opened() as broker:
        await broker.submit(new(), keep=True)
        assert await broker.next_delivery(timeout=0) is None


async def test_a_delivery_can_be_dropped_once_the_disk_takes_it(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
        await take(broker)
        with failing_disk(), pytest.raises(Unavailable):
            await broker.drop_delivery(prediction.id)
        assert await broker.next_delivery(timeout=0) is None
        await broker.drop_delivery(prediction.id)
    async with queue.opened() as broker:
        assert await broker.next_delivery(timeout=0) is None


async def test_a_salvage_takes_the_deliveries_along(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = await finished(broker)
    salvage(queue.path)
    async with queue.opened() as broker:
        assert await take(broker) == (prediction.id, 0)
