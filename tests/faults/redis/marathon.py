"""A worker is killed every second, for as long as it takes to run very many predictions."""

import asyncio
from pathlib import Path

from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size

_WORKERS = 4


async def marathon(size: Size, directory: Path) -> Report:
    """Every second the oldest worker is killed, and another one started in its place."""
    goal = size.of(1_000, 100_000)
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, workers=_WORKERS) as cluster:
            kills = 0
            async with cluster.load(seconds=0, clients=16, pause=0) as load:
                starting: set[asyncio.Task[object]] = set()
                while len(cluster.history.accepted) < goal:
                    await asyncio.sleep(1)
                    await cluster.kill_worker(cluster.workers[0])
                    starting.add(asyncio.create_task(cluster.start_worker()))
                    kills += 1
                    await load.ends(1)
                await asyncio.gather(*starting, return_exceptions=True)
                await cluster.start_worker()  # one that stays
            return await cluster.report(
                "a worker is killed every second", remarks=[f"{kills} workers killed"]
            )
