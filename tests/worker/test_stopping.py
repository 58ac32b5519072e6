"""Runs that nobody wants any more: they are asked to stop, and killed if they do not."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.harness import PATIENCE, HeldRun, Holder, holder
from tests.replicas.test_pool import spec
from tests.worker.test_worker import working
from tests.worker.work import at_work
from zypher.brokers.base import WorkerInfo
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.prediction import Claim, Options, Outcome, Prediction, Status
from zypher.testing.contract.base import LIMITS, new

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).with_name("models.py")
SOON = 0.1


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


async def running(
    broker: MemoryBroker, model: str, held: Holder, **fields: object
) -> tuple[Prediction, HeldRun]:
    """A prediction that runs, and the hold on it."""
    prediction = await broker.submit(new(model, b"%d" % held.port, **fields), keep=True)  # type: ignore[arg-type]
    return prediction, await asyncio.to_thread(held.started)


async def completes(broker: MemoryBroker, model: str, held: Holder) -> int:
    """See that the next prediction completes, and return which process ran it."""
    prediction, run = await running(broker, model, held)
    run.finish()
    await final(broker, prediction, Status.COMPLETED)
    return run.pid


async def final(broker: MemoryBroker, prediction: Prediction, status: Status) -> Prediction:
    """The record, which has to have ended so."""
    record = await broker.wait(prediction.id, PATIENCE)
    assert record is not None
    assert record.status is status
    return record


async def was_claimed(broker: MemoryBroker, prediction: Prediction) -> None:
    """Wait until the worker has claimed it once."""
    while (record := await broker.get(prediction.id)) and not record.attempt:
        await asyncio.sleep(0)


@pytest.mark.parametrize("model", ["patient", "endless", "endless_async"])
async def test_a_canceled_run_that_can_be_interrupted_ends_at_once(
    held: Holder, model: str
) -> None:
    async with working(model, file=MODELS) as (_, broker):
        prediction, run = await running(broker, model, held)
        await broker.cancel(prediction.id)
        said = await asyncio.to_thread(run.said)
        assert said == ("" if model == "patient" else "closed")
        again, next_run = await running(broker, model, held)
        assert next_run.pid == run.pid
        await broker.cancel(again.id)
        await asyncio.to_thread(next_run.said)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_canceled_blocking_run_sees_that_it_is(held: Holder, concurrency: int) -> None:
    async with working("obedient", file=MODELS, concurrency=concurrency) as (_, broker):
        prediction, run = await running(broker, "obedient", held)
        await broker.cancel(prediction.id)
        assert await asyncio.to_thread(run.said) == "stopped"


async def test_a_run_that_does_not_stop_is_killed_after_the_grace_and_its_process_replaced(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, cancel_grace=SOON) as (_, broker):
        prediction, run = await running(broker, "deaf", held)
        await broker.cancel(prediction.id)
        assert await asyncio.to_thread(run.said) == ""
        assert await completes(broker, "deaf", held) != run.pid
        record = await final(broker, prediction, Status.CANCELED)
        assert record.crashes == 0
        assert (await broker.stats())["deaf"].crashes == 0


async def test_what_shares_a_process_with_a_run_that_does_not_stop_finishes_before_the_kill(
    held: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    async with working("deaf", file=MODELS, concurrency=3, cancel_grace=SOON) as (_, broker):
        canceled, run = await running(broker, "deaf", held)
        innocent, neighbour = await running(broker, "deaf", held)
        assert neighbour.pid == run.pid
        await broker.cancel(canceled.id)
        await logged(caplog, "did not stop within cancel-grace")
        waiting = await broker.submit(new("deaf", b"%d" % held.port), keep=True)
        neighbour.finish("innocent")
        record = await final(broker, innocent, Status.COMPLETED)
        assert (record.result, record.attempt) == (b'"innocent"', 1)
        assert await asyncio.to_thread(run.said) == ""
        last = await asyncio.to_thread(held.started)
        assert last.pid != run.pid
        last.finish()
        await final(broker, waiting, Status.COMPLETED)


async def test_a_batch_with_one_canceled_member_completes_for_the_others_and_no_process_dies(
    held: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    async with working("deaf_batch", file=MODELS, cancel_grace=SOON) as (_, broker):
        input = b"%d" % held.port
        canceled = await broker.submit(new("deaf_batch", input), keep=True)
        other = await broker.submit(new("deaf_batch", input), keep=True)
        run = await asyncio.to_thread(held.started)
        await broker.cancel(canceled.id)
        await logged(caplog, "did not stop within cancel-grace")
        run.finish("shared")
        assert (await final(broker, other, Status.COMPLETED)).result == b'"shared"'
        await broker.submit(new("deaf_batch", input), keep=True)
        await broker.submit(new("deaf_batch", input), keep=True)
        next_run = await asyncio.to_thread(held.started)
        assert next_run.pid == run.pid
        next_run.finish()


async def test_what_is_canceled_while_its_batch_is_gathered_never_runs() -> None:
    async with working("sizes", file=MODELS) as (_, broker):
        canceled = await broker.submit(new("sizes"), keep=True)
        while (await broker.stats())["sizes"].processing == 0:
            await asyncio.sleep(0)
        await broker.cancel(canceled.id)
        other = await broker.submit(new("sizes"), keep=True)
        assert (await final(broker, other, Status.COMPLETED)).result == b"1"


async def test_a_batch_does_not_gather_for_longer_than_the_clock_of_a_member_allows() -> None:
    async with working("sizes", file=MODELS) as (_, broker):
        made = new("sizes", b"1", created=time.time(), options=Options(run_timeout=1.0))
        alone = await broker.submit(made, keep=True)
        async with asyncio.timeout(PATIENCE / 2):  # the model waits for company longer than that
            await final(broker, alone, Status.COMPLETED)


async def test_a_run_whose_caller_has_gone_is_asked_to_stop_but_never_killed(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, replicas=2, cancel_grace=SOON) as (worker, broker):
        abandoned = await broker.submit(new("deaf", b"%d" % held.port), keep=False)
        run = await asyncio.to_thread(held.started)
        canceled, other = await running(broker, "deaf", held)
        await broker.abandon(abandoned.id)
        await worker.renew()
        await broker.cancel(canceled.id)
        assert await asyncio.to_thread(other.said) == ""
        run.finish()
        pids = {await completes(broker, "deaf", held) for _ in range(2)}
        assert run.pid in pids


async def test_a_run_whose_caller_has_gone_does_not_save_a_process_that_has_to_die(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, concurrency=2, cancel_grace=SOON) as (_, broker):
        abandoned = await broker.submit(new("deaf", b"%d" % held.port), keep=False)
        run = await asyncio.to_thread(held.started)
        canceled, other = await running(broker, "deaf", held)
        await broker.abandon(abandoned.id)
        await broker.cancel(canceled.id)
        assert await asyncio.to_thread(run.said) == await asyncio.to_thread(other.said) == ""
        assert await completes(broker, "deaf", held) != run.pid


async def test_a_run_whose_claim_was_lost_is_stopped_as_if_canceled(
    held: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    async with working("obedient", file=MODELS) as (worker, broker):
        prediction, run = await running(broker, "obedient", held)
        await broker.release([prediction.claimed(0.0).claim])
        await worker.renew()
        assert await asyncio.to_thread(run.said) == "stopped"
        assert "were taken from this worker" in caplog.text
        again = await asyncio.to_thread(held.started)
        await broker.cancel(prediction.id)
        assert await asyncio.to_thread(again.said) == "stopped"


class LateToAnswer(MemoryBroker):
    """Takes outcomes at once, and says so when it may."""

    def __init__(self) -> None:
        super().__init__(LIMITS, SystemClock())
        self.took, self.may_answer = asyncio.Event(), asyncio.Event()

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        refused = await super().finish(ended)
        self.took.set()
        await self.may_answer.wait()
        return refused


async def test_what_the_broker_is_just_told_the_end_of_was_not_taken_from_its_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = LateToAnswer()
    async with at_work(broker, spec("echo"), 1) as (worker, _):
        await broker.submit(new("echo", b'"hi"'), keep=True)
        await broker.took.wait()
        await worker.renew()
        assert "taken from this worker" not in caplog.text
        broker.may_answer.set()


async def test_a_run_that_takes_longer_than_its_run_timeout_is_stopped(held: Holder) -> None:
    async with working("deaf", file=MODELS, cancel_grace=SOON) as (_, broker):
        options = Options(run_timeout=0.05)
        prediction, run = await running(broker, "deaf", held, options=options)
        while not await broker.enforce_clocks():
            await asyncio.sleep(0.01)
        record = await final(broker, prediction, Status.FAILED)
        assert record.failure is not None
        assert record.failure.code == "run_timeout"
        assert await asyncio.to_thread(run.said) == ""
        assert await completes(broker, "deaf", held) != run.pid


async def test_a_suspect_that_waits_for_an_idle_replica_does_not_spend_its_run_timeout(
    held: Holder,
) -> None:
    async with working("deaf", file=MODELS, concurrency=2) as (_, broker):
        other, run = await running(broker, "deaf", held)
        options = Options(run_timeout=0.2)
        suspect = new("deaf", b"%d" % held.port, company=1, options=options)
        await broker.submit(suspect, keep=True)
        await was_claimed(broker, suspect)
        await asyncio.sleep(0.3)  # its run_timeout would be over
        assert not await broker.enforce_clocks()
        run.finish()
        await final(broker, other, Status.COMPLETED)
        (await asyncio.to_thread(held.started)).finish()
        record = await final(broker, suspect, Status.COMPLETED)
        assert record.crashes == 0


async def test_the_refused_outcome_of_a_canceled_run_is_counted_without_a_warning(
    held: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zypher")
    async with working("obedient", file=MODELS) as (worker, broker):
        prediction, run = await running(broker, "obedient", held)
        await broker.cancel(prediction.id)
        assert await asyncio.to_thread(run.said) == "stopped"
        while not worker.stale_outcomes:
            await asyncio.sleep(0.001)
        await worker.renew()
        assert [info.stale_outcomes for info in await known_workers(broker)] == [1]
        assert not caplog.records


async def test_a_flood_of_log_lines_neither_hides_a_cancel_nor_fills_the_memory(
    held: Holder,
) -> None:
    async with working("floods", file=MODELS) as (_, broker):
        prediction, run = await running(broker, "floods", held)
        process = psutil.Process(run.pid)
        before = process.memory_info().rss
        assert run.said_line() == "flooded\n"  # and nobody takes what it tells meanwhile
        assert process.memory_info().rss - before < 8_000_000
        await broker.cancel(prediction.id)
        assert await asyncio.to_thread(run.said) == ""
        assert process.is_running()


async def known_workers(broker: MemoryBroker) -> list[WorkerInfo]:
    return list((await broker.workers()).values())


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until the log says this."""
    async with asyncio.timeout(PATIENCE):
        while words not in caplog.text:
            await asyncio.sleep(0.005)
