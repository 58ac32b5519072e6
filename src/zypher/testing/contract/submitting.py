"""Submitting and finding."""

import pytest

from zypher.brokers.base import Broker, Limits
from zypher.errors import QueueFull
from zypher.prediction import Claim, Status, new_id
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, PATIENCE, BrokerTests, new


class Submitting(BrokerTests):
    """Submitting and finding."""

    async def test_a_submitted_prediction_is_found_as_it_was_submitted(
        self, broker: Broker
    ) -> None:
        (submitted,) = await self.submit(broker, input=b'{"text": "hi"}')
        found = await broker.get(submitted.id)
        assert found == submitted
        assert found is not None
        assert (found.status, found.attempt, found.crashes) == (Status.QUEUED, 0, 0)

    async def test_submitting_an_id_again_returns_its_record_and_queues_it_once(
        self, broker: Broker
    ) -> None:
        (first,) = await self.submit(broker)
        (claimed,) = await self.claim(broker)
        assert await broker.submit(first, keep=True) == claimed
        assert not await self.claim(broker)

    async def test_submitting_an_id_again_does_not_keep_it(self, broker: Broker) -> None:
        waited_for = await broker.submit(new(), keep=False)
        assert await broker.submit(waited_for, keep=True) == waited_for
        assert not (await broker.list()).predictions

    async def test_an_id_that_is_known_is_not_refused_by_a_full_queue(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            (first, *_) = await self.submit(broker, 10)
            assert await broker.submit(first, keep=True) == first

    async def test_an_unknown_id_is_nothing_to_every_verb(self, broker: Broker) -> None:
        id = new_id()
        assert await broker.get(id) is None
        assert await broker.wait(id, PATIENCE) is None
        assert await broker.keep(id) is None
        assert await broker.position(id) is None
        assert await broker.cancel(id) is None
        assert await broker.delete(id) is False
        assert await broker.finish([(Claim(id, 1), GOOD)]) == {Claim(id, 1)}
        assert await broker.renew("w", [Claim(id, 1)]) == {Claim(id, 1)}

    async def test_a_full_queue_refuses_and_has_room_again_after_a_claim(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            await self.submit(broker, 10)
            with pytest.raises(QueueFull, match="max-queued"):
                await self.submit(broker)
            await self.claim(broker)
            await self.submit(broker)

    async def test_what_was_refused_is_unknown(self, clock: ManualClock) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            await self.submit(broker, 10)
            refused = new()
            with pytest.raises(QueueFull):
                await broker.submit(refused, keep=True)
            assert await broker.get(refused.id) is None

    async def test_a_canceled_prediction_leaves_its_room_to_another(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            (first, *_) = await self.submit(broker, 10)
            await broker.cancel(first.id)
            await self.submit(broker)
            with pytest.raises(QueueFull):
                await self.submit(broker)

    async def test_a_full_queue_of_one_model_does_not_refuse_another(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10), clock) as broker:
            await self.submit(broker, 9)
            await self.submit(broker, model="other")

    async def test_callers_who_wait_have_a_share_of_the_queue_to_themselves(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.1), clock) as broker:
            await self.submit(broker, 9)
            with pytest.raises(QueueFull):
                await self.submit(broker)
            await broker.submit(new(), keep=False)
            with pytest.raises(QueueFull):
                await broker.submit(new(), keep=False)

    async def test_the_bytes_that_wait_are_bounded_over_all_models(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued_bytes=299, waiting_share=0.0), clock) as broker:
            await self.submit(broker, input=b"1" * 150)
            with pytest.raises(QueueFull, match="max-queued-bytes"):
                await self.submit(broker, input=b"1" * 150, model="other")
            await self.claim(broker)
            await self.submit(broker, input=b"1" * 150, model="other")

    async def test_callers_who_wait_have_a_share_of_the_bytes_to_themselves(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued_bytes=400, waiting_share=0.5), clock) as broker:
            await self.submit(broker, input=b"1" * 150)
            with pytest.raises(QueueFull):
                await self.submit(broker, input=b"1" * 150)
            await broker.submit(new(input=b"1" * 150), keep=False)
