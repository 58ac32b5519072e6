"""The next batch, which a worker hands to a replica before the last one is out."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.harness import PATIENCE, Holder, holder
from tests.replicas.test_hardware import MODELS
from tests.worker.test_worker import working
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Prediction
from zypher.replicas.replica import Replica
from zypher.testing.contract.base import new
from zypher.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


async def submit(broker: MemoryBroker, file: Path, names: str, port: int = 0) -> list[Prediction]:
    """A prediction of each name; the run of their batch is held if there is a port."""
    inputs = [msgspec.json.encode([str(file), name, port]) for name in names]
    return [await broker.submit(new("turns", input), keep=True) for input in inputs]


async def batches(broker: MemoryBroker, predictions: list[Prediction]) -> set[str]:
    """The names of those that ran together."""
    ends = [await broker.wait(prediction.id, PATIENCE) for prediction in predictions]
    return {"".join(msgspec.json.decode(end.result or b"[]")) for end in ends if end}


def brief_replica(worker: Worker) -> Replica:
    """Its replica, the last run of which seems to have been brief."""
    (replica,) = worker._pools[0].replicas
    replica._flights.seconds = 0.01
    return replica


async def something_waits(replica: Replica) -> None:
    async with asyncio.timeout(PATIENCE):
        while not replica._flights.waiting:
            await asyncio.sleep(0)


async def test_a_full_batch_waits_in_the_replica_and_another_one_goes_on_to_fill(
    held: Holder, tmp_path: Path
) -> None:
    async with working("turns", file=MODELS) as (worker, broker):
        replica = brief_replica(worker)
        running = await submit(broker, tmp_path / "begun", "abcd", held.port)
        some = await submit(broker, tmp_path / "begun", "ef")
        run = await asyncio.to_thread(held.started)
        await replica.has_room(ahead=True)
        await asyncio.sleep(0.02)
        assert not replica._flights.waiting
        run.finish()
        some += await submit(broker, tmp_path / "begun", "gh")
        assert await batches(broker, running + some) == {"abcd", "efgh"}

        brief_replica(worker)
        running = await submit(broker, tmp_path / "begun", "ijkl", held.port)
        next_ones = await submit(broker, tmp_path / "begun", "mnop")
        await something_waits(replica)
        (await asyncio.to_thread(held.started)).finish()
        assert await batches(broker, running + next_ones) == {"ijkl", "mnop"}


async def test_who_waits_behind_a_crash_is_no_suspect_and_nobody_waits_behind_suspects(
    held: Holder, tmp_path: Path
) -> None:
    async with working("turns", file=MODELS) as (worker, broker):
        replica = brief_replica(worker)
        running = await submit(broker, tmp_path / "begun", "abcd", held.port)
        next_ones = await submit(broker, tmp_path / "begun", "efgh")
        await something_waits(replica)
        run = await asyncio.to_thread(held.started)
        assert replica.pid
        os.kill(replica.pid, signal.SIGKILL)
        run.close()
        run = await asyncio.to_thread(held.started)  # two of them, as suspects
        records = [await broker.get(p.id) for p in running + next_ones]
        assert [record and record.company for record in records] == [2] * 4 + [None] * 4
        assert not any(record.crashes for record in records if record)
        replica = brief_replica(worker)
        for _ in range(50):
            await asyncio.sleep(0.001)
            assert not replica._flights.waiting
        run.finish()
        (await asyncio.to_thread(held.started)).finish()
        assert await batches(broker, running + next_ones) == {"ab", "cd", "efgh"}
