"""Idempotency keys: a request that is repeated is one prediction."""

import asyncio
from typing import Any

import pytest

from zypher.brokers.base import Broker
from zypher.errors import IdempotencyMismatch, QueueFull
from zypher.prediction import Options, Prediction, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, BrokerTests, new


def keyed(key: str = "k", fingerprint: bytes = b"f", **fields: Any) -> Prediction:
    """A prediction with an idempotency key that nobody has submitted yet."""
    return new(idempotency_key=key, fingerprint=fingerprint, **fields)


class Keys(BrokerTests):
    """Idempotency keys: a request that is repeated is one prediction."""

    async def test_a_key_that_is_used_again_names_the_first_prediction(
        self, broker: Broker
    ) -> None:
        first = await broker.submit(keyed(), keep=True)
        assert await broker.submit(keyed(), keep=True) == first
        assert await broker.submit(keyed(), keep=True, waits=True) == first
        assert (await broker.stats())["m"].queued == 1

    async def test_a_key_still_names_its_prediction_once_that_has_ended(
        self, broker: Broker
    ) -> None:
        await broker.submit(keyed(), keep=True)
        (claimed,) = await self.claim(broker)
        assert (await broker.submit(keyed(), keep=True)) == claimed
        await broker.finish([(claimed.claim, GOOD)])
        again = await broker.submit(keyed(), keep=True)
        assert (again.id, again.status, again.result) == (
            *(claimed.id, Status.COMPLETED, GOOD.result),
        )

    async def test_a_key_for_another_request_is_refused_and_changes_nothing(
        self, broker: Broker
    ) -> None:
        first = await broker.submit(keyed(), keep=True)
        with pytest.raises(IdempotencyMismatch):
            await broker.submit(keyed(fingerprint=b"other"), keep=True)
        assert await broker.get(first.id) == first
        assert (await broker.stats())["m"].queued == 1

    async def test_owners_do_not_share_their_keys(self, broker: Broker) -> None:
        submitted = [
            await broker.submit(keyed(owner=owner), keep=True) for owner in (None, "a", "b", None)
        ]
        assert len({prediction.id for prediction in submitted}) == 3

    async def test_a_key_that_many_use_at_once_makes_one_prediction(self, broker: Broker) -> None:
        submits = (broker.submit(keyed(), keep=True) for _ in range(20))
        records = await asyncio.gather(*submits)
        assert len({record.id for record in records}) == 1
        assert (await broker.stats())["m"].queued == 1

    async def test_a_submit_that_was_refused_leaves_its_key_free(self, broker: Broker) -> None:
        with pytest.raises(QueueFull):
            await broker.submit(keyed(input=b"1" * 100_000), keep=True)
        small = await broker.submit(keyed(), keep=True)
        assert await broker.get(small.id) == small

    async def test_a_submit_that_is_cancelled_leaves_its_key_usable(self, broker: Broker) -> None:
        leaving = asyncio.create_task(broker.submit(keyed(), keep=True))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        record = await broker.submit(keyed(), keep=True)
        assert await broker.get(record.id) == record
        assert (await broker.stats())["m"].queued == 1

    async def test_a_keyed_prediction_is_kept_for_a_day_and_then_its_key_is_free(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        first = await broker.submit(keyed(options=Options(ttl=1)), keep=True)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        clock.advance(LIMITS.key_ttl - 1)
        await broker.purge()
        assert (await broker.submit(keyed(), keep=True)).id == first.id
        clock.advance(1)
        second = await broker.submit(keyed(), keep=True)
        assert second.id != first.id
        assert await broker.get(first.id) is None
        await broker.purge()
        assert (await broker.submit(keyed(), keep=True)) == second

    async def test_the_key_of_a_deleted_prediction_is_free(self, broker: Broker) -> None:
        first = await broker.submit(keyed(), keep=True)
        await broker.cancel(first.id)
        await broker.delete(first.id)
        assert (await broker.submit(keyed(), keep=True)).id != first.id

    async def test_a_caller_who_waits_for_a_keyed_prediction_goes_ahead(
        self, broker: Broker
    ) -> None:
        await self.submit(broker, 3)
        waited_for = await broker.submit(keyed(), keep=True, waits=True)
        assert [p.id for p in await self.claim(broker)] == [waited_for.id]

    async def test_a_keyed_prediction_that_nobody_waits_for_any_more_goes_back_in_line(
        self, broker: Broker
    ) -> None:
        (ahead,) = await self.submit(broker)
        waited_for = await broker.submit(keyed(priority=Priority.LOW), keep=True, waits=True)
        assert await broker.keep(waited_for.id) == waited_for
        claimed = [(await self.claim(broker))[0].id for _ in range(2)]
        assert claimed == [ahead.id, waited_for.id]

    async def test_a_keyed_prediction_outlives_its_delivery(self, broker: Broker) -> None:
        prediction = await broker.submit(keyed(), keep=True, waits=True)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        await asyncio.sleep(0)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        assert await broker.get(prediction.id) == await waiting
