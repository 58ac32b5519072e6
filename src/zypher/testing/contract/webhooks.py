"""Webhooks: no end without its delivery, and each is handed out until it is dropped."""

import asyncio

import pytest

from zypher.brokers.base import MOST_TO_ONE_HOST, Broker, Delivery
from zypher.errors import Unavailable
from zypher.prediction import Options, Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, LIMITS, PATIENCE, BrokerTests, new

URL = "https://receiver.example/predictions"


class Webhooks(BrokerTests):
    """Webhooks: no end without its delivery, and each is handed out until it is dropped."""

    async def with_webhook(
        self, broker: Broker, clock: ManualClock, url: str = URL, **options: float
    ) -> Prediction:
        """A kept prediction with a webhook, submitted now."""
        wanted = Options(webhook=url, **options)  # type: ignore[arg-type]
        return await broker.submit(new(created=clock.wall(), options=wanted), keep=True)

    async def canceled(self, broker: Broker, clock: ManualClock, url: str = URL) -> Prediction:
        """A prediction with a webhook that has ended."""
        prediction = await self.with_webhook(broker, clock, url)
        record = await broker.cancel(prediction.id)
        assert record is not None
        return record

    async def next(self, broker: Broker) -> Delivery:
        """The delivery that can be taken now."""
        delivery = await broker.next_delivery(timeout=0)
        assert delivery is not None
        return delivery

    async def code_told(self, broker: Broker, prediction: Prediction) -> str | None:
        """What the webhook of this prediction tells of its failure."""
        told = (await self.next(broker)).record
        assert told == await broker.get(prediction.id)
        return None if told.failure is None else told.failure.code

    async def test_who_waits_for_a_delivery_gets_it_with_the_end(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_webhook(broker, clock)
        waiting = asyncio.create_task(broker.next_delivery(timeout=PATIENCE))
        (claimed,) = await self.claim(broker)
        assert not waiting.done()
        await broker.finish([(claimed.claim, GOOD)])
        delivery = await waiting
        assert delivery is not None
        assert (delivery.record.id, delivery.failures) == (prediction.id, 0)
        assert delivery.record.status is Status.COMPLETED
        assert (delivery.record.input, delivery.record.result) == (b"1", b'"good"')

    async def test_a_failure_a_timeout_a_cancel_and_the_last_crash_are_told_as_well(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        failed = await self.with_webhook(broker, clock)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        assert await self.code_told(broker, failed) == "model_error"
        await broker.drop_delivery(failed.id)
        late = await self.with_webhook(broker, clock, deadline=10)
        clock.advance(10)
        await broker.enforce_clocks()
        assert await self.code_told(broker, late) == "deadline"
        await broker.drop_delivery(late.id)
        canceled = await self.canceled(broker, clock)
        assert await self.code_told(broker, canceled) == "canceled"
        await broker.drop_delivery(canceled.id)
        crashed = await self.with_webhook(broker, clock)
        for _ in range(LIMITS.max_crashes):
            (claimed,) = await self.claim(broker)
            await broker.crash([claimed.claim], "was killed")
        assert await self.code_told(broker, crashed) == "model_crashed"

    async def test_nothing_is_delivered_before_the_end_or_without_a_webhook(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        await broker.finish([(claimed.claim, GOOD)])
        await self.with_webhook(broker, clock)
        (claimed,) = await self.claim(broker)
        await broker.release([claimed.claim])
        assert await broker.next_delivery(timeout=0) is None

    async def test_a_delivery_is_handed_out_once_and_not_again_once_it_is_dropped(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.canceled(broker, clock)
        await self.next(broker)
        assert await broker.next_delivery(timeout=0) is None
        await broker.drop_delivery(prediction.id)
        assert await broker.next_delivery(timeout=0) is None

    async def test_a_delivery_that_was_put_off_is_handed_out_again_when_it_is_due(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.canceled(broker, clock)
        for failures in range(3):
            delivery = await self.next(broker)
            assert (delivery.record.id, delivery.failures) == (prediction.id, failures)
            await broker.put_off_delivery(prediction.id, clock.wall() + 10)
            waiting = asyncio.create_task(broker.next_delivery(timeout=0))
            clock.advance(9)
            await broker.enforce_clocks()
            assert await waiting is None
            clock.advance(1)
            await broker.enforce_clocks()

    async def test_who_waits_gets_what_was_put_off_once_it_is_due(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        soon, later = [await self.canceled(broker, clock) for _ in range(2)]
        for seconds, prediction in ((10, soon), (20, later)):
            await self.next(broker)
            await broker.put_off_delivery(prediction.id, clock.wall() + seconds)
        for prediction in (soon, later):
            waiting = asyncio.create_task(broker.next_delivery(timeout=PATIENCE))
            for _ in range(2):  # until it has looked, and waits
                await asyncio.sleep(0)
                await broker.list()
            clock.advance(10)
            await broker.enforce_clocks()
            delivery = await waiting
            assert delivery is not None
            assert delivery.record.id == prediction.id

    async def test_one_host_never_holds_up_the_deliveries_to_another(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        slow = [await self.canceled(broker, clock) for _ in range(MOST_TO_ONE_HOST + 1)]
        other = await self.canceled(broker, clock, "https://other.example/")
        taken = [(await self.next(broker)).record.id for _ in range(MOST_TO_ONE_HOST + 1)]
        assert taken == [*(p.id for p in slow[:MOST_TO_ONE_HOST]), other.id]
        waiting = asyncio.create_task(broker.next_delivery(timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.drop_delivery(slow[0].id)
        delivery = await waiting
        assert delivery is not None
        assert delivery.record.id == slow[-1].id

    async def test_two_who_wait_get_different_deliveries(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        waiting = [asyncio.create_task(broker.next_delivery(timeout=PATIENCE)) for _ in range(2)]
        ended = {(await self.canceled(broker, clock)).id for _ in range(2)}
        deliveries = await asyncio.gather(*waiting)
        assert {delivery.record.id for delivery in deliveries if delivery} == ended

    async def test_a_record_is_held_for_its_webhook_beyond_its_expiry(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.canceled(broker, clock)
        clock.advance(2 * LIMITS.ttl)
        await broker.purge()
        assert await broker.get(prediction.id) is None
        assert (await self.next(broker)).record == prediction

    async def test_a_deleted_prediction_takes_its_delivery_along(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        waiting, taken = [await self.canceled(broker, clock) for _ in range(2)][::-1]
        assert (await self.next(broker)).record.id == taken.id
        for prediction in (waiting, taken):
            await broker.delete(prediction.id)
        await broker.put_off_delivery(taken.id, clock.wall())
        assert await broker.next_delivery(timeout=0) is None

    async def test_what_became_kept_after_its_end_is_delivered(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        made = new(created=clock.wall(), options=Options(webhook=URL))
        await broker.submit(made, keep=False)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        assert await broker.next_delivery(timeout=0) is None
        await broker.keep(made.id)
        assert (await self.next(broker)).record.id == made.id

    async def test_who_waits_for_a_delivery_is_told_when_the_broker_closes(
        self, broker: Broker
    ) -> None:
        waiting = asyncio.create_task(broker.next_delivery(timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await waiting

    async def test_a_delivery_outlives_the_key_of_its_prediction(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        first, second = (
            new(idempotency_key="k", fingerprint=b"f", options=Options(webhook=URL))
            for _ in range(2)
        )
        await broker.submit(first, keep=True)
        await broker.cancel(first.id)
        clock.advance(LIMITS.key_ttl)
        assert await broker.submit(second, keep=True) == second
        assert (await self.next(broker)).record.id == first.id
