"""What the Redis server is and how it is set up: whether it can be used, and what it may lose."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from zypher.brokers.redis.link import Link
from zypher.clock import Clock
from zypher.errors import ConfigurationError, PredictionError

_OLDEST = (7, 0)

# Seconds by which the clocks of two machines may differ before somebody is told.
_TOLERANCE = 5.0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself. What it does not tell is None."""

    version: str = ""
    is_cluster: bool = False
    eviction: str | None = None  # maxmemory-policy
    maxmemory: int = 0
    appends: bool = False  # appendonly
    syncs: str | None = None  # appendfsync
    snapshots: bool | None = None
    replicas: int = 0
    lag: float = 0.0  # seconds by which its clock is behind that of this machine

    @property
    def evicts(self) -> bool:
        """True if it throws keys away when its memory is full."""
        return bool(self.maxmemory) and self.eviction not in (None, "noeviction")

    @property
    def complaints(self) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if self.evicts:
            yield _evicting(self)
        if abs(self.lag) > _TOLERANCE:
            where = "ahead of" if self.lag > 0 else "behind"
            yield (
                f"The clock of this machine is {abs(self.lag):.0f} s {where} that of Redis, so "
                "that results expire too early or too late: set both by NTP."
            )

    @property
    def guarantee(self) -> str:
        """What survives what, in one sentence."""
        return f"Predictions are held in Redis: {self._local}{self._failover}."

    @property
    def _local(self) -> str:
        if not self.appends and self.snapshots is False:
            return "it is set up to write nothing to its disk, and loses them all when it ends"
        if not self.appends:
            return (
                "it writes snapshots alone (appendonly is off), and loses what came after the last "
                "one when it is killed"
            )
        if self.syncs == "always":
            return "what was accepted survives the death of Redis and of its machine"
        if self.syncs == "everysec":
            return (
                "what was accepted in the last second or two may be lost when Redis or its machine "
                "dies (appendfsync everysec)"
            )
        if self.syncs == "no":
            return (
                "what was accepted survives the death of Redis, and the last half minute may be "
                "lost with its machine (appendfsync no)"
            )
        return (
            "it writes an append-only file, and does not tell how often it syncs it: with "
            "appendfsync always nothing is lost, with everysec the last second or two may be"
        )

    @property
    def _failover(self) -> str:
        if not self.replicas:
            return ""
        return "; a failover to a replica loses what was not copied there yet"


async def inspect(link: Link, clock: Clock) -> Facts:
    """Ask the server. Raises `Unavailable` if it does not answer."""
    about, (seconds, microseconds) = await asyncio.gather(link.do("INFO"), link.do("TIME"))
    settings = {name: await _setting(link, name) for name in ("appendfsync", "save")}
    return Facts(
        version=str(about.get("redis_version", "")),
        is_cluster=bool(about.get("cluster_enabled", 0)),
        eviction=about.get("maxmemory_policy"),
        maxmemory=int(about.get("maxmemory", 0)),
        appends=bool(about.get("aof_enabled", 0)),
        syncs=settings["appendfsync"],
        snapshots=None if settings["save"] is None else bool(settings["save"]),
        replicas=int(about.get("connected_slaves", 0)),
        lag=clock.wall() - seconds - microseconds / 1_000_000,
    )


async def _setting(link: Link, name: str) -> str | None:
    """A setting; None if the server does not tell, as many hosted ones do not."""
    try:
        answer: Any = await link.do("CONFIG GET", name)
    except PredictionError:
        return None
    return _text(next(iter(answer.values()), None)) if isinstance(answer, dict) else None


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def require_usable(facts: Facts) -> None:
    """Raise `ConfigurationError` if predictions would not be safe there."""
    numbers = tuple(int(part) for part in facts.version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST:
        raise ConfigurationError(
            f"The Redis server has version {facts.version or 'unknown'}, and 7.0 is the oldest "
            "that can be used: upgrade it, or use Valkey."
        )
    if facts.is_cluster:
        raise ConfigurationError(
            "The Redis server is part of a cluster, which cannot be used: give a single server, or "
            "one with sentinels."
        )
    if facts.evicts:
        raise ConfigurationError(_evicting(facts))


def _evicting(facts: Facts) -> str:
    return (
        f"The Redis server throws keys away when its memory is full (maxmemory-policy "
        f"{facts.eviction}), and predictions would vanish: set maxmemory-policy to noeviction."
    )
