"""Canceling, forgetting, expiring."""

import asyncio

import pytest

from zypher.brokers.base import Broker
from zypher.errors import Conflict
from zypher.prediction import Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, BrokerTests


class Ending(BrokerTests):
    """Canceling, forgetting, expiring."""

    async def test_a_canceled_prediction_is_never_claimed(self, broker: Broker) -> None:
        (prediction, other) = await self.submit(broker, 2)
        canceled = await broker.cancel(prediction.id)
        assert canceled is not None
        assert canceled.status is Status.CANCELED
        assert [p.id for p in await self.claim(broker, 2)] == [other.id]

    async def test_cancelling_a_running_prediction_is_final_at_once(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        waiting = asyncio.create_task(broker.wait(claimed.id, PATIENCE))
        await asyncio.sleep(0)
        await broker.cancel(claimed.id)
        record = await waiting
        assert record is not None
        assert record.status is Status.CANCELED
        assert await broker.finish([(claimed.claim, GOOD)]) == {claimed.claim}

    async def test_a_prediction_that_has_ended_cannot_be_canceled(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        with pytest.raises(Conflict):
            await broker.cancel(claimed.id)

    async def test_a_final_record_never_changes_again(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        final = await broker.get(claimed.id)
        await broker.crash([claimed.claim], "was killed")
        await broker.release([claimed.claim])
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        await broker.keep(claimed.id)
        assert await broker.get(claimed.id) == final

    async def test_a_finished_prediction_is_kept_for_its_ttl_and_then_forgotten(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        clock.advance(LIMITS.ttl - 1)
        assert await broker.purge() == 0
        assert await broker.get(claimed.id) is not None
        clock.advance(1)
        assert await broker.get(claimed.id) is None
        assert await broker.purge() == 1

    async def test_an_expired_prediction_is_unknown_to_every_verb_before_it_is_purged(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        (submitted,) = await self.submit(broker)
        await broker.cancel(submitted.id)
        clock.advance(LIMITS.ttl)
        assert await broker.wait(submitted.id, PATIENCE) is None
        assert await broker.keep(submitted.id) is None
        assert await broker.cancel(submitted.id) is None
        assert await broker.delete(submitted.id) is False
        assert not (await broker.list()).predictions
        assert await broker.submit(submitted, keep=True) == submitted
        assert [p.id for p in await self.claim(broker)] == [submitted.id]

    async def test_an_expired_id_that_is_submitted_again_is_queued_once_and_no_other_forgotten(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        submitted, other = await self.submit(broker, 2)
        for prediction in submitted, other:
            await broker.cancel(prediction.id)
        clock.advance(LIMITS.ttl)
        again = [broker.submit(submitted, keep=True) for _ in range(3)]
        assert await asyncio.gather(*again) == [submitted] * 3
        assert (await broker.stats())["m"].queued == 1
        assert await broker.purge() == 1
        assert [p.id for p in await self.claim(broker, 2)] == [submitted.id]

    async def test_a_prediction_that_has_not_ended_never_expires(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        running = await self.running(broker)
        (queued,) = await self.submit(broker)
        clock.advance(100 * LIMITS.ttl)
        await broker.purge()
        assert await broker.get(running.id) is not None
        assert await broker.get(queued.id) is not None

    async def test_an_ended_prediction_can_be_deleted(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        assert await broker.delete(claimed.id)
        assert await broker.get(claimed.id) is None

    async def test_a_prediction_that_has_not_ended_cannot_be_deleted(self, broker: Broker) -> None:
        running = await self.running(broker)
        (queued,) = await self.submit(broker)
        for prediction in running, queued:
            with pytest.raises(Conflict):
                await broker.delete(prediction.id)
            assert await broker.get(prediction.id) == prediction
