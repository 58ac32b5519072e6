"""Suspects have a replica to themselves, and hold up nobody until one is idle."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Holder, holder
from tests.worker.test_stopping import final, running, was_claimed
from tests.worker.test_worker import working
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Prediction, Status
from zypher.testing.contract.base import new
from zypher.worker import clearing

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).with_name("models.py")


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica gives up on getting idle at once."""
    for name in ("_FIRST", "_MOST"):
        monkeypatch.setattr(clearing, name, 0.02)
    monkeypatch.setattr(clearing, "_RUNS", 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica does not give up on getting idle."""
    for name in ("_FIRST", "_MOST"):
        monkeypatch.setattr(clearing, name, 10 * PATIENCE)


async def suspect(broker: MemoryBroker, held: Holder) -> Prediction:
    """One that was seen by the worker, and waits for an idle replica."""
    given = await broker.submit(new("deaf", b"%d" % held.port, company=1), keep=True)
    await was_claimed(broker, given)
    return given


async def is_queued(broker: MemoryBroker, prediction: Prediction) -> bool:
    record = await broker.get(prediction.id)
    return record is not None and record.status is Status.QUEUED


@pytest.mark.usefixtures("impatient")
async def test_beside_a_run_without_end_all_but_suspects_go_on_and_these_once_it_has_ended(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, concurrency=3) as (_, broker):
        endless, run = await running(broker, "deaf", held)
        waiting = await suspect(broker, held)
        for _ in range(5):  # each may meet a replica that tries to get idle
            innocent, other = await running(broker, "deaf", held)
            other.finish()
            await final(broker, innocent, Status.COMPLETED)
        assert await is_queued(broker, waiting)
        run.finish()
        await final(broker, endless, Status.COMPLETED)
        (await asyncio.to_thread(held.started)).finish()
        record = await final(broker, waiting, Status.COMPLETED)
        assert record.crashes == 0


@pytest.mark.usefixtures("patient")
async def test_a_replica_that_never_rests_takes_nothing_more_until_suspects_have_run_in_it(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, concurrency=3) as (_, broker):
        _, run = await running(broker, "deaf", held)
        waiting = await suspect(broker, held)
        await broker.submit(new("deaf", b"%d" % held.port), keep=True)
        run.finish()
        next_run = await asyncio.to_thread(held.started)
        stats = (await broker.stats())["deaf"]
        assert (stats.processing, stats.queued) == (1, 1)  # it is alone
        next_run.finish()
        await final(broker, waiting, Status.COMPLETED)
        (await asyncio.to_thread(held.started)).finish()


@pytest.mark.usefixtures("patient")
async def test_while_one_replica_gets_idle_for_suspects_the_others_go_on(held: Holder) -> None:
    async with working("deaf", file=MODELS, replicas=2, concurrency=3) as (_, broker):
        runs = [run for _, run in [await running(broker, "deaf", held) for _ in range(6)]]
        assert len({run.pid for run in runs}) == 2
        first, second = ([run for run in runs if run.pid == pid] for pid in {r.pid for r in runs})
        first.pop().finish()
        second.pop().finish()  # both have room now, and neither is idle
        waiting = await suspect(broker, held)
        innocent, run = await running(broker, "deaf", held)
        clears, goes_on = (first, second) if run.pid == second[0].pid else (second, first)
        run.finish()
        await final(broker, innocent, Status.COMPLETED)
        assert await is_queued(broker, waiting)
        for ending in clears:
            ending.finish()
        last = await asyncio.to_thread(held.started)
        assert last.pid == clears[0].pid
        last.finish()
        await final(broker, waiting, Status.COMPLETED)
        for ending in goes_on:
            ending.finish()
