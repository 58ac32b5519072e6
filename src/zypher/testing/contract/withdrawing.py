"""Withdrawing: what workers learn of runs that others have ended, and callers who go away."""

import asyncio

import pytest

from zypher.brokers.base import Broker, Seen, Withdrawal
from zypher.errors import Unavailable
from zypher.prediction import Status
from zypher.testing.contract.base import GOOD, PATIENCE, BrokerTests, new


class Withdrawing(BrokerTests):
    """Withdrawing: what workers learn of runs that others have ended, and callers who go away."""

    async def test_a_worker_learns_at_once_of_a_run_that_was_canceled(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        learning = asyncio.create_task(broker.withdrawn("w", timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.cancel(claimed.id)
        assert await learning == [Withdrawal(claimed.claim, insists=True)]
        assert await broker.renew("w", [claimed.claim]) == {claimed.claim}

    async def test_what_was_withdrawn_before_a_worker_asked_is_told_once(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        await broker.cancel(claimed.id)
        assert await broker.withdrawn("w", timeout=PATIENCE) == [Withdrawal(claimed.claim, True)]
        assert await broker.withdrawn("w", timeout=0) == []

    async def test_other_workers_learn_nothing_of_it(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.cancel(claimed.id)
        assert await broker.withdrawn("v", timeout=0) == []

    async def test_nothing_is_withdrawn_that_waits_or_has_ended(self, broker: Broker) -> None:
        finished = await self.running(broker)
        await broker.finish([(finished.claim, GOOD)])
        (queued,) = await self.submit(broker)
        await broker.cancel(queued.id)
        assert await broker.withdrawn("w", timeout=0) == []

    async def test_a_caller_who_goes_away_takes_what_waits_along(self, broker: Broker) -> None:
        prediction = await broker.submit(new(), keep=False)
        await broker.abandon(prediction.id)
        assert not await self.claim(broker)
        assert (await broker.stats())["m"].queued == 0

    async def test_a_caller_who_goes_away_only_asks_the_run_to_end(self, broker: Broker) -> None:
        prediction = await broker.submit(new(), keep=False)
        (claimed,) = await self.claim(broker)
        await broker.abandon(prediction.id)
        assert await broker.withdrawn("w", timeout=PATIENCE) == [Withdrawal(claimed.claim, False)]

    async def test_a_caller_who_goes_away_does_not_end_what_others_wait_for(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        await asyncio.sleep(0)
        await broker.abandon(prediction.id)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        record = await waiting
        assert record is not None
        assert record.status is Status.COMPLETED

    async def test_a_caller_who_goes_away_does_not_end_what_others_watch(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        watching = asyncio.create_task(
            broker.watch(prediction.id, Seen(Status.QUEUED), timeout=PATIENCE)
        )
        await asyncio.sleep(0)
        await broker.abandon(prediction.id)
        await self.claim(broker)
        news = await watching
        assert news is not None
        assert news.record.status is Status.PROCESSING

    async def test_a_caller_who_goes_away_does_not_end_what_is_kept(self, broker: Broker) -> None:
        kept = await broker.submit(new(), keep=True, waits=True)
        await broker.abandon(kept.id)
        assert [p.id for p in await self.claim(broker)] == [kept.id]

    async def test_a_worker_that_waits_is_told_when_the_broker_closes(self, broker: Broker) -> None:
        learning = asyncio.create_task(broker.withdrawn("w", timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await learning
