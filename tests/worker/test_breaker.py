"""A model that fails in one prediction after the other is taken out of service, and put back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.harness import PATIENCE
from tests.replicas.test_hardware import MODELS
from tests.replicas.test_pool import spec
from tests.worker.test_worker import outcomes
from tests.worker.work import at_work
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.prediction import Prediction, Status
from zypher.testing.contract.base import LIMITS, new
from zypher.worker import Worker, breaker

pytestmark = pytest.mark.anyio

LIMIT = 3


@pytest.fixture
def pause(monkeypatch: pytest.MonkeyPatch) -> float:
    """A first pause that a test can wait for."""
    monkeypatch.setattr(breaker, "_FIRST_PAUSE", 0.2)
    return 0.2


@asynccontextmanager
async def at_risk(
    model: str = "Failing", replicas: int = 1, **fields: Any
) -> AsyncIterator[tuple[Worker, MemoryBroker]]:
    """A worker that takes its model out of service after three failures in a row."""
    broker = MemoryBroker(LIMITS, SystemClock())
    runs = spec(model, MODELS, max_failures=LIMIT, **fields)
    async with at_work(broker, runs, replicas) as (worker, _):
        yield worker, broker


def suspended(worker: Worker, model: str = "Failing") -> str | None:
    return worker.replicas()[model].suspended


async def fail(broker: MemoryBroker, *orders: str) -> list[Prediction]:
    """The ends of these, one after the other."""
    return [(await outcomes(broker, "Failing", [f'"{order}"'.encode()]))[0] for order in orders]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.005)


async def test_after_three_failures_in_a_row_what_comes_waits_until_the_code_is_loaded_again() -> (
    None
):
    async with at_risk(replicas=2) as (worker, broker):
        await fail(broker, "a", "b")
        assert suspended(worker) is None
        await fail(broker, "c")
        assert suspended(worker) == (
            "3 predictions in a row failed, the last with: The model raised ValueError"
        )
        waiting = [await broker.submit(new("Failing", b'"work"'), keep=True) for _ in range(4)]
        await asyncio.sleep(0.2)  # long enough for what must not happen
        records = [await broker.get(prediction.id) for prediction in waiting]
        assert {record and record.status for record in records} == {Status.QUEUED}
        (told,) = (await broker.workers()).values()
        assert told.replicas["Failing"].suspended == suspended(worker)
        assert told.replicas["Failing"].pause == breaker._FIRST_PAUSE
        worker.reload()
        ends = await asyncio.gather(*(broker.wait(p.id, PATIENCE) for p in waiting))
        assert {end and end.result for end in ends} == {b'"work"'}
        assert {end and end.crashes for end in ends} == {0}
        assert suspended(worker) is None


async def test_one_prediction_is_tried_after_a_pause_and_its_success_puts_the_model_back(
    pause: float,
) -> None:
    async with at_risk(replicas=2, concurrency=4) as (worker, broker):
        await fail(broker, "a", "b", "c")
        trial, *rest = [
            await broker.submit(new("Failing", f'"{order}"'.encode()), keep=True)
            for order in ("d", "work", "work", "work")
        ]
        ended = await broker.wait(trial.id, PATIENCE)
        assert ended is not None
        assert ended.failure is not None
        assert worker.replicas()["Failing"].pause == 2 * pause
        records = [await broker.get(prediction.id) for prediction in rest]
        assert {record and record.status for record in records} == {Status.QUEUED}
        ends = await asyncio.gather(*(broker.wait(p.id, PATIENCE) for p in rest))
        assert {end and end.result for end in ends} == {b'"work"'}
        assert suspended(worker) is None


async def test_a_trial_that_shows_nothing_is_followed_by_another(pause: float) -> None:
    async with at_risk() as (worker, broker):
        await fail(broker, "a", "b", "c")
        await until(lambda: not worker.replicas()["Failing"].pause)
        refused, works = await fail(broker, "refuse", "work")
        assert refused.failure is not None
        assert refused.failure.code == "invalid_input"
        assert works.result == b'"work"'
        assert suspended(worker) is None


async def test_what_comes_right_behind_a_trial_that_shows_nothing_is_a_trial_as_well(
    pause: float,
) -> None:
    async with at_risk() as (worker, broker):
        await fail(broker, "a", "b", "c")
        refused, failed = await outcomes(broker, "Failing", [b'"refuse"', b'"d"'])
        assert refused.failure is not None
        assert refused.failure.code == "invalid_input"
        assert failed.failure is not None
        assert worker.replicas()["Failing"].pause == 2 * pause


async def test_a_success_between_and_what_the_model_refuses_are_no_failures_in_a_row() -> None:
    async with at_risk() as (worker, broker):
        await fail(broker, "a", "b", "work", "c", "refuse", "refuse", "refuse", "d")
        assert suspended(worker) is None
        await fail(broker, "e")
        assert suspended(worker) is not None
    async with at_risk("picky") as (worker, broker):
        await outcomes(broker, "picky", [b'"x"'] * (LIMIT + 1))
        assert suspended(worker, "picky") is None


async def test_a_crash_counts_for_what_ran_alone_and_a_prediction_that_is_repeated_once() -> None:
    async with at_risk() as (worker, broker):
        (crashed,) = await fail(broker, "crash")  # three times, as max-crashes allows
        assert crashed.failure is not None
        assert crashed.failure.code == "model_crashed"
        assert suspended(worker) is None
        await fail(broker, "a")
        last = await broker.submit(new("Failing", b'"crash"'), keep=True)
        await until(lambda: suspended(worker) is not None)
        assert "its process was killed by SIGABRT" in (suspended(worker) or "")
        waits = await broker.get(last.id)
        assert waits is not None
        assert waits.status is Status.QUEUED
        assert waits.crashes == 1
