"""Giving back, crashes and leases: what becomes of runs that were lost."""

import asyncio

import pytest

from zypher.brokers.base import Broker
from zypher.prediction import Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, BrokerTests, new


class Crashes(BrokerTests):
    """Giving back, crashes and leases: what becomes of runs that were lost."""

    async def test_a_released_prediction_is_first_in_line_again_and_charged_nothing(
        self, broker: Broker
    ) -> None:
        first, _ = await self.submit(broker, 2)
        (claimed,) = await self.claim(broker)
        await broker.release([claimed.claim])
        (again,) = await self.claim(broker)
        assert again.id == first.id
        assert (again.attempt, again.crashes) == (2, 0)

    async def test_a_release_by_an_older_attempt_is_refused(self, broker: Broker) -> None:
        stale = await self.running(broker)
        await broker.release([stale.claim])
        (current,) = await self.claim(broker)
        await broker.release([stale.claim])
        assert await broker.get(current.id) == current

    async def test_those_that_were_given_back_keep_the_order_of_their_submission(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        submitted = await self.submit(broker, 4)
        first, second, third, _ = await self.claim(broker, 4)
        await broker.release([third.claim])
        await broker.crash([second.claim], "was killed")
        await broker.release([first.claim])
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        again = [(await self.claim(broker))[0].id for _ in submitted]
        assert again == [p.id for p in submitted]

    async def test_a_prediction_that_crashes_alone_fails_after_max_crashes(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        for crashes in range(LIMITS.max_crashes):
            (claimed,) = await self.claim(broker)
            assert claimed.crashes == crashes
            await broker.crash([claimed.claim], "was killed")
        failed = await broker.get(prediction.id)
        assert failed is not None
        assert failed.failure is not None
        assert (failed.status, failed.failure.code) == (Status.FAILED, "model_crashed")
        assert "was killed" in failed.failure.detail
        assert failed.crashes == LIMITS.max_crashes
        assert not await self.claim(broker)

    async def test_who_was_in_a_crash_with_others_is_charged_nothing(self, broker: Broker) -> None:
        await self.submit(broker, 4)
        await broker.crash([p.claim for p in await self.claim(broker, 4)], "was killed")
        suspects = await self.claim(broker, 4)
        assert [(p.crashes, p.company) for p in suspects] == [(0, 2), (0, 2)]

    async def test_a_claim_that_was_lost_before_the_crash_is_left_alone_and_was_company(
        self, broker: Broker
    ) -> None:
        await self.submit(broker, 2)
        lost, held = await self.claim(broker, 2)
        canceled = await broker.cancel(lost.id)
        await broker.crash([lost.claim, held.claim], "was killed")
        assert await broker.get(lost.id) == canceled
        (suspect,) = await self.claim(broker, 2)
        assert (suspect.id, suspect.crashes, suspect.company) == (held.id, 0, 1)

    async def test_a_suspect_that_is_released_stays_one(self, broker: Broker) -> None:
        await self.submit(broker, 4)
        await broker.crash([p.claim for p in await self.claim(broker, 4)], "was killed")
        await broker.release([p.claim for p in await self.claim(broker, 4)])
        assert [p.company for p in await self.claim(broker, 4)] == [2, 2]

    async def test_suspects_are_never_claimed_together_with_others(self, broker: Broker) -> None:
        await self.submit(broker, 2)
        await broker.crash([p.claim for p in await self.claim(broker, 2)], "was killed")
        innocent = await self.submit(broker, 2)
        groups = [[p.id for p in await self.claim(broker, 4)] for _ in range(3)]
        assert [len(group) for group in groups] == [1, 1, 2]
        assert groups[2] == [p.id for p in innocent]

    async def test_a_claim_may_pass_over_suspects_which_keep_their_places(
        self, broker: Broker
    ) -> None:
        (given_back,) = await self.submit(broker)
        (claimed,) = await self.claim(broker)
        suspects = await self.submit(broker, 2)
        await broker.crash([p.claim for p in await self.claim(broker, 2)], "was killed")
        await broker.release([claimed.claim])
        behind = await self.submit(broker, 2)
        taken = await broker.claim("w", "m", limit=9, timeout=0, suspects=False)
        assert [p.id for p in taken] == [p.id for p in [given_back, *behind]]
        assert not await broker.claim("w", "m", limit=9, timeout=0, suspects=False)
        stats = (await broker.stats())["m"]
        assert (stats.queued, sum(stats.waiting)) == (2, 2)
        assert await broker.position(suspects[0].id) == 0
        await self.submit(broker)
        groups = [[p.id for p in await self.claim(broker, 9)] for _ in range(2)]
        assert groups == [[p.id] for p in suspects]

    async def test_a_claim_that_passes_over_suspects_leaves_them_to_one_that_waits_for_anything(
        self, broker: Broker
    ) -> None:
        await self.submit(broker, 2)
        claimed = await self.claim(broker, 2)
        await broker.cancel(claimed[0].id)  # one suspect is left, and one bell rings
        choosy, anything = (
            asyncio.create_task(
                broker.claim("v", "m", limit=1, timeout=PATIENCE, suspects=suspects)
            )
            for suspects in (False, True)
        )
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE / 2):  # woken, not out of patience
            await broker.crash([p.claim for p in claimed], "was killed")
            assert [p.company for p in await anything] == [1]
            assert not choosy.done()
            (innocent,) = await self.submit(broker)
            assert [p.id for p in await choosy] == [innocent.id]

    async def test_a_suspect_that_is_canceled_while_it_waits_is_gone(self, broker: Broker) -> None:
        submitted = await self.submit(broker, 2)
        await broker.crash([p.claim for p in await self.claim(broker, 2)], "was killed")
        await broker.cancel(submitted[0].id)
        assert [p.id for p in await self.claim(broker, 2)] == [submitted[1].id]
        assert not await self.claim(broker, 2)
        assert (await broker.stats())["m"].waiting == (0, 0, 0)

    async def test_a_suspect_never_joins_more_suspects_than_its_own_company_allows(
        self, broker: Broker
    ) -> None:
        await self.submit(broker, 10)
        eight, two = await self.claim(broker, 8), await self.claim(broker, 2)
        await broker.crash([p.claim for p in eight], "was killed")
        await broker.crash([p.claim for p in two], "was killed")
        for cleared in (await self.claim(broker, 4))[:2], (await self.claim(broker, 4)):
            for suspect in cleared:
                await broker.finish([(suspect.claim, GOOD)])
        for claimed in (await broker.list(status=Status.PROCESSING)).predictions:
            await broker.release([claimed.claim])
        groups = [await self.claim(broker, 10) for _ in range(3)]
        assert [[p.company for p in group] for group in groups] == [[4, 4], [1], [1]]

    @pytest.mark.parametrize("position", [0, 41, 99])
    async def test_a_poison_prediction_fails_and_all_its_neighbours_complete(
        self, broker: Broker, position: int
    ) -> None:
        predictions = [await broker.submit(new(), keep=False) for _ in range(100)]
        predictions = [p for p in predictions if await broker.keep(p.id)]
        poison = predictions[position].id
        crashes = 0
        while batch := await self.claim(broker, 32):
            if poison in [p.id for p in batch]:
                crashes += 1
                await broker.crash([p.claim for p in batch], "was killed")
            else:
                for neighbour in batch:
                    await broker.finish([(neighbour.claim, GOOD)])
        records = [await broker.get(p.id) for p in predictions]
        failed = [r for r in records if r and r.status is Status.FAILED]
        completed = [r for r in records if r and r.status is Status.COMPLETED]
        assert [r.id for r in failed] == [poison]
        assert len(completed) == 99
        assert {r.crashes for r in completed} == {0}
        assert crashes <= 5 + LIMITS.max_crashes  # 32, 16, 8, 4, 2, then alone

    async def test_a_claim_whose_lease_ran_out_is_taken_back_as_a_crash(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        clock.advance(LIMITS.lease - 1)
        assert await broker.reclaim() == 0
        clock.advance(1)
        assert await broker.reclaim() == 1
        (again,) = await self.claim(broker)
        assert (again.id, again.attempt, again.crashes) == (claimed.id, 2, 1)

    async def test_those_that_are_lost_with_their_worker_are_suspects(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.submit(broker, 7)
        of_one = {p.id for p in await self.claim(broker, 4)}
        of_another = {p.id for p in await self.claim(broker, 2, worker="v")}
        (alone,) = await self.claim(broker, worker="u")
        clock.advance(LIMITS.lease)
        assert await broker.reclaim() == 7
        again = [p for _ in range(5) for p in await self.claim(broker, 4)]
        assert {p.id for p in again if (p.crashes, p.company) == (0, 2)} == of_one
        assert {p.id for p in again if (p.crashes, p.company) == (0, 1)} == of_another
        assert [p.id for p in again if (p.crashes, p.company) == (1, 1)] == [alone.id]

    async def test_a_suspect_that_is_lost_with_its_worker_had_the_company_that_it_may_have(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.submit(broker, 4)
        await broker.crash([p.claim for p in await self.claim(broker, 4)], "was killed")
        held = [p for _ in range(2) for p in await self.claim(broker, 4)]
        assert [p.company for p in held] == [2, 2, 2, 2]
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        again = [p for _ in held for p in await self.claim(broker, 4)]
        assert [(p.crashes, p.company) for p in again] == [(0, 1)] * 4

    async def test_a_renewed_lease_holds(self, broker: Broker, clock: ManualClock) -> None:
        claimed = await self.running(broker)
        for _ in range(5):
            clock.advance(LIMITS.lease - 1)
            assert await broker.renew("w", [claimed.claim]) == set()
            assert await broker.reclaim() == 0
        assert not await broker.finish([(claimed.claim, GOOD)])

    async def test_a_lease_does_not_notice_when_the_wall_clock_jumps(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.running(broker)
        clock.jump(3600)
        assert await broker.reclaim() == 0
        clock.jump(-7200)
        clock.advance(LIMITS.lease)
        assert await broker.reclaim() == 1

    async def test_a_lease_is_not_renewed_for_a_worker_that_lost_it(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        stale = await self.running(broker)
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        (current,) = await self.claim(broker, worker="v")
        assert await broker.renew("w", [stale.claim]) == {stale.claim}
        assert await broker.renew("v", [current.claim]) == set()

    async def test_a_lease_is_renewed_only_for_the_worker_that_has_it(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        clock.advance(LIMITS.lease - 1)
        assert await broker.renew("v", [claimed.claim]) == {claimed.claim}
        clock.advance(1)
        assert await broker.reclaim() == 1

    async def test_renewing_tells_of_predictions_that_were_canceled_or_ended(
        self, broker: Broker
    ) -> None:
        canceled, ended = await self.running(broker), await self.running(broker)
        await broker.cancel(canceled.id)
        await broker.finish([(ended.claim, GOOD)])
        lost = await broker.renew("w", [canceled.claim, ended.claim])
        assert lost == {canceled.claim, ended.claim}
