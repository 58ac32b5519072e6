"""Finishing and waiting: one visible outcome, and all who wait for it get it."""

import asyncio

from zypher.brokers.base import Broker
from zypher.prediction import Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, LIMITS, PATIENCE, BrokerTests, new


class Finishing(BrokerTests):
    """Finishing and waiting: one visible outcome, and all who wait for it get it."""

    async def test_a_finished_prediction_has_its_result(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        clock.advance(2)
        assert not await broker.finish([(claimed.claim, GOOD)])
        found = await broker.get(claimed.id)
        assert found is not None
        assert (found.status, found.result) == (Status.COMPLETED, b'"good"')
        assert found.finished == clock.wall()

    async def test_a_failed_prediction_has_its_failure(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, BAD)])
        found = await broker.get(claimed.id)
        assert found is not None
        assert (found.status, found.failure) == (Status.FAILED, BAD.failure)

    async def test_only_the_first_outcome_of_a_prediction_counts(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        assert not await broker.finish([(claimed.claim, GOOD)])
        assert await broker.finish([(claimed.claim, BAD)]) == {claimed.claim}
        found = await broker.get(claimed.id)
        assert found is not None
        assert found.status is Status.COMPLETED

    async def test_the_outcome_of_an_older_attempt_is_refused(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        stale = await self.running(broker)
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        (current,) = await self.claim(broker, worker="v")
        assert await broker.finish([(stale.claim, BAD)]) == {stale.claim}
        assert not await broker.finish([(current.claim, GOOD)])
        found = await broker.get(stale.id)
        assert found is not None
        assert found.status is Status.COMPLETED

    async def test_an_outcome_is_refused_while_its_prediction_is_queued_again(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        await broker.release([claimed.claim])
        assert await broker.finish([(claimed.claim, GOOD)]) == {claimed.claim}

    async def test_a_late_outcome_does_not_refuse_those_that_came_with_it(
        self, broker: Broker
    ) -> None:
        late, good = await self.running(broker), await self.running(broker)
        await broker.cancel(late.id)
        assert await broker.finish([(late.claim, GOOD), (good.claim, GOOD)]) == {late.claim}
        found = await broker.get(good.id)
        assert found is not None
        assert found.status is Status.COMPLETED

    async def test_all_who_wait_get_the_final_record(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        waiting = [asyncio.create_task(broker.wait(claimed.id, PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0)
        await broker.finish([(claimed.claim, GOOD)])
        records = await asyncio.gather(*waiting)
        assert [r.result for r in records if r] == [b'"good"'] * 3
        assert records == [await broker.get(claimed.id)] * 3

    async def test_a_wait_on_a_finished_prediction_returns_at_once(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        record = await broker.wait(claimed.id, PATIENCE)
        assert record is not None
        assert record.status is Status.COMPLETED

    async def test_a_wait_whose_time_is_over_returns_the_record_as_it_stands(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        assert await broker.wait(claimed.id, 0.01) == claimed

    async def test_a_wait_without_patience_returns_the_record_as_it_stands(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        assert await broker.wait(claimed.id, 0) == claimed

    async def test_a_wait_goes_on_while_a_lost_run_is_repeated(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        waiting = asyncio.create_task(broker.wait(claimed.id, PATIENCE))
        await asyncio.sleep(0)
        await broker.release([claimed.claim])
        (again,) = await self.claim(broker)
        await broker.finish([(again.claim, GOOD)])
        record = await waiting
        assert record is not None
        assert (record.status, record.attempt) == (Status.COMPLETED, 2)

    async def test_a_wait_that_is_cancelled_leaves_the_others_waiting(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        leaving = asyncio.create_task(broker.wait(claimed.id, PATIENCE))
        staying = asyncio.create_task(broker.wait(claimed.id, PATIENCE))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await broker.finish([(claimed.claim, GOOD)])
        record = await staying
        assert record is not None
        assert record.status is Status.COMPLETED

    async def test_an_unkept_prediction_is_forgotten_once_its_outcome_was_delivered(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        await asyncio.sleep(0)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        assert await waiting is not None
        assert await broker.get(prediction.id) is None

    async def test_a_prediction_that_became_a_kept_one_outlives_its_delivery(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        await asyncio.sleep(0)
        (claimed,) = await self.claim(broker)
        assert await broker.keep(prediction.id) == claimed
        await broker.finish([(claimed.claim, GOOD)])
        record = await waiting
        assert await broker.get(prediction.id) == record
        assert [p.id for p in (await broker.list()).predictions] == [prediction.id]

    async def test_an_unkept_outcome_that_nobody_took_can_still_be_kept(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        assert await broker.wait(prediction.id, 0.01) == prediction
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        kept = await broker.keep(prediction.id)
        assert kept is not None
        assert kept.status is Status.COMPLETED
        clock.advance(LIMITS.ttl - 1)
        await broker.purge()
        assert await broker.get(prediction.id) is not None
