"""The contract of `zypher.brokers.base`, as tests that every broker passes.

A broker's test file is one subclass that says how to open it:

    class TestMemoryBroker(BrokerContract):
        async def open(self, limits: Limits, clock: ManualClock) -> Broker:
            return MemoryBroker(limits, clock)
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from zypher.brokers.base import Broker, Limits, ModelInfo, ReplicaCounts, WorkerInfo
from zypher.errors import Conflict, QueueFull, Unavailable
from zypher.prediction import Claim, Failure, Outcome, Prediction, Priority, Status, new_id
from zypher.testing.clock import ManualClock

GOOD = Outcome(result=b'"good"')
BAD = Outcome(failure=Failure("model_error", "The model raised ValueError: no."))
LIMITS = Limits(max_queued=100, max_queued_bytes=10_000, max_crashes=3, lease=30.0, ttl=3600.0)

# Longer than any wait in here takes when all is well; a wait that should not end is not tested.
_PATIENCE = 10.0


def new(model: str = "m", input: bytes = b"1", priority: Priority = Priority.NORMAL) -> Prediction:
    """A prediction that nobody has submitted yet."""
    return Prediction(id=new_id(), model=model, input=input, created=0.0, priority=priority)


@pytest.mark.anyio
class BrokerContract:
    """Subclass it and say how to `open` the broker."""

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        """A new, empty broker."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def broker(self, clock: ManualClock) -> AsyncIterator[Broker]:
        async with self.opened(LIMITS, clock) as broker:
            yield broker

    @asynccontextmanager
    async def opened(self, limits: Limits, clock: ManualClock) -> AsyncIterator[Broker]:
        broker = await self.open(limits, clock)
        try:
            yield broker
        finally:
            await broker.aclose()

    # What the tests are made of.

    async def submit(self, broker: Broker, count: int = 1, **fields: object) -> list[Prediction]:
        """Kept predictions, submitted in this order."""
        made = [new(**fields) for _ in range(count)]  # type: ignore[arg-type]
        return [await broker.submit(prediction, keep=True) for prediction in made]

    async def claim(
        self, broker: Broker, limit: int = 1, worker: str = "w", model: str = "m"
    ) -> Sequence[Prediction]:
        """What can be claimed now."""
        return await broker.claim(worker, model, limit=limit, timeout=0)

    async def running(self, broker: Broker) -> Prediction:
        """A prediction that was submitted and claimed."""
        await self.submit(broker)
        (claimed,) = await self.claim(broker)
        return claimed

    # Submitting and finding.

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

    async def test_an_unknown_id_is_nothing_to_every_verb(self, broker: Broker) -> None:
        id = new_id()
        assert await broker.get(id) is None
        assert await broker.wait(id, _PATIENCE) is None
        assert await broker.keep(id) is None
        assert await broker.position(id) is None
        assert await broker.cancel(id) is None
        assert await broker.delete(id) is False
        assert await broker.finish(Claim(id, 1), GOOD) is False
        assert await broker.release(Claim(id, 1)) is False
        assert await broker.renew("w", [Claim(id, 1)]) == {id}

    async def test_a_full_queue_refuses_and_has_room_again_after_a_claim(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(Limits(max_queued=10, waiting_share=0.0), clock) as broker:
            await self.submit(broker, 10)
            with pytest.raises(QueueFull, match="max-queued"):
                await self.submit(broker)
            await self.claim(broker)
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
        async with self.opened(Limits(max_queued_bytes=300, waiting_share=0.0), clock) as broker:
            await self.submit(broker, input=b"1" * 150)
            with pytest.raises(QueueFull, match="max-queued-bytes"):
                await self.submit(broker, input=b"1" * 150, model="other")
            await self.claim(broker)
            await self.submit(broker, input=b"1" * 150, model="other")

    # Claiming.

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
        claiming = asyncio.create_task(broker.claim("w", "m", limit=5, timeout=_PATIENCE))
        await asyncio.sleep(0)
        (submitted,) = await self.submit(broker)
        assert [p.id for p in await claiming] == [submitted.id]

    async def test_a_claim_returns_nothing_once_its_time_is_over(self, broker: Broker) -> None:
        assert not await broker.claim("w", "m", limit=1, timeout=0.01)

    async def test_every_waiting_claim_is_woken_while_there_is_work(self, broker: Broker) -> None:
        claiming = [
            asyncio.create_task(broker.claim("w", "m", limit=1, timeout=_PATIENCE))
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        submitted = await self.submit(broker, 5)
        claimed = [p.id for group in await asyncio.gather(*claiming) for p in group]
        assert sorted(claimed) == sorted(p.id for p in submitted)

    async def test_a_claim_that_is_cancelled_while_it_waits_loses_nothing(
        self, broker: Broker
    ) -> None:
        leaving = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=_PATIENCE))
        staying = asyncio.create_task(broker.claim("v", "m", limit=1, timeout=_PATIENCE))
        await asyncio.sleep(0)
        (submitted,) = await self.submit(broker)
        leaving.cancel()
        taken = await asyncio.gather(leaving, return_exceptions=True)
        if isinstance(taken[0], asyncio.CancelledError):
            assert [p.id for p in await staying] == [submitted.id]
        else:  # it had it already
            staying.cancel()

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

    async def test_the_position_of_a_queued_prediction_falls_as_others_are_claimed(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 4)
        assert await broker.position(submitted[3].id) == 3
        await self.claim(broker, 2)
        assert await broker.position(submitted[3].id) == 1
        assert await broker.position(submitted[0].id) is None

    # Finishing and waiting.

    async def test_a_finished_prediction_has_its_result(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        clock.advance(2)
        assert await broker.finish(claimed.claim, GOOD)
        found = await broker.get(claimed.id)
        assert found is not None
        assert (found.status, found.result) == (Status.COMPLETED, b'"good"')
        assert found.finished == clock.wall()

    async def test_a_failed_prediction_has_its_failure(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish(claimed.claim, BAD)
        found = await broker.get(claimed.id)
        assert found is not None
        assert (found.status, found.failure) == (Status.FAILED, BAD.failure)

    async def test_only_the_first_outcome_of_a_prediction_counts(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        assert await broker.finish(claimed.claim, GOOD)
        assert not await broker.finish(claimed.claim, BAD)
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
        assert not await broker.finish(stale.claim, BAD)
        assert await broker.finish(current.claim, GOOD)
        found = await broker.get(stale.id)
        assert found is not None
        assert found.status is Status.COMPLETED

    async def test_an_outcome_is_refused_while_its_prediction_is_queued_again(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        await broker.release(claimed.claim)
        assert not await broker.finish(claimed.claim, GOOD)

    async def test_all_who_wait_get_the_final_record(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        waiting = [asyncio.create_task(broker.wait(claimed.id, _PATIENCE)) for _ in range(3)]
        await asyncio.sleep(0)
        await broker.finish(claimed.claim, GOOD)
        records = await asyncio.gather(*waiting)
        assert [r.result for r in records if r] == [b'"good"'] * 3

    async def test_a_wait_on_a_finished_prediction_returns_at_once(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish(claimed.claim, GOOD)
        record = await broker.wait(claimed.id, _PATIENCE)
        assert record is not None
        assert record.status is Status.COMPLETED

    async def test_a_wait_whose_time_is_over_returns_the_record_as_it_stands(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        assert await broker.wait(claimed.id, 0.01) == claimed

    async def test_a_wait_that_is_cancelled_leaves_the_others_waiting(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        leaving = asyncio.create_task(broker.wait(claimed.id, _PATIENCE))
        staying = asyncio.create_task(broker.wait(claimed.id, _PATIENCE))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await broker.finish(claimed.claim, GOOD)
        record = await staying
        assert record is not None
        assert record.status is Status.COMPLETED

    async def test_an_unkept_prediction_is_forgotten_once_its_outcome_was_delivered(
        self, broker: Broker
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, _PATIENCE))
        await asyncio.sleep(0)
        (claimed,) = await self.claim(broker)
        await broker.finish(claimed.claim, GOOD)
        assert await waiting is not None
        assert await broker.get(prediction.id) is None

    async def test_an_unkept_outcome_that_nobody_took_can_still_be_kept(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await broker.submit(new(), keep=False)
        assert await broker.wait(prediction.id, 0.01) == prediction
        (claimed,) = await self.claim(broker)
        await broker.finish(claimed.claim, GOOD)
        kept = await broker.keep(prediction.id)
        assert kept is not None
        assert kept.status is Status.COMPLETED
        clock.advance(LIMITS.ttl - 1)
        await broker.purge()
        assert await broker.get(prediction.id) is not None

    # Giving back, crashes, leases.

    async def test_a_released_prediction_is_first_in_line_again_and_charged_nothing(
        self, broker: Broker
    ) -> None:
        first, _ = await self.submit(broker, 2)
        (claimed,) = await self.claim(broker)
        assert await broker.release(claimed.claim)
        (again,) = await self.claim(broker)
        assert again.id == first.id
        assert (again.attempt, again.crashes) == (2, 0)

    async def test_a_release_by_an_older_attempt_is_refused(self, broker: Broker) -> None:
        stale = await self.running(broker)
        await broker.release(stale.claim)
        (current,) = await self.claim(broker)
        assert not await broker.release(stale.claim)
        assert await broker.get(current.id) == current

    async def test_a_prediction_that_crashes_alone_fails_after_max_crashes(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        for crashes in range(LIMITS.max_crashes):
            (claimed,) = await self.claim(broker)
            assert claimed.crashes == crashes
            await broker.crash([claimed.claim])
        failed = await broker.get(prediction.id)
        assert failed is not None
        assert failed.failure is not None
        assert (failed.status, failed.failure.code) == (Status.FAILED, "model_crashed")
        assert failed.crashes == LIMITS.max_crashes
        assert not await self.claim(broker)

    async def test_who_was_in_a_crash_with_others_is_charged_nothing(self, broker: Broker) -> None:
        await self.submit(broker, 4)
        await broker.crash([p.claim for p in await self.claim(broker, 4)])
        suspects = await self.claim(broker, 4)
        assert [(p.crashes, p.company) for p in suspects] == [(0, 2), (0, 2)]

    async def test_suspects_are_never_claimed_together_with_others(self, broker: Broker) -> None:
        await self.submit(broker, 2)
        await broker.crash([p.claim for p in await self.claim(broker, 2)])
        innocent = await self.submit(broker, 2)
        groups = [[p.id for p in await self.claim(broker, 4)] for _ in range(3)]
        assert [len(group) for group in groups] == [1, 1, 2]
        assert groups[2] == [p.id for p in innocent]

    async def test_a_suspect_never_joins_more_suspects_than_its_own_company_allows(
        self, broker: Broker
    ) -> None:
        await self.submit(broker, 10)
        eight, two = await self.claim(broker, 8), await self.claim(broker, 2)
        await broker.crash([p.claim for p in eight])
        await broker.crash([p.claim for p in two])
        for cleared in (await self.claim(broker, 4))[:2], (await self.claim(broker, 4)):
            for suspect in cleared:
                await broker.finish(suspect.claim, GOOD)
        for claimed in (await broker.list(status=Status.PROCESSING)).predictions:
            await broker.release(claimed.claim)
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
                await broker.crash([p.claim for p in batch])
            else:
                for neighbour in batch:
                    await broker.finish(neighbour.claim, GOOD)
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

    async def test_a_renewed_lease_holds(self, broker: Broker, clock: ManualClock) -> None:
        claimed = await self.running(broker)
        for _ in range(5):
            clock.advance(LIMITS.lease - 1)
            assert await broker.renew("w", [claimed.claim]) == set()
            assert await broker.reclaim() == 0
        assert await broker.finish(claimed.claim, GOOD)

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
        assert await broker.renew("w", [stale.claim]) == {stale.id}
        assert await broker.renew("v", [current.claim]) == set()

    async def test_renewing_tells_of_predictions_that_were_canceled_or_ended(
        self, broker: Broker
    ) -> None:
        canceled, ended = await self.running(broker), await self.running(broker)
        await broker.cancel(canceled.id)
        await broker.finish(ended.claim, GOOD)
        lost = await broker.renew("w", [canceled.claim, ended.claim])
        assert lost == {canceled.id, ended.id}

    # Canceling, forgetting, expiring.

    async def test_a_canceled_prediction_is_never_claimed(self, broker: Broker) -> None:
        (prediction, other) = await self.submit(broker, 2)
        canceled = await broker.cancel(prediction.id)
        assert canceled is not None
        assert canceled.status is Status.CANCELED
        assert [p.id for p in await self.claim(broker, 2)] == [other.id]

    async def test_cancelling_a_running_prediction_is_final_at_once(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        waiting = asyncio.create_task(broker.wait(claimed.id, _PATIENCE))
        await asyncio.sleep(0)
        await broker.cancel(claimed.id)
        record = await waiting
        assert record is not None
        assert record.status is Status.CANCELED
        assert not await broker.finish(claimed.claim, GOOD)

    async def test_a_prediction_that_has_ended_cannot_be_canceled(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.finish(claimed.claim, GOOD)
        with pytest.raises(Conflict):
            await broker.cancel(claimed.id)

    async def test_a_final_record_never_changes_again(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        await broker.finish(claimed.claim, GOOD)
        final = await broker.get(claimed.id)
        await broker.crash([claimed.claim])
        await broker.release(claimed.claim)
        clock.advance(LIMITS.lease)
        await broker.reclaim()
        await broker.keep(claimed.id)
        assert await broker.get(claimed.id) == final

    async def test_a_finished_prediction_is_kept_for_its_ttl_and_then_forgotten(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        claimed = await self.running(broker)
        await broker.finish(claimed.claim, GOOD)
        clock.advance(LIMITS.ttl - 1)
        assert await broker.purge() == 0
        assert await broker.get(claimed.id) is not None
        clock.advance(1)
        assert await broker.get(claimed.id) is None
        assert await broker.purge() == 1

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
        with pytest.raises(Conflict):
            await broker.delete(claimed.id)
        await broker.finish(claimed.claim, GOOD)
        assert await broker.delete(claimed.id)
        assert await broker.get(claimed.id) is None

    # Looking.

    async def test_a_listing_shows_the_newest_first_without_inputs_and_results(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 3, input=b"12345")
        (claimed,) = await self.claim(broker)
        await broker.finish(claimed.claim, GOOD)
        page = await broker.list()
        assert [p.id for p in page.predictions] == sorted((p.id for p in submitted), reverse=True)
        assert {(p.input, p.result) for p in page.predictions} == {(b"", None)}
        assert page.cursor is None

    async def test_a_listing_can_be_filtered_by_status_and_model(self, broker: Broker) -> None:
        await self.submit(broker, 2)
        (other,) = await self.submit(broker, model="other")
        (claimed,) = await self.claim(broker)
        by_status = await broker.list(status=Status.PROCESSING)
        assert [p.id for p in by_status.predictions] == [claimed.id]
        by_model = await broker.list(model="other")
        assert [p.id for p in by_model.predictions] == [other.id]

    async def test_the_pages_of_a_listing_are_stable_while_others_submit(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 5)
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page = await broker.list(limit=2, cursor=cursor)
            seen += [p.id for p in page.predictions]
            cursor = page.cursor
            await self.submit(broker)
        assert seen == sorted((p.id for p in submitted), reverse=True)
        assert cursor is None

    async def test_a_listing_leaves_out_what_is_not_kept(self, broker: Broker) -> None:
        await broker.submit(new(), keep=False)
        assert not (await broker.list()).predictions

    async def test_the_stats_count_what_waits_and_what_runs(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.submit(broker, 3, input=b"12345")
        await self.claim(broker)
        clock.advance(4)
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.processing) == (2, 1)
        assert stats.queued_bytes == 2 * new(input=b"12345").size
        assert (stats.oldest_queued_age, stats.oldest_processing_age) == (4, 4)
        assert stats.service_time is None

    async def test_the_stats_come_down_to_nothing_when_all_is_done(self, broker: Broker) -> None:
        (canceled, *_) = await self.submit(broker, 5)
        await broker.cancel(canceled.id)
        for claimed in await self.claim(broker, 5):
            await broker.finish(claimed.claim, GOOD)
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.queued_bytes, stats.processing) == (0, 0, 0)

    async def test_the_service_time_follows_the_runs(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        for _ in range(30):
            claimed = await self.running(broker)
            clock.advance(10)
            await broker.finish(claimed.claim, GOOD)
        assert (await broker.stats())["m"].service_time == pytest.approx(10)
        for _ in range(30):
            claimed = await self.running(broker)
            clock.advance(2)
            await broker.finish(claimed.claim, GOOD)
        assert (await broker.stats())["m"].service_time == pytest.approx(2, abs=0.1)

    async def test_models_are_known_once_registered_the_first_being_the_default(
        self, broker: Broker
    ) -> None:
        for name in ("b", "a"):
            await broker.register_model(ModelInfo(name=name, description="", input_schema={}))
        newer = ModelInfo(name="b", description="newer", input_schema={"type": "string"})
        await broker.register_model(newer)
        models = await broker.models()
        assert list(models) == ["b", "a"]
        assert models["b"] == newer
        assert set(await broker.stats()) == {"a", "b"}

    async def test_workers_are_known_until_they_are_forgotten(self, broker: Broker) -> None:
        worker = WorkerInfo(id="w", host="h", pid=1, replicas={"m": ReplicaCounts(ready=2)})
        await broker.register_worker(worker)
        assert await broker.workers() == {"w": worker}
        await broker.forget_worker("w")
        assert await broker.workers() == {}

    # The end.

    async def test_closing_tells_those_who_wait_and_refuses_what_comes(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        waiting = asyncio.create_task(broker.wait(prediction.id, _PATIENCE))
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await self.submit(broker)
        await broker.aclose()

    async def test_the_guarantee_is_one_sentence(self, broker: Broker) -> None:
        guarantee = broker.guarantee()
        assert guarantee.endswith(".")
        assert guarantee.count(". ") == 0
