"""Whether this node can serve, and what is not as it should be."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from zypher.brokers.base import Broker, ModelStats, Overview, ReplicaCounts
from zypher.errors import Unavailable
from zypher.prediction import Priority
from zypher.server.standing import standing
from zypher.server.state import Phase, ServerState

_LANES = [priority.name.lower() for priority in Priority]

# How long the broker has to answer, in seconds: a probe that gives up has learned nothing.
_PATIENCE = 0.5


class Jobs(msgspec.Struct, frozen=True):
    """Predictions of all models."""

    queued: int
    processing: int


class Readiness(msgspec.Struct, frozen=True):
    """The body of `/readyz`. `status` is ready, starting, failing or draining.

    What nobody knows while the broker is away is None.
    """

    status: str
    degraded: list[str]
    jobs: Jobs | None
    replicas: dict[str, ReplicaCounts]
    oldest_queued_age: float | None
    guarantee: str


async def readiness(state: ServerState) -> Readiness:
    """How this node stands now; it says so at once, also while the broker is away."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return report(state, await overview(state.broker))
    except (Unavailable, TimeoutError) as error:
        return report_of_absence(state, error, _PATIENCE)


async def overview(broker: Broker) -> Overview:
    """How the queues stand and who works on them, at this moment."""
    return Overview(await broker.stats(), await broker.workers())


def report(state: ServerState, now: Overview) -> Readiness:
    """How this node stands when its broker says this."""
    replicas = standing(now.workers.values())
    degraded = [
        *state.broker.degraded(),
        *_complaints(state.models, replicas),
        *_refusals(now.stats),
    ]
    each = now.stats.values()
    return Readiness(
        status=_status(state),
        degraded=degraded,
        jobs=Jobs(sum(s.queued for s in each), sum(s.processing for s in each)),
        replicas=replicas,
        oldest_queued_age=round(max((s.oldest_queued_age for s in each), default=0.0), 3),
        guarantee=state.broker.guarantee(),
    )


def report_of_absence(state: ServerState, error: Exception, patience: float) -> Readiness:
    """How this node stands when its broker did not answer, for this reason or within this time."""
    silent = str(error) or f"The broker has not answered within {patience:g} s."
    degraded = [*state.broker.degraded()] or [silent]
    status = "draining" if _is_leaving(state.phase) else "failing"
    return Readiness(status, degraded, None, {}, None, state.broker.guarantee())


def statistics(now: Overview) -> dict[str, Any]:
    """The queue and the replicas of every model, and the workers, wherever they are."""
    replicas = standing(now.workers.values())
    return {
        "models": {
            name: msgspec.structs.asdict(stats)
            | {"waiting": dict(zip(_LANES, stats.waiting, strict=True))}
            | {"replicas": replicas.get(name, ReplicaCounts())}
            for name, stats in now.stats.items()
        },
        "workers": [
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "stale_outcomes": worker.stale_outcomes,
                "replicas": worker.replicas,
            }
            for worker in now.workers.values()
        ],
    }


def _is_leaving(phase: Phase) -> bool:
    return phase in (Phase.DRAINING, Phase.CLOSED)


def _status(state: ServerState) -> str:
    """A node with replicas of its own is ready once one of them is; any other, with a model."""
    if _is_leaving(state.phase):
        return "draining"
    own = None if state.own_replicas is None else state.own_replicas().values()
    if own is None:
        can_serve = any(name not in state.paused for name in state.models)
    else:
        can_serve = any(counts.ready and not counts.pause for counts in own)
    if state.phase is Phase.OPEN and can_serve:
        return "ready"
    is_failing = state.paused or any(counts.failure for counts in own or ())
    return "failing" if is_failing else "starting"


def _complaints(models: Iterable[str], replicas: Mapping[str, ReplicaCounts]) -> Iterator[str]:
    for name in dict.fromkeys([*models, *replicas]):
        counts = replicas.get(name, ReplicaCounts())
        if counts.suspended:
            yield _suspension(name, counts)
        if not counts.ready and not counts.starting:
            yield f"No worker serves {name} now: its predictions wait for one"
        elif counts.starting:
            yield _complaint(name, counts)
        elif counts.failure:
            yield f"{name} runs its old code, because the new could not be loaded: {counts.failure}"


def _refusals(models: Mapping[str, ModelStats]) -> Iterator[str]:
    for name, stats in models.items():
        if stats.refused:
            yield (
                f"{name} as it runs now refuses {stats.refused} of the predictions that wait: they "
                "were admitted under another signature. Each is tried for half a minute and then "
                "fails, unless code that takes it is loaded until then"
            )


def _complaint(name: str, counts: ReplicaCounts) -> str:
    complaint = f"{counts.ready} of {counts.ready + counts.starting} replicas of {name} are ready"
    return f"{complaint}: {counts.failure}" if counts.failure else complaint


def _suspension(name: str, counts: ReplicaCounts) -> str:
    if counts.pause:
        return f"{name} is out of service: {counts.suspended}"
    return f"{name} is being tried again, at one worker or all of them: {counts.suspended}"
