"""One worker after the other is killed, for as long as it takes to run very many predictions."""

import asyncio
from pathlib import Path

from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size

_WORKERS = 4


async def marathon(size: Size, directory: Path) -> Report:
    """The oldest worker is killed, a second after another has taken the place of the last."""
    goal = size.of(1_000, 20_000)
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, workers=_WORKERS) as cluster:
            kills = 0
            async with cluster.load(seconds=0, clients=16, pause=0) as load:
                while len(cluster.history.accepted) < goal:
                    await asyncio.gather(cluster.start_worker(), asyncio.sleep(1))
                    await cluster.kill_worker(cluster.workers[0])
                    kills += 1
                    await load.ends(1)
            return await cluster.report(
                "one worker after the other is killed", remarks=[f"{kills} workers killed"]
            )
