"""Whether this node can serve, and what is not as it should be."""

from collections.abc import Iterable
from typing import Any

import msgspec

from zypher.brokers.base import Broker, ReplicaCounts
from zypher.prediction import Priority
from zypher.server.state import Phase

_LANES = [priority.name.lower() for priority in Priority]


class Jobs(msgspec.Struct, frozen=True):
    """Predictions of all models."""

    queued: int
    processing: int


class Readiness(msgspec.Struct, frozen=True):
    """The body of `/readyz`. `status` is ready, starting, failing or draining."""

    status: str
    degraded: list[str]
    jobs: Jobs
    replicas: dict[str, ReplicaCounts]
    oldest_queued_age: float
    guarantee: str


async def readiness(broker: Broker, phase: Phase) -> Readiness:
    """How this node stands now."""
    replicas = _merged(worker.replicas for worker in (await broker.workers()).values())
    stats = (await broker.stats()).values()
    return Readiness(
        status=_status(phase, replicas.values()),
        degraded=[
            *broker.degraded(),
            *(_complaint(name, counts) for name, counts in replicas.items() if counts.starting),
        ],
        jobs=Jobs(sum(s.queued for s in stats), sum(s.processing for s in stats)),
        replicas=replicas,
        oldest_queued_age=round(max((s.oldest_queued_age for s in stats), default=0.0), 3),
        guarantee=broker.guarantee(),
    )


async def statistics(broker: Broker) -> dict[str, Any]:
    """The queue and the replicas of every model, and the workers, wherever they are."""
    workers = (await broker.workers()).values()
    replicas = _merged(worker.replicas for worker in workers)
    return {
        "models": {
            name: msgspec.structs.asdict(stats)
            | {"waiting": dict(zip(_LANES, stats.waiting, strict=True))}
            | {"replicas": replicas.get(name, ReplicaCounts())}
            for name, stats in (await broker.stats()).items()
        },
        "workers": [
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "stale_outcomes": worker.stale_outcomes,
            }
            for worker in workers
        ],
    }


def _status(phase: Phase, replicas: Iterable[ReplicaCounts]) -> str:
    if phase in (Phase.DRAINING, Phase.CLOSED):
        return "draining"
    replicas = list(replicas)
    if phase is Phase.OPEN and any(counts.ready for counts in replicas):
        return "ready"
    return "failing" if any(counts.failure for counts in replicas) else "starting"


def _complaint(name: str, counts: ReplicaCounts) -> str:
    complaint = f"{counts.ready} of {counts.ready + counts.starting} replicas of {name} are ready"
    return f"{complaint}: {counts.failure}" if counts.failure else complaint


def _merged(workers: Iterable[dict[str, ReplicaCounts]]) -> dict[str, ReplicaCounts]:
    """The replicas of all workers together, by model."""
    sums: dict[str, ReplicaCounts] = {}
    for replicas in workers:
        for name, counts in replicas.items():
            so_far = sums.get(name, ReplicaCounts())
            sums[name] = ReplicaCounts(
                ready=so_far.ready + counts.ready,
                starting=so_far.starting + counts.starting,
                slots=so_far.slots + counts.slots,
                failure=counts.failure or so_far.failure,
            )
    return sums
