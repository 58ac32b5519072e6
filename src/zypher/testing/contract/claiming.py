"""Claiming: what is taken, in which order, and how claims wait."""

import asyncio
from collections import Counter

import pytest

from zypher.brokers.base import MOST_AHEAD, Broker, Limits
from zypher.prediction import Options, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import PATIENCE, BrokerTests, new


class Claiming(BrokerTests):
    """Claiming: what is taken, in which order, and how claims wait."""

    async def test_a_claim_takes_the_oldest_first_and_each_only_once(self, broker: Broker) -> None:
        submitted = await self.submit(broker, 3)
        first = await self.claim(broker, 2)
        second = await self.claim(broker, 2)
        assert [p.id for p in [*first, *second]] == [p.id for p in submitted]
        assert not await self.claim(broker)

    async def test_a_claimed_prediction_is_processing_with_its_attempt_counted(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        assert (claimed.status, claimed.attempt) == (Status.PROCESSING, 1)
        assert claimed.started == clock.wall()
        assert await broker.get(claimed.id) == claimed

    async def test_a_claim_takes_only_its_own_model(self, broker: Broker) -> None:
        await self.submit(broker, model="other")
        assert not await self.claim(broker)

    async def test_a_claim_that_waits_is_woken_by_a_submission(self, broker: Broker) -> None:
        claiming = asyncio.create_task(broker.claim("w", "m", limit=5, timeout=PATIENCE))
        await asyncio.sleep(0)
        (submitted,) = await self.submit(broker)
        assert [p.id for p in await claiming] == [submitted.id]

    async def test_a_claim_that_waits_is_woken_by_what_is_given_back(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        claiming = asyncio.create_task(broker.claim("v", "m", limit=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        await broker.release([claimed.claim])
        async with asyncio.timeout(PATIENCE / 2):  # woken, not out of patience
            assert [p.id for p in await claiming] == [claimed.id]

    async def test_a_claim_returns_nothing_once_its_time_is_over(self, broker: Broker) -> None:
        assert not await broker.claim("w", "m", limit=1, timeout=0.01)

    async def test_every_waiting_claim_is_woken_while_there_is_work(self, broker: Broker) -> None:
        claiming = [
            asyncio.create_task(broker.claim("w", "m", limit=1, timeout=PATIENCE)) for _ in range(5)
        ]
        await asyncio.sleep(0)
        submitted = await self.submit(broker, 5)
        claimed = [p.id for group in await asyncio.gather(*claiming) for p in group]
        assert sorted(claimed) == sorted(p.id for p in submitted)

    async def test_a_claim_that_is_cancelled_while_it_waits_loses_nothing(
        self, broker: Broker
    ) -> None:
        leaving = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=PATIENCE))
        staying = asyncio.create_task(broker.claim("v", "m", limit=1, timeout=PATIENCE))
        await asyncio.sleep(0)
        (submitted,) = await self.submit(broker)
        leaving.cancel()
        taken = await asyncio.gather(leaving, return_exceptions=True)
        if isinstance(taken[0], asyncio.CancelledError):
            async with asyncio.timeout(PATIENCE / 2):  # woken, not out of patience
                assert [p.id for p in await staying] == [submitted.id]
        else:  # it had it already
            staying.cancel()

    async def test_what_is_claimed_ahead_is_all_that_was_asked_for_or_nothing(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 2)
        assert not await broker.claim_ahead("w", "m", limit=3)
        ahead = await broker.claim_ahead("w", "m", limit=2)
        assert [p.id for p in ahead] in ([], [p.id for p in submitted])
        await broker.release([p.claim for p in ahead])
        assert [p.id for p in await self.claim(broker, 3)] == [p.id for p in submitted]

    @pytest.mark.parametrize("options", [Options(queue_timeout=5), Options(run_timeout=5)])
    async def test_nothing_is_claimed_ahead_that_has_a_clock_of_its_run(
        self, broker: Broker, options: Options
    ) -> None:
        submitted = await self.submit(broker)
        timed = new(options=options)
        await broker.submit(timed, keep=True)
        assert not await broker.claim_ahead("w", "m", limit=2)
        assert [p.id for p in await self.claim(broker, 3)] == [submitted[0].id, timed.id]

    async def test_nothing_is_claimed_ahead_that_takes_long_to_arrive(
        self, clock: ManualClock
    ) -> None:
        half = b'"%b"' % (b"x" * (MOST_AHEAD // 2))
        async with self.opened(Limits(), clock) as broker:
            submitted = await self.submit(broker, 2, input=half)
            assert not await broker.claim_ahead("w", "m", limit=2)
            assert [p.id for p in await self.claim(broker, 2)] == [p.id for p in submitted]

    async def test_the_lanes_share_thirteen_claims_eight_to_four_to_one(
        self, broker: Broker
    ) -> None:
        for priority in Priority:
            await self.submit(broker, 26, priority=priority)
        claimed = [(await self.claim(broker))[0].priority for _ in range(26)]
        assert Counter(claimed) == {Priority.HIGH: 16, Priority.NORMAL: 8, Priority.LOW: 2}
        assert Counter(claimed[:13]) == {Priority.HIGH: 8, Priority.NORMAL: 4, Priority.LOW: 1}

    async def test_a_lane_alone_gets_all_claims(self, broker: Broker) -> None:
        await self.submit(broker, 20, priority=Priority.LOW)
        assert len(await self.claim(broker, 20)) == 20

    async def test_a_caller_who_waits_goes_ahead_of_kept_predictions(self, broker: Broker) -> None:
        await self.submit(broker, 5)
        waited_for = await broker.submit(new(), keep=False)
        (claimed,) = await self.claim(broker)
        assert claimed.id == waited_for.id

    async def test_a_prediction_that_became_a_kept_one_waits_in_its_own_lane(
        self, broker: Broker
    ) -> None:
        waited_for = await broker.submit(new(priority=Priority.LOW), keep=False)
        (normal,) = await self.submit(broker)
        await broker.keep(waited_for.id)
        claimed = await self.claim(broker, 2)
        assert [p.id for p in claimed] == [normal.id, waited_for.id]

    async def test_a_prediction_that_became_a_kept_one_has_its_place_by_its_submission(
        self, broker: Broker
    ) -> None:
        waited_for = await broker.submit(new(), keep=False)
        (later,) = await self.submit(broker)
        await broker.keep(waited_for.id)
        claimed = await self.claim(broker, 2)
        assert [p.id for p in claimed] == [waited_for.id, later.id]

    async def test_keeping_a_prediction_that_stays_in_its_lane_queues_it_once(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(priority=Priority.HIGH), keep=False)
        await broker.keep(prediction.id)
        assert [p.id for p in await self.claim(broker, 5)] == [prediction.id]
        assert (await broker.stats())["m"].queued == 0

    async def test_the_position_of_a_queued_prediction_falls_as_others_are_claimed(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 4)
        assert await broker.position(submitted[3].id) == 3
        await self.claim(broker, 2)
        assert await broker.position(submitted[3].id) == 1
        assert await broker.position(submitted[0].id) is None

    async def test_the_position_counts_what_other_lanes_have_ahead(self, broker: Broker) -> None:
        lanes = [
            await self.submit(broker, 26, priority=priority)  # two rounds of claims
            for priority in Priority
        ]
        last = [await broker.position(lane[-1].id) for lane in lanes]
        order = [claimed.id for claimed in await self.claim(broker, 78)]
        assert last == pytest.approx([order.index(lane[-1].id) for lane in lanes], abs=13)
