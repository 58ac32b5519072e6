"""Workers that are killed, that stand still for a while, and that are asked to stop."""

import asyncio
import random
import time
from pathlib import Path

import psutil

from tests.faults import invariants
from tests.faults.history import Run
from tests.faults.redis.cluster import LEASE, Cluster, durable_redis
from tests.faults.report import Report, Size
from tests.harness import PATIENCE, WorkerProcess

# What a dead worker ran is running again after so many seconds: its lease has to run out, and
# somebody has to look. More where others use the machine.
_TAKEN_OVER = 1.5 * LEASE + 1
_TAKEN_OVER_IN_COMPANY = _TAKEN_OVER + 2
_PAUSE = 0.02


async def killed_workers(size: Size, directory: Path) -> Report:
    """kill -9 of a worker while it runs something, again and again."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, workers=3) as cluster:
            async with cluster.load(seconds=0.2) as load:
                for _ in range(size.of(2, 20)):
                    await load.accepts(random.randint(20, 40))
                    await cluster.kill_worker(await cluster.busy_worker())
                    if size is Size.FULL:
                        await cluster.start_worker()
            cluster.history.runs = cluster.runs()
            bound = size.of(_TAKEN_OVER_IN_COMPANY, _TAKEN_OVER)
            late = [s for s in invariants.recoveries(cluster.history) if s > bound]
            return await cluster.report(
                "kill -9 of workers",
                *(f"What a killed worker ran was taken over after {s:.1f} s." for s in late),
                *invariants.failed(cluster.history),
            )


async def frozen_workers(size: Size, directory: Path) -> Report:
    """A machine stands still for two leases, and comes back with what it had finished then."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, workers=2) as cluster:
            wrong: list[str] = []
            stale = 0
            for _ in range(size.of(1, 10)):
                async with cluster.load(seconds=LEASE, clients=1) as load:
                    await load.accepts(8)
                    frozen = await cluster.busy_worker()
                    held = await _freeze(cluster, frozen)
                    await asyncio.gather(*(_taken_over(cluster, run) for run in held))
                    stale += await _thaw(cluster, frozen, held)
                wrong += await _uncounted(cluster, stale)
            return await cluster.report(
                "a worker stands still",
                *wrong,
                *invariants.failed(cluster.history),
                remarks=[f"{stale} outcomes came too late, and were refused"],
            )


async def _freeze(cluster: Cluster, worker: WorkerProcess) -> list[Run]:
    """Have a worker and its replicas stand still; what they ran."""
    for process in _with_replicas(worker):
        process.suspend()
    cluster.history.note("a worker stands still", worker.process.pid)
    return [run for run in cluster.runs_of(worker) if run.ended is None]


async def _taken_over(cluster: Cluster, run: Run) -> None:
    """Wait until another worker has finished what this run began."""
    async with asyncio.timeout(PATIENCE):
        while not any(
            other.token == run.token and other.pid != run.pid and other.ended is not None
            for other in cluster.runs()
        ):
            await asyncio.sleep(_PAUSE)


async def _thaw(cluster: Cluster, worker: WorkerProcess, held: list[Run]) -> int:
    """Have it go on, once its replicas have ended what they ran; how many outcomes that makes."""
    *replicas, itself = reversed(_with_replicas(worker))
    for process in replicas:
        process.resume()
    async with asyncio.timeout(PATIENCE):
        while any(run.ended is None for run in cluster.runs_of(worker)):
            await asyncio.sleep(_PAUSE)
    itself.resume()
    return len(held)


def _with_replicas(worker: WorkerProcess) -> list[psutil.Process]:
    return [psutil.Process(worker.process.pid), *worker.replicas()]


async def _uncounted(cluster: Cluster, stale: int) -> list[str]:
    """What is wrong with the count of the outcomes that came too late, once it has been told."""
    deadline = time.monotonic() + PATIENCE
    while (counted := await cluster.stale_outcomes()) < stale and time.monotonic() < deadline:
        await asyncio.sleep(_PAUSE)
    return [] if counted == stale else [f"{stale} outcomes came too late, {counted} were counted."]


async def held_interpreter(size: Size, directory: Path) -> Report:
    """A run keeps the interpreter of its replica for many times the lease."""
    lease, seconds = size.of((LEASE, 3), (5, 60))
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, models=("hog",), lease=lease) as cluster:
            async with cluster.load(clients=0, seconds=seconds) as load:
                await load.submit("long", cluster.work("long", seconds=seconds))
            return await cluster.report("a run of many leases, over Redis")
