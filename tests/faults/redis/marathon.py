"""One worker after the other is killed, for as long as it takes to run very many predictions."""

import asyncio
from collections import deque
from functools import partial
from pathlib import Path

from tests.faults import invariants
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size
from tests.faults.swarm import Swarm

_WORKERS = 4
_CLIENTS = 64
# How long each runs: so a worker that dies has some in flight.
_SECONDS = 0.05

# A worker is killed so often, in seconds, as long as so many are left.
_INTERVAL = 1.0
_LEAST = 1


async def marathon(size: Size, directory: Path) -> Report:
    """The oldest worker is killed every second, and another one started in its place."""
    goal = size.of(1_000, 100_000)
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, workers=_WORKERS) as cluster:
            work = partial(cluster.work, seconds=_SECONDS)
            swarm = Swarm(cluster.url, cluster.history, work, clients=_CLIENTS)
            async with swarm.submitting():
                kills = await _kill(cluster, swarm, goal)
            return await cluster.report(
                "a worker is killed every second",
                *invariants.failed(cluster.history),
                remarks=[f"{kills} workers killed"],
                has_looked=True,
            )


async def _kill(cluster: Cluster, swarm: Swarm, goal: int) -> int:
    """Kill workers until so many predictions have ended; how many it were."""
    kills = 0
    ready = deque(cluster.workers)

    async def start_another() -> None:
        ready.append(await cluster.start_worker())

    async with asyncio.TaskGroup() as starts:
        while len(swarm.ended) < goal:
            await asyncio.sleep(_INTERVAL)
            if len(ready) > _LEAST:
                await cluster.kill_worker(ready.popleft())
                kills += 1
                starts.create_task(start_another())
    return kills
