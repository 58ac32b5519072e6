"""Cancels of what runs on another machine."""

from dataclasses import replace
from pathlib import Path

from tests.faults.cancels import ARGUMENTS, DEAF, cancel_everything
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size

# So long that no renewal tells of a cancel before somebody else has to.
_LEASE = 60.0


async def cancels(size: Size, directory: Path) -> Report:
    """Cancels that race the end, and cancels of runs that hear of it and of such that do not."""
    with durable_redis(directory) as redis:
        models = ("work", DEAF)
        async with Cluster(
            directory, redis.url, *ARGUMENTS, models=models, lease=_LEASE
        ) as cluster:
            found = await cancel_everything(cluster, size)
            return replace(found, fault="cancels at every moment, over Redis")
