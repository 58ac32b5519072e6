"""A primary that dies, and a replica that the sentinels make the next one."""

import asyncio
import random
import time
from dataclasses import replace
from pathlib import Path

from tests.faults import invariants
from tests.faults.callers import Callers
from tests.faults.load import Load
from tests.faults.redis.cluster import Cluster
from tests.faults.report import Report, Size
from tests.redis_servers import ALWAYS
from tests.sentinels import Sentinels

# Once there is another primary, work goes on within so many seconds.
_RESUMED = 10.0


async def failover(size: Size, directory: Path) -> Report:
    """kill -9 of the primary under load; it comes back as a replica."""
    with Sentinels(directory, *ALWAYS) as sentinels:
        async with Cluster(directory, sentinels.url) as cluster:
            wrong: list[str] = []
            callers = Callers(cluster.url, cluster.work, clients=2)
            async with cluster.load() as load, callers:
                for _ in range(size.of(1, 5)):
                    await load.accepts(random.randint(20, 60))
                    dead = sentinels.primary
                    dead.kill()
                    _note_loss(cluster)
                    await asyncio.to_thread(sentinels.wait_promoted, dead)
                    _note_loss(cluster)  # what was claimed before may have begun since
                    wrong += await _late_resumption(cluster, load)
                    if size is Size.FULL:  # it takes a while until the sentinels have turned it
                        await asyncio.to_thread(sentinels.rejoin, dead)
            lost = invariants.lost(cluster.history)
            wrong += [f"{id} was asked for in vain." for id in cluster.history.overdue]
            cluster.history.forgive(lost)
            found = await cluster.report("failover by sentinels", *wrong, *callers.wrong())
            return replace(found, accepted=found.accepted + len(lost), lost=len(lost))


def _note_loss(cluster: Cluster) -> None:
    """The primary is dead: what the replica was not told of any run, nobody knows any more."""
    for worker in cluster.workers:
        cluster.history.note("the primary is dead", worker.process.pid)


async def _late_resumption(cluster: Cluster, load: Load) -> list[str]:
    """Wait until something is accepted and run; a sentence if that takes too long."""
    promoted = time.monotonic()
    await load.accepts(1)
    await load.ends(1)
    seconds = time.monotonic() - promoted
    cluster.history.recoveries.append(seconds)
    return [f"It took {seconds:.1f} s until work went on."] if seconds > _RESUMED else []
