"""A worker whose broker goes away: no outcome is lost, and all goes on once it is back."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from tests.harness import PATIENCE, HeldRun, Holder, holder
from tests.leaving import LeavingBroker
from tests.replicas.test_pool import spec
from tests.worker.test_stopping import MODELS
from tests.worker.work import at_work
from zypher.brokers.base import Broker
from zypher.clock import SystemClock
from zypher.periodic import every
from zypher.prediction import Prediction, Status
from zypher.testing.contract.base import LIMITS, new
from zypher.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def working(replicas: int = 1) -> AbstractAsyncContextManager[tuple[Worker, LeavingBroker]]:
    """A worker that runs `deaf`, and its broker."""
    return at_work(LeavingBroker(LIMITS, SystemClock()), spec("deaf", MODELS), replicas)


async def submit(broker: Broker, held: Holder) -> Prediction:
    return await broker.submit(new("deaf", b"%d" % held.port), keep=True)


async def started(held: Holder) -> HeldRun:
    return await asyncio.to_thread(held.started)


async def result(broker: Broker, prediction: Prediction) -> tuple[bytes | None, int]:
    """The result once it is there, and of which attempt."""
    record = await broker.wait(prediction.id, PATIENCE)
    assert record is not None
    assert record.status is Status.COMPLETED
    return record.result, record.attempt


async def test_an_outcome_is_held_while_the_broker_is_away_and_told_when_it_is_back(
    held: Holder,
) -> None:
    async with working() as (_, broker):
        prediction = await submit(broker, held)
        run = await started(held)
        await broker.leave()
        run.finish("in the dark")
        await broker.once_asked("finish", 2)
        await broker.come_back()
        assert await result(broker, prediction) == (b'"in the dark"', 1)


async def test_a_crash_while_the_broker_is_away_is_told_when_it_is_back(held: Holder) -> None:
    async with working() as (worker, broker):
        prediction = await submit(broker, held)
        run = await started(held)
        await broker.leave()
        (pool,) = worker._pools
        (replica,) = pool.ready
        await replica.stop()
        run.close()
        await broker.once_asked("crash", 2)
        await broker.come_back()
        again = await started(held)
        again.finish("again")
        assert await result(broker, prediction) == (b'"again"', 2)
        record = await broker.get(prediction.id)
        assert record is not None
        assert record.crashes == 1


async def test_a_worker_claims_again_soon_after_its_broker_is_back(held: Holder) -> None:
    async with working() as (_, broker):
        await broker.leave()
        await broker.once_asked("claim", 5)
        await broker.come_back()
        back = time.monotonic()
        await submit(broker, held)
        (await started(held)).close()
        assert time.monotonic() - back < 5.0


async def test_a_broker_that_is_away_is_asked_ever_more_seldom(held: Holder) -> None:
    async with working() as (_, broker):
        await broker.leave()
        left = time.monotonic()
        await broker.once_asked("claim", 4)
        assert time.monotonic() - left > (0.1 + 0.2 + 0.4) / 2


async def test_a_replica_whose_outcomes_cannot_be_told_takes_no_more_than_it_has_room_for(
    held: Holder,
) -> None:
    async with working() as (_, broker):
        submitted = [await submit(broker, held) for _ in range(3)]
        first = await started(held)
        await broker.leave("finish")
        first.finish("first")
        await broker.once_asked("finish", 2)
        (await started(held)).finish("second")  # which was claimed as soon as there was room
        await broker.once_asked("finish", 2)
        assert (await broker.stats())["deaf"].queued == 1
        await broker.come_back()
        (await started(held)).finish("third")
        told = [await result(broker, prediction) for prediction in submitted]
        assert told == [(b'"first"', 1), (b'"second"', 1), (b'"third"', 1)]


async def test_nothing_is_claimed_while_leases_cannot_be_extended(held: Holder) -> None:
    async with working() as (worker, broker):
        first = await submit(broker, held)
        run = await started(held)
        await broker.leave("renew")
        renewing = asyncio.create_task(worker.renew())
        await broker.once_asked("renew")
        second = await submit(broker, held)
        run.finish()
        await result(broker, first)
        await broker.once_asked("renew", 2)
        assert (await broker.stats())["deaf"].queued == 1
        await broker.come_back()
        await renewing
        (await started(held)).finish("second")
        assert await result(broker, second) == (b'"second"', 1)


async def test_a_worker_that_stops_gives_its_broker_up_soon_after_the_grace(held: Holder) -> None:
    async with working() as (worker, broker):
        await submit(broker, held)
        run = await started(held)
        await broker.leave()
        run.finish()
        await broker.once_asked("finish")
        begun = time.monotonic()
        await worker.drain(grace=0.5)
        await worker.stop()
        assert 0.5 <= time.monotonic() - begun < 4.0


async def test_replicas_that_became_ready_while_the_broker_was_away_are_registered_later(
    held: Holder,
) -> None:
    async with working() as (worker, broker):
        await broker.leave("register_worker")
        (pool,) = worker._pools
        (replica,) = pool.ready
        await replica.stop()
        await broker.once_asked("register_worker")  # that it has none
        while not pool.ready:
            await asyncio.sleep(0.01)
        await broker.come_back()
        await worker.renew()
        assert [info.replicas["deaf"].ready for info in (await broker.workers()).values()] == [1]


async def test_a_duty_that_fails_at_once_is_not_tried_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = []

    async def fail() -> None:
        failures.append(time.monotonic())
        raise ZeroDivisionError

    duty = asyncio.create_task(every(0.0, fail, pause=0.2))
    while len(failures) < 2:
        await asyncio.sleep(0.01)
    duty.cancel()
    assert failures[1] - failures[0] >= 0.2
    assert "ZeroDivisionError" in caplog.text
