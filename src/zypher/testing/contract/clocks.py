"""The three clocks of a prediction, its ttl, and its retries."""

import asyncio

import pytest

from zypher.brokers.base import Broker, Withdrawal
from zypher.prediction import Options, Prediction, Status, retry_delay
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, PATIENCE, BrokerTests, new

RAISED_TWICE = 2


class Clocks(BrokerTests):
    """The three clocks of a prediction, its ttl, and its retries."""

    async def with_options(
        self, broker: Broker, clock: ManualClock, **options: float
    ) -> Prediction:
        """A kept prediction that was submitted now."""
        made = new(created=clock.wall(), options=Options(**options))  # type: ignore[arg-type]
        return await broker.submit(made, keep=True)

    async def code(self, broker: Broker, prediction: Prediction) -> str | None:
        """Why it failed, if it did."""
        record = await broker.get(prediction.id)
        assert record is not None
        return None if record.failure is None else record.failure.code

    @pytest.mark.parametrize("name", ["queue_timeout", "deadline"])
    async def test_what_waits_too_long_fails_and_is_never_claimed(
        self, broker: Broker, clock: ManualClock, name: str
    ) -> None:
        late = await self.with_options(broker, clock, **{name: 10})
        waiting = asyncio.create_task(broker.wait(late.id, PATIENCE))
        await asyncio.sleep(0)
        clock.advance(9)
        assert await broker.enforce_clocks() == 0
        clock.advance(1)
        assert await broker.enforce_clocks() == 1
        assert not await self.claim(broker)
        record = await waiting
        assert record is not None
        assert record.failure is not None
        assert (record.status, record.failure.code) == (Status.FAILED, name)
        assert f"{name} (10 s)" in record.failure.detail
        assert (await broker.stats())["m"].queued == 0

    @pytest.mark.parametrize("name", ["run_timeout", "deadline"])
    async def test_what_runs_too_long_fails_and_its_worker_has_to_stop_it(
        self, broker: Broker, clock: ManualClock, name: str
    ) -> None:
        late = await self.with_options(broker, clock, **{name: 10})
        (claimed,) = await self.claim(broker)
        clock.advance(10)
        await broker.enforce_clocks()
        assert await self.code(broker, late) == name
        assert await broker.withdrawn("w", timeout=PATIENCE) == [Withdrawal(claimed.claim, True)]
        assert await broker.finish([(claimed.claim, GOOD)]) == {claimed.claim}
        assert await self.code(broker, late) == name

    async def test_a_queue_timeout_is_over_with_the_first_start(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, queue_timeout=10)
        (claimed,) = await self.claim(broker)
        await broker.release([claimed.claim])
        clock.advance(20)
        assert await broker.enforce_clocks() == 0
        assert [p.id for p in await self.claim(broker)] == [prediction.id]

    async def test_each_run_has_the_whole_run_timeout(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, run_timeout=10)
        for _ in range(2):
            (claimed,) = await self.claim(broker)
            clock.advance(9)
            assert await broker.enforce_clocks() == 0
            await broker.release([claimed.claim])
        await self.claim(broker)
        clock.advance(10)
        await broker.enforce_clocks()
        assert await self.code(broker, prediction) == "run_timeout"

    async def test_the_clock_that_runs_out_first_is_named(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, deadline=10, queue_timeout=20)
        clock.advance(30)
        await broker.enforce_clocks()
        assert await self.code(broker, prediction) == "deadline"

    async def test_clocks_stop_nothing_that_has_ended(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        done = await self.with_options(broker, clock, deadline=10, run_timeout=10)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        clock.advance(20)
        assert await broker.enforce_clocks() == 0
        assert await self.code(broker, done) is None

    async def test_clocks_do_not_notice_when_the_wall_clock_jumps(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.with_options(broker, clock, run_timeout=10)
        await self.claim(broker)
        clock.jump(3600)
        assert await broker.enforce_clocks() == 0
        clock.jump(-7200)
        clock.advance(10)
        assert await broker.enforce_clocks() == 1

    async def test_a_ttl_of_its_own_is_how_long_a_prediction_is_kept(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, ttl=10)
        await broker.cancel(prediction.id)
        clock.advance(9)
        assert await broker.get(prediction.id) is not None
        clock.advance(1)
        assert await broker.get(prediction.id) is None

    async def test_what_the_model_raised_in_is_run_again_after_a_pause_if_asked_for(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, retries=RAISED_TWICE)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        for attempt in range(1, RAISED_TWICE + 1):
            (claimed,) = await self.claim(broker)
            assert (claimed.attempt, claimed.retried) == (attempt, attempt - 1)
            assert not await broker.finish([(claimed.claim, BAD)])
            pause = retry_delay(prediction.id, claimed.retried)
            clock.advance(pause * 0.99)
            await broker.enforce_clocks()
            assert not await self.claim(broker)
            clock.advance(pause * 0.02)
            await broker.enforce_clocks()
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        record = await waiting
        assert record is not None
        assert (record.status, record.failure) == (Status.FAILED, BAD.failure)
        assert (record.crashes, (await broker.stats())["m"].retried) == (0, RAISED_TWICE)

    async def test_a_retry_that_goes_well_is_the_end(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, retries=5)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        clock.advance(2)
        await broker.enforce_clocks()
        (again,) = await self.claim(broker)
        await broker.finish([(again.claim, GOOD)])
        assert await self.code(broker, prediction) is None

    async def test_a_retry_that_would_come_too_late_is_not_waited_for(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, retries=5, deadline=0.4)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        assert await self.code(broker, prediction) == "model_error"

    async def test_what_is_past_its_deadline_when_its_pause_is_over_is_not_run_again(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        late = await self.with_options(broker, clock, retries=1, deadline=2)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        clock.advance(2)
        await broker.enforce_clocks()
        assert not await self.claim(broker)
        assert await self.code(broker, late) == "deadline"

    async def test_a_prediction_that_pauses_can_be_canceled(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        prediction = await self.with_options(broker, clock, retries=5)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        await broker.cancel(prediction.id)
        clock.advance(2)
        await broker.enforce_clocks()
        assert not await self.claim(broker)
        assert (await broker.stats())["m"].queued == 0

    async def test_the_clocks_of_what_is_kept_at_the_end_of_its_pause_run_on(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        wanted = Options(retries=1, deadline=30)
        late = new(created=clock.wall(), options=wanted)
        await broker.submit(late, keep=False)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        clock.advance(1)
        await broker.keep(late.id)
        clock.advance(30)
        await broker.enforce_clocks()
        assert await self.code(broker, late) == "deadline"

    async def test_a_pause_that_is_over_does_not_begin_again_as_the_wall_clock_jumps(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        again = new(created=clock.wall(), options=Options(retries=1))
        await broker.submit(again, keep=False)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        clock.advance(1)
        await broker.enforce_clocks()
        clock.jump(-3600)
        await broker.keep(again.id)
        assert [p.id for p in await self.claim(broker)] == [again.id]
