"""A replica that is not well is replaced, and so is one that has done its share."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PATIENCE
from tests.replicas.test_hardware import MODELS
from tests.replicas.test_pool import spec
from tests.worker.test_worker import outcomes
from tests.worker.work import at_work
from zypher.brokers.memory import MemoryBroker
from zypher.clock import SystemClock
from zypher.prediction import Prediction
from zypher.replicas.replica import Replica
from zypher.testing.contract.base import LIMITS

pytestmark = pytest.mark.anyio

OFTEN: dict[str, Any] = {"healthcheck_interval": 0.02}


def new_broker() -> MemoryBroker:
    return MemoryBroker(LIMITS, SystemClock())


def restarts(broker: MemoryBroker) -> dict[str, int]:
    """How many replicas had to be replaced, by reason."""
    return {reason: count for (reason,), count in broker.metrics.restarts.items() if count}


async def restarted(broker: MemoryBroker, reason: str) -> None:
    """Wait until a replica had to be replaced for this reason, and none for another."""
    async with asyncio.timeout(PATIENCE):
        while not restarts(broker):
            await asyncio.sleep(0.01)
    assert set(restarts(broker)) == {reason}


def results(records: list[Prediction]) -> list[Any]:
    assert all(record.result is not None for record in records), records
    return [json.loads(record.result or b"") for record in records]


@pytest.mark.parametrize(
    ("model", "mood", "concurrency"),
    [
        ("Moody", "unwell", None),
        ("Moody", "raises", 2),
        ("Moody", "hangs", None),
        ("AsyncMoody", "raises", None),
        ("AsyncMoody", "hangs", None),
    ],
)
async def test_one_whose_healthcheck_fails_is_replaced_and_nothing_is_lost(
    model: str, mood: str, concurrency: int | None
) -> None:
    broker = new_broker()
    patience = 0.3 if mood == "hangs" else PATIENCE
    runs = spec(model, MODELS, concurrency=concurrency, healthcheck_timeout=patience, **OFTEN)
    async with at_work(broker, runs, 1):
        (first,) = results(await outcomes(broker, model, [json.dumps(mood).encode()]))
        during = []
        while not restarts(broker):
            during += await outcomes(broker, model, [b'"well"'])
        after = await outcomes(broker, model, [b'"well"'])
        assert first not in results(after)
        assert results(during)
        assert {record.crashes for record in [*during, *after]} == {0}
        assert restarts(broker) == {"unhealthy": 1}


async def test_one_that_says_nothing_is_replaced_although_nothing_runs_there() -> None:
    broker = new_broker()
    runs = spec("process", MODELS, healthcheck_timeout=0.3, **OFTEN)
    async with at_work(broker, runs, 1):
        ((stopped, _),) = await pairs(broker, 1)
        os.kill(stopped, signal.SIGSTOP)
        await restarted(broker, "unhealthy")
        ((other, _),) = await pairs(broker, 1)
        assert other != stopped


async def test_one_that_is_at_work_is_not_asked() -> None:
    broker = new_broker()
    runs = spec("Busy", MODELS, healthcheck_timeout=0.1, **OFTEN)
    async with at_work(broker, runs, 1):
        await outcomes(broker, "Busy", [b"0.5"])
        asked: list[int] = [0]
        while asked[-1] < 3:  # and once it is idle again, it is
            await asyncio.sleep(0.05)
            asked += results(await outcomes(broker, "Busy", [b"0"]))
        assert not restarts(broker)


async def test_one_with_a_single_run_at_a_time_is_asked_between_two_of_them_under_load() -> None:
    broker = new_broker()
    async with at_work(broker, spec("Busy", MODELS, concurrency=1, **OFTEN), 1):
        assert max(results(await outcomes(broker, "Busy", [b"0.01"] * 60))) >= 3
        assert not restarts(broker)


async def test_what_comes_while_a_replica_is_asked_runs_there_afterwards() -> None:
    broker = new_broker()
    async with at_work(broker, spec("Thoughtful", MODELS, **OFTEN), 1):
        for _ in range(3):
            await asyncio.sleep(0.1)  # it is being asked, as nearly all of the time
            assert results(await outcomes(broker, "Thoughtful", [b"1"])) == [1]


# Recycling.


async def pairs(broker: MemoryBroker, count: int) -> list[list[int]]:
    """The process and the attempt of so many predictions that are submitted together."""
    return results(await outcomes(broker, "process", [b"1"] * count))


@pytest.mark.parametrize("swap", ["overlap", "replace"])
async def test_a_replica_that_has_done_its_share_is_replaced_and_nobody_notices(swap: str) -> None:
    broker = new_broker()
    runs = spec("process", MODELS, recycle_after=5, swap=swap)
    async with at_work(broker, runs, 2):
        seen = []
        async with asyncio.timeout(PATIENCE):
            while sum(restarts(broker).values()) < 2:
                seen += await pairs(broker, 4)
        assert len({process for process, _ in seen}) >= 3
        assert set(restarts(broker)) == {"recycled"}


async def test_not_all_replicas_are_worn_at_the_same_moment() -> None:
    limits = {
        Replica(spec("process", MODELS, recycle_after=1_000))._most_finished for _ in range(50)
    }
    assert len(limits) > 10
    assert all(900 <= limit <= 1_000 for limit in limits)


async def test_a_replica_that_holds_too_much_memory_is_replaced() -> None:
    broker = new_broker()
    runs = spec("Growing", MODELS, recycle_memory=200_000_000, **OFTEN)
    async with at_work(broker, runs, 1):
        (small,) = results(await outcomes(broker, "Growing", [b"1"]))
        (large,) = results(await outcomes(broker, "Growing", [b"250"]))
        assert small == large
        await restarted(broker, "recycled")
        assert results(await outcomes(broker, "Growing", [b"1"])) != [large]


async def test_one_that_is_never_idle_is_replaced_for_its_memory_as_well() -> None:
    broker = new_broker()
    runs = spec("AsyncGrowing", MODELS, recycle_memory=200_000_000, concurrency=10, **OFTEN)
    async with at_work(broker, runs, 1):

        async def load() -> None:
            while not restarts(broker):
                await outcomes(broker, "AsyncGrowing", [b"2"])

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as callers:
            for _ in range(5):
                callers.create_task(load())
        assert set(restarts(broker)) == {"recycled"}


async def test_one_whose_successor_cannot_be_loaded_goes_on_until_one_can(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    file = tmp_path / "fragile.py"
    file.write_text(FRAGILE.format(broken=str(broken)))
    broker = new_broker()
    async with at_work(broker, spec("Fragile", file, recycle_after=1), 1) as (worker, _):
        assert results(await outcomes(broker, "Fragile", [b"0"]))
        broken.touch()
        async with asyncio.timeout(PATIENCE):
            while not worker.replicas()["Fragile"].failure:
                await outcomes(broker, "Fragile", [b"0"])
            broken.unlink()
            while restarts(broker).get("recycled", 0) < 2:
                assert results(await outcomes(broker, "Fragile", [b"0"]))


FRAGILE = """
import os

class Fragile:
    def setup(self):
        if os.path.exists({broken!r}):
            raise RuntimeError("not now")

    def predict(self, number: int) -> int:
        return os.getpid()
"""
