"""The pool: replicas are kept alive, with pauses that grow, and started all at once."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import MODELS, PATIENCE
from zypher.errors import ModelLoadError
from zypher.replicas.place import restart_delay
from zypher.replicas.pool import Pool
from zypher.replicas.replica import Replica
from zypher.replicas.spec import ReplicaSpec


def spec(name: str, file: Path = MODELS, **fields: object) -> ReplicaSpec:
    """A replica of one of the tests' models."""
    return ReplicaSpec(name=name, target=f"{file}:{name}", **fields)  # type: ignore[arg-type]


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer() -> None:
    delays = [restart_delay(deaths) for deaths in range(12)]
    assert delays[:2] == [0.0, 0.0]
    assert delays == sorted(delays)
    assert delays[2] > 0
    assert delays[-1] == restart_delay(5_000) == 10.0  # a night of failures is no fault of ours


@pytest.mark.anyio
@pytest.mark.parametrize("stop_after", ["start", "described", "up"])
async def test_a_pool_can_be_stopped_at_any_moment_and_leaves_no_process(stop_after: str) -> None:
    attended: set[Replica] = set()

    async def attend(replica: Replica) -> None:
        attended.add(replica)
        async for _ in replica.reports():
            pass

    async def retire(replica: Replica) -> None:
        raise AssertionError("nothing was swapped")

    async def changed() -> None:
        pass

    for _ in range(3):
        pool = Pool(spec("echo"), 3, attend, retire, changed)
        pool.start()
        if stop_after == "start":
            await asyncio.sleep(0)
        else:
            await (pool.described if stop_after == "described" else pool.up)
        started = set(pool.replicas)
        await pool.stop()
        assert not pool.replicas
        assert all(replica.has_ended for replica in started)


@pytest.mark.anyio
async def test_a_model_that_never_comes_up_settles_the_milestones_with_its_error() -> None:
    async def attend(replica: Replica) -> None:
        raise AssertionError("it was never ready")

    async def retire(replica: Replica) -> None:
        raise AssertionError("nothing was swapped")

    async def changed() -> None:
        pass

    pool = Pool(spec("BrokenSetup"), 2, attend, retire, changed)
    pool.start()
    async with asyncio.timeout(PATIENCE):
        await pool.described
        with pytest.raises(ModelLoadError, match="no such weights"):
            await pool.up
    await pool.stop()
