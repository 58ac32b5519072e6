"""How the replicas of each model stand, those of all workers together."""

from collections.abc import Iterable, Mapping

from zypher.brokers.base import ReplicaCounts, WorkerInfo


def standing(workers: Iterable[WorkerInfo]) -> dict[str, ReplicaCounts]:
    """The replicas of all workers together, by model."""
    each: dict[str, list[ReplicaCounts]] = {}
    for worker in workers:
        for name, counts in worker.replicas.items():
            each.setdefault(name, []).append(counts)
    return {name: _together(counts) for name, counts in each.items()}


def paused(replicas: Mapping[str, ReplicaCounts]) -> dict[str, ReplicaCounts]:
    """Those models that are out of service wherever they are ready."""
    return {name: counts for name, counts in replicas.items() if counts.pause}


def _together(each: list[ReplicaCounts]) -> ReplicaCounts:
    return ReplicaCounts(
        ready=sum(counts.ready for counts in each),
        starting=sum(counts.starting for counts in each),
        slots=sum(counts.slots for counts in each),
        failure=next((counts.failure for counts in each if counts.failure), None),
        suspended=next((counts.suspended for counts in each if counts.suspended), None),
        # Where one is in service, or about to try, work is done.
        pause=min((counts.pause for counts in each if counts.ready), default=0.0),
    )
