"""Calling: to submit and to wait for the end, in one."""

import asyncio
from typing import Any

import pytest

from zypher.brokers.base import Broker, Limits
from zypher.errors import QueueFull, Unavailable
from zypher.prediction import Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, PATIENCE, BrokerTests, new


def called(broker: Broker, prediction: Prediction) -> asyncio.Future[Any]:
    """The outcome of a call, as a server asks for it."""
    sent = broker.call(prediction)
    if sent is None:
        return asyncio.ensure_future(_submitted(broker, prediction))
    return sent.outcome


async def taken(broker: Broker, prediction: Prediction) -> bool:
    """True once it is recorded, as a server asks for it."""
    recorded = broker.take(prediction)
    if recorded is None:
        return bool(await broker.submit(prediction, keep=True))
    return await recorded


async def found(broker: Broker, id: str, **how: Any) -> Prediction | None:
    """How a prediction stands, as a server asks for it; perhaps once it has ended."""
    finding = broker.find(id, **how)
    if finding is None:
        return await broker.wait(id, how.get("timeout", 0))
    return await finding or await broker.get(id)


async def _submitted(broker: Broker, prediction: Prediction) -> Prediction:
    await broker.submit(prediction, keep=False)
    record = await broker.wait(prediction.id, PATIENCE)
    assert record is not None
    return record


class Calling(BrokerTests):
    """Calling."""

    async def taken(self, broker: Broker) -> Prediction:
        """What was called, claimed."""
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=PATIENCE)
        return claimed

    @pytest.mark.parametrize(
        ("outcome", "status"), [(GOOD, Status.COMPLETED), (BAD, Status.FAILED)]
    )
    async def test_a_call_has_the_final_record_and_nothing_is_kept_of_it(
        self, broker: Broker, outcome: object, status: Status
    ) -> None:
        calling = called(broker, new())
        claimed = await self.taken(broker)
        assert not calling.done()
        await broker.finish([(claimed.claim, outcome)])  # type: ignore[list-item]
        record = await calling
        assert (record.id, record.status) == (claimed.id, status)
        assert not (await broker.list()).predictions

    async def test_what_is_taken_is_found_once_it_is_recorded(self, broker: Broker) -> None:
        wanted = new()
        assert await taken(broker, wanted)
        record = await broker.get(wanted.id)
        assert record is not None
        assert record.status is Status.QUEUED
        assert (await self.taken(broker)).id == wanted.id

    async def test_what_is_taken_is_bounded_as_what_is_submitted(self, clock: ManualClock) -> None:
        async with self.opened(Limits(max_queued=2, waiting_share=0.0), clock) as broker:
            assert all([await taken(broker, new()) for _ in range(2)])
            with pytest.raises(QueueFull, match="max-queued"):
                await taken(broker, new())

    async def test_a_call_goes_ahead_of_what_nobody_waits_for(self, broker: Broker) -> None:
        await self.submit(broker)
        wanted = new()
        calling = called(broker, wanted)
        while await broker.get(wanted.id) is None:  # noqa: ASYNC110 - it is on its way
            await asyncio.sleep(0)
        assert (await self.taken(broker)).id == wanted.id
        calling.cancel()

    async def test_a_call_is_refused_by_a_full_queue(self, clock: ManualClock) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            await self.submit(broker, 10)
            with pytest.raises(QueueFull, match="max-queued"):
                await called(broker, new())

    async def test_what_a_caller_no_longer_waits_for_goes_on_and_can_be_kept(
        self, broker: Broker
    ) -> None:
        calling = called(broker, new())
        claimed = await self.taken(broker)
        calling.cancel()
        assert await broker.keep(claimed.id) is not None
        assert not await broker.finish([(claimed.claim, GOOD)])
        record = await broker.get(claimed.id)
        assert record is not None
        assert record.result == GOOD.result

    async def test_what_ends_as_its_caller_stops_waiting_can_be_kept(self, broker: Broker) -> None:
        calling = called(broker, new())
        claimed = await self.taken(broker)
        calling.cancel()
        assert not await broker.finish([(claimed.claim, GOOD)])
        record = await broker.keep(claimed.id)
        assert record is not None
        assert record.result == GOOD.result

    async def test_what_its_caller_abandons_is_asked_to_end(self, broker: Broker) -> None:
        calling = called(broker, new())
        claimed = await self.taken(broker)
        calling.cancel()
        await asyncio.wait([calling])
        await broker.abandon(claimed.id)
        ((claim, insists),) = await broker.withdrawn("w", timeout=PATIENCE)
        assert (claim, insists) == (claimed.claim, False)

    async def test_what_its_caller_waits_for_is_nobody_elses_to_abandon(
        self, broker: Broker
    ) -> None:
        calling = called(broker, new())
        claimed = await self.taken(broker)
        await broker.abandon(claimed.id)
        assert not await broker.finish([(claimed.claim, GOOD)])
        assert (await calling).status is Status.COMPLETED

    async def test_who_calls_learns_that_the_broker_closes(self, broker: Broker) -> None:
        calling = called(broker, new())
        await self.taken(broker)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await calling
        with pytest.raises(Unavailable):
            await called(broker, new())

    async def test_who_looks_for_the_end_of_a_prediction_has_its_final_record(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        looking = asyncio.create_task(found(broker, prediction.id, timeout=PATIENCE))
        claimed = await self.taken(broker)
        assert not looking.done()
        assert not await broker.finish([(claimed.claim, GOOD)])
        assert await looking == await broker.get(prediction.id)
        assert await found(broker, prediction.id, timeout=PATIENCE) == await looking

    async def test_who_looks_for_an_end_that_does_not_come_has_the_record_as_it_stands(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        for timeout in (0.01, 0.0):
            record = await found(broker, prediction.id, timeout=timeout)
            assert record is not None
            assert record.status is Status.QUEUED

    async def test_the_end_of_what_is_another_owners_is_not_looked_for(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(owner="a"), keep=True)
        assert broker.find(prediction.id, timeout=PATIENCE, owner="b") is None
        looking = asyncio.create_task(found(broker, prediction.id, timeout=PATIENCE, owner="a"))
        await broker.finish([((await self.taken(broker)).claim, GOOD)])
        record = await looking
        assert record is not None
        assert record.result == GOOD.result

    async def test_who_looks_for_an_end_learns_that_the_broker_closes(self, broker: Broker) -> None:
        (prediction,) = await self.submit(broker)
        looking = asyncio.create_task(found(broker, prediction.id, timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await looking
