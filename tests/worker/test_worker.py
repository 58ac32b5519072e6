"""The worker, on a memory broker and with real replicas."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.harness import MODELS, PATIENCE, holder
from tests.replicas.test_pool import spec
from tests.worker.work import at_work
from zypher.brokers.base import ModelInfo
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.prediction import Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import LIMITS, new
from zypher.worker import Worker

pytestmark = pytest.mark.anyio


def working(
    model: str,
    *,
    replicas: int = 1,
    concurrency: int | None = None,
    cancel_grace: float = 5.0,
    max_crashes: int = 3,
    file: Path = MODELS,
) -> AbstractAsyncContextManager[tuple[Worker, MemoryBroker]]:
    """A worker that serves one of the tests' models, and its broker."""
    limits = replace(LIMITS, max_queued=20_000, max_queued_bytes=10**9, max_crashes=max_crashes)
    broker = MemoryBroker(limits, SystemClock())
    runs = spec(model, file, concurrency=concurrency)
    return at_work(broker, runs, replicas, cancel_grace=cancel_grace)


async def outcomes(broker: MemoryBroker, model: str, inputs: list[bytes]) -> list[Prediction]:
    """The final records of these inputs, submitted together."""
    submitted = [await broker.submit(new(model, input), keep=True) for input in inputs]
    records = await asyncio.gather(*(broker.wait(p.id, PATIENCE) for p in submitted))
    return [record for record in records if record]


async def test_a_batch_is_filled_with_what_waits() -> None:
    async with working("batch_sizes") as (_, broker):
        records = await outcomes(broker, "batch_sizes", [b"1"] * 16)
        assert [record.result for record in records] == [b"8"] * 16


async def test_a_batch_waits_a_moment_for_more_members() -> None:
    async with working("batch_sizes") as (_, broker):
        first = asyncio.create_task(outcomes(broker, "batch_sizes", [b"1"]))
        while (await broker.stats())["batch_sizes"].processing == 0:
            await asyncio.sleep(0)
        second = await outcomes(broker, "batch_sizes", [b"1", b"1"])
        assert {record.result for record in [*await first, *second]} == {b"3"}


async def test_a_lone_prediction_of_a_batched_model_does_not_wait_for_ever() -> None:
    async with working("batch_sizes") as (_, broker):
        (record,) = await outcomes(broker, "batch_sizes", [b"1"])
        assert record.result == b"1"


async def test_a_bad_item_of_a_batch_fails_alone() -> None:
    async with working("batch_sizes") as (_, broker):
        records = await outcomes(broker, "batch_sizes", [b"1", b"-1", b"1"])
        assert [r.status.value for r in records] == ["completed", "failed", "completed"]
        assert records[1].failure is not None
        assert records[1].failure.detail == "negative"


async def test_a_batch_that_raises_is_run_again_item_by_item() -> None:
    async with working("batch_raises") as (_, broker):
        records = await outcomes(broker, "batch_raises", [b"1", b"-1", b"3"])
        assert [r.result for r in records] == [b"1", None, b"3"]
        assert records[1].failure is not None
        assert records[1].failure.detail == "The model raised ValueError: negative"


async def test_an_input_that_only_the_replica_can_refuse_does_not_touch_its_batch() -> None:
    async with working("batch_sizes") as (_, broker):
        records = await outcomes(broker, "batch_sizes", [b"1", b'"x"', b"1"])
        assert [r.result for r in records] == [b"2", None, b"2"]
        assert records[1].failure is not None
        assert records[1].failure.code == "invalid_input"
        assert records[1].failure.errors
        assert records[1].crashes == 0


async def test_an_input_that_the_workers_own_signature_admitted_fails_once_refused() -> None:
    async with working("batch_sizes") as (_, broker):
        model = (await broker.models())["batch_sizes"]
        sent = msgspec.json.decode(msgspec.json.encode(model), type=ModelInfo)
        for signature, ends in ((sent.signature, True), ("another", False)):
            made = new(model.name, b'"x"', signature=signature)
            record = await broker.submit(made, keep=True)
            while record.status is not Status.FAILED and not record.misfits:
                await asyncio.sleep(0)
                record = await broker.get(made.id) or record
            assert record.status.terminal is ends


async def test_an_async_model_runs_many_at_once_and_no_more_than_its_concurrency() -> None:
    async with working("peak", concurrency=7) as (_, broker):
        records = await outcomes(broker, "peak", [b"1"] * 30)
        assert max(int(record.result or b"0") for record in records) == 7


