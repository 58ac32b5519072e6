"""Where the queue is during a soak, and what is done there to those who use it."""

import random
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.rig import Rig, target
from tests.harness import Process
from tests.receiver import SECRET
from tests.redis_servers import RedisServer
from tests.soak.gauges import Read, database, of_redis, processes, replicas

_MODELS = ("work", "doubled", "counts", "fails", "echo")

# What has ended is forgotten soon: else a queue that grows would say nothing for an hour.
TTL = 30.0

_ARGUMENTS = (
    *("--ttl", f"{TTL:g}", "--grace", "3", "--max-crashes", "100"),
    *("--webhook-secret", SECRET, "--webhook-allow-private", "true"),
)

Deed = Callable[[], Awaitable[object]]


class Place(ABC):
    """A system in the middle of a soak. `gentle` deeds leave alone what is measured."""

    rig: Rig

    @property
    @abstractmethod
    def gauges(self) -> Sequence[Read]:
        """What it takes up."""

    @property
    @abstractmethod
    def gentle(self) -> Sequence[Deed]:
        """What happens to replicas."""

    @property
    @abstractmethod
    def rough(self) -> Sequence[Deed]:
        """What happens to servers and workers, so that others take their place."""

    def _server(self) -> list[int]:
        return [self.rig.running.process.pid]

    async def _kill_replica_of(self, process: Process) -> None:
        if victims := process.replicas():
            victim = random.choice(victims)
            self.rig.history.note("a replica is killed", victim.pid)
            victim.kill()

    async def _reload(self, process: Process) -> None:
        self.rig.history.note("SIGHUP")
        process.process.send_signal(signal.SIGHUP)


class OnDisk(Place):
    """One server with its replicas, and a file."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    @property
    def gauges(self) -> Sequence[Read]:
        return (
            processes("server", self._server),
            replicas(self._server),
            database(self.rig.directory),
        )

    @property
    def gentle(self) -> Sequence[Deed]:
        return (
            lambda: self._kill_replica_of(self.rig.running),
            lambda: self._reload(self.rig.running),
        )

    @property
    def rough(self) -> Sequence[Deed]:
        return (self._restart, self._crash)

    async def _restart(self) -> None:
        await self.rig.stop()
        await self.rig.start()

    async def _crash(self) -> None:
        await self.rig.kill()
        await self.rig.start()


class OverRedis(Place):
    """A server, two workers, and a Redis."""

    def __init__(self, cluster: Cluster, redis: RedisServer) -> None:
        self.rig = self._cluster = cluster
        self._redis = redis

    @property
    def gauges(self) -> Sequence[Read]:
        return (
            processes("server", self._server),
            processes("workers", self._workers),
            replicas(self._workers),
            of_redis(self._redis),
        )

    @property
    def gentle(self) -> Sequence[Deed]:
        return (
            lambda: self._kill_replica_of(random.choice(self._cluster.workers)),
            lambda: self._reload(random.choice(self._cluster.workers)),
        )

    @property
    def rough(self) -> Sequence[Deed]:
        return (self._restart_server, self._restart_worker, self._crash_server, self._crash_worker)

    def _workers(self) -> list[int]:
        return [worker.process.pid for worker in self._cluster.workers]

    async def _restart_server(self) -> None:
        await self._cluster.stop()
        await self._cluster.start()

    async def _restart_worker(self) -> None:
        await self._cluster.start_worker()
        await self._cluster.stop_worker(self._cluster.workers[0])

    async def _crash_server(self) -> None:
        await self._cluster.kill()
        await self._cluster.start()

    async def _crash_worker(self) -> None:
        await self._cluster.kill_worker(self._cluster.workers[0])
        await self._cluster.start_worker()


@asynccontextmanager
async def on_disk(directory: Path) -> AsyncIterator[Place]:
    """A server with its queue in this directory."""
    others = map(target, _MODELS[1:])
    async with Rig(directory, _MODELS[0], *others, *_ARGUMENTS) as rig:
        yield OnDisk(rig)


@asynccontextmanager
async def over_redis(directory: Path) -> AsyncIterator[Place]:
    """A server and two workers, with a Redis in this directory."""
    with durable_redis(directory) as redis:
        async with Cluster(directory, redis.url, *_ARGUMENTS, models=_MODELS, workers=2) as cluster:
            yield OverRedis(cluster, redis)


PLACES = {"sqlite": on_disk, "redis": over_redis}
