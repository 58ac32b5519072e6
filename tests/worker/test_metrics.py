"""What a worker counts: runs, batches, waits, and replicas that had to be replaced."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.harness import PATIENCE, Holder, holder
from tests.worker.test_stopping import MODELS as STUBBORN
from tests.worker.test_stopping import SOON, completes, final, running
from tests.worker.test_worker import outcomes, working
from zypher.brokers.memory import MemoryBroker
from zypher.metrics import Spread
from zypher.prediction import Status
from zypher.testing.contract.base import new

pytestmark = pytest.mark.anyio


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def number(spread: Spread) -> int:
    return sum(spread.counts)


async def restarted(broker: MemoryBroker, reason: str) -> None:
    """Wait until a replica was replaced for this reason."""
    async with asyncio.timeout(PATIENCE):
        while not broker.metrics.restarts[reason,]:
            await asyncio.sleep(0.001)


async def test_runs_are_measured_each_and_batches_by_their_size() -> None:
    async with working("batch_sizes") as (_, broker):
        await outcomes(broker, "batch_sizes", [b"1"] * 16)
        metrics = broker.metrics
        assert number(metrics.run_seconds.of("batch_sizes")) == 16
        assert number(metrics.queue_wait.of("batch_sizes")) == 16
        batches = metrics.batch_size.of("batch_sizes")
        assert (number(batches), batches.sum) == (2, 16)
        assert number(metrics.broker_seconds.of("finish")) <= 2


async def test_a_run_takes_as_long_as_it_does_in_the_replica() -> None:
    async with working("nap") as (_, broker):
        wait = broker.metrics.queue_wait.of("nap")
        await broker.submit(new("nap", b"0.2", created=time.time() - 100), keep=True)
        await outcomes(broker, "nap", [b"0.2"])
        assert 0.4 <= broker.metrics.run_seconds.of("nap").sum < 5
        assert wait.sum > 100
        assert not broker.metrics.batch_size


async def test_what_waits_again_is_not_measured_again(held: Holder) -> None:
    async with working("hold") as (_, broker):
        prediction, run = await running(broker, "hold", held)
        os.kill(run.pid, signal.SIGKILL)
        run.close()
        again = await asyncio.to_thread(held.started)
        again.finish()
        await final(broker, prediction, Status.COMPLETED)
        assert number(broker.metrics.queue_wait.of("hold")) == 1
        assert number(broker.metrics.run_seconds.of("hold")) == 1
        assert broker.metrics.crashes == {("hold",): 1}
        assert +broker.metrics.restarts == {("crashed",): 1}


async def test_a_replica_that_did_not_stop_and_one_of_old_code_are_told_apart(
    held: Holder,
) -> None:
    async with working("deaf", file=STUBBORN, cancel_grace=SOON) as (worker, broker):
        prediction, stuck = await running(broker, "deaf", held)
        await broker.cancel(prediction.id)
        await restarted(broker, "stuck")
        stuck.close()
        await completes(broker, "deaf", held)  # the next one is there
        worker.reload()
        await restarted(broker, "reload")
        assert +broker.metrics.restarts == {("stuck",): 1, ("reload",): 1}
    assert +broker.metrics.restarts == {("stuck",): 1, ("reload",): 1}  # a stop is no restart


async def test_an_outcome_that_comes_too_late_is_counted(held: Holder) -> None:
    async with working("hold") as (_, broker):
        prediction, run = await running(broker, "hold", held)
        await broker.release([(await broker.get(prediction.id) or prediction).claim])
        again = await asyncio.to_thread(held.started)
        run.finish()
        again.finish()
        await final(broker, prediction, Status.COMPLETED)
        async with asyncio.timeout(PATIENCE):
            while not broker.metrics.stale_outcomes[()]:
                await asyncio.sleep(0)
        assert broker.metrics.stale_outcomes[()] == 1
        assert broker.metrics.predictions == {("hold", "async", "completed"): 1}