async def test_a_blocking_model_runs_one_at_a_time_unless_told_otherwise() -> None:
    for concurrency, most in ((None, 1), (4, 4)):
        async with working("peak_blocking", concurrency=concurrency) as (_, broker):
            records = await outcomes(broker, "peak_blocking", [b"1"] * 12)
            assert max(int(record.result or b"0") for record in records) == most


async def test_a_caller_who_waits_is_served_within_two_runs_although_ten_thousand_are_queued() -> (
    None
):
    run, slots = 0.5, 10
    async with working("nap", concurrency=slots) as (_, broker):
        for _ in range(10_000 + slots):
            await broker.submit(new("nap", str(run).encode()), keep=True)
        while (await broker.stats())["nap"].processing < slots:
            await asyncio.sleep(0.001)
        for _ in range(3):
            submitted = time.monotonic()
            caller = await broker.submit(new("nap", str(run).encode()), keep=False)
            await broker.wait(caller.id, PATIENCE)
            assert time.monotonic() - submitted < 2.4 * run
        assert (await broker.stats())["nap"].queued > 9_000


async def test_large_inputs_wait_in_the_queue_instead_of_all_being_in_flight() -> None:
    with holder() as held:
        value = b'{"port": %d, "padding": "%s"}' % (held.port, b"x" * 100_000_000)
        async with working("hold_large") as (_, broker):
            submitted = [await broker.submit(new("hold_large", value), keep=True)]
            runs = [await asyncio.to_thread(held.started)]
            for _ in range(2):
                submitted.append(await broker.submit(new("hold_large", value), keep=True))
                runs.append(await asyncio.to_thread(held.started))
            submitted.append(await broker.submit(new("hold_large", value), keep=True))
            for _ in range(1000):
                await asyncio.sleep(0)
            assert (await broker.stats())["hold_large"].queued == 1
            runs[0].finish()
            runs.append(await asyncio.to_thread(held.started))
            for run in runs[1:]:
                run.finish()
            for prediction in submitted:
                record = await broker.wait(prediction.id, PATIENCE)
                assert record is not None
                assert record.status is Status.COMPLETED


async def test_work_goes_to_the_replica_that_has_room() -> None:
    async with working("pid", replicas=2) as (_, broker):
        records = await outcomes(broker, "pid", [b"0.05"] * 10)
        assert len({record.result for record in records}) == 2


async def test_work_that_a_stopping_worker_does_not_finish_goes_back_uncharged() -> None:
    broker = MemoryBroker(LIMITS, SystemClock())
    worker = Worker(broker, [(spec("nap"), 1)])
    await worker.start()
    await worker.up()
    running = await broker.submit(new("nap", b"60"), keep=True)
    while (await broker.stats())["nap"].processing == 0:
        await asyncio.sleep(0)
    await worker.drain(grace=0.05)
    await worker.stop()
    record = await broker.get(running.id)
    assert record is not None
    assert (record.status, record.crashes, record.company) == (Status.QUEUED, 0, None)
    assert await broker.workers() == {}
    await broker.aclose()


async def test_after_a_pause_of_the_whole_process_its_work_is_still_its_own() -> None:
    clock = ManualClock()
    broker = MemoryBroker(LIMITS, clock)
    worker = Worker(broker, [(spec("nap"), 1)])
    await worker.start()
    await worker.up()
    running = await broker.submit(new("nap", b"0.2"), keep=True)
    while (await broker.stats())["nap"].processing == 0:
        await asyncio.sleep(0)
    clock.advance(10 * LIMITS.lease)
    await worker.renew()
    assert await broker.reclaim() == 0
    record = await broker.wait(running.id, PATIENCE)
    assert record is not None
    assert (record.status, record.attempt) == (Status.COMPLETED, 1)
    await worker.stop()


async def test_a_draining_worker_claims_nothing_more() -> None:
    async with working("echo") as (worker, broker):
        await worker.drain(grace=0)
        await broker.submit(new("echo"), keep=True)
        assert (await broker.stats())["echo"].queued == 1


async def test_starting_and_stopping_again_and_again_leaves_nothing() -> None:
    for _ in range(5):
        async with working("echo", replicas=2) as (_, broker):
            (record,) = await outcomes(broker, "echo", [b"1"])
            assert record.result == b"1"
