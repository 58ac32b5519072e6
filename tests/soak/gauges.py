"""What a system takes up: read from outside, again and again."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import psutil
import redis

from tests.redis_servers import RedisServer


class Sample(NamedTuple):
    """When it was taken (in monotonic seconds), and the value of each gauge."""

    at: float
    values: Mapping[str, float]


Read = Callable[[], Mapping[str, float]]


class Sampler:
    """Reads gauges every `interval` seconds until the `async with` block ends.

    A moment at which they cannot be read is left out: a process is just being replaced.
    """

    def __init__(self, reads: Sequence[Read], interval: float) -> None:
        self.samples: list[Sample] = []
        self._interval = interval
        self._reads = reads

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._go_on())
        return self

    async def has_samples(self, count: int) -> None:
        """Wait until there are so many: a busy machine may take its time for each."""
        while len(self.samples) < count:
            await asyncio.sleep(self._interval)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _go_on(self) -> None:
        while True:
            with suppress(psutil.Error, OSError, redis.ConnectionError):
                self.samples.append(await asyncio.to_thread(self._sample))
            await asyncio.sleep(self._interval)

    def _sample(self) -> Sample:
        at = time.monotonic()
        return Sample(at, {name: v for read in self._reads for name, v in read().items()})


def processes(name: str, pids: Callable[[], Sequence[int]]) -> Read:
    """Memory (their own and their part of what is shared), files and threads of some processes."""

    def read() -> dict[str, float]:
        each = [psutil.Process(pid) for pid in pids()]
        return {
            f"{name}: memory": sum(process.memory_full_info().pss for process in each),
            f"{name}: files": sum(process.num_fds() for process in each),
            f"{name}: threads": sum(process.num_threads() for process in each),
        }

    return read


def replicas(of: Callable[[], Sequence[int]]) -> Read:
    """How many replicas some processes have, and the memory of these."""

    def read() -> dict[str, float]:
        each = [child for pid in of() for child in psutil.Process(pid).children()]
        return {
            "replicas": len(each),
            "replicas: memory": sum(process.memory_full_info().pss for process in each),
        }

    return read


def database(directory: Path) -> Read:
    """The size of the queue on the disk, and of its log."""

    def read() -> dict[str, float]:
        return {
            "database": (directory / "zypher.db").stat().st_size,
            "log of the database": (directory / "zypher.db-wal").stat().st_size,
        }

    return read


def of_redis(server: RedisServer) -> Read:
    """The memory of a Redis, its keys, and the entries of the streams in which work waits."""

    def read() -> dict[str, float]:
        with server.client() as client:
            streams = list(_streams(client))
            return {
                "Redis: memory": client.info("memory")["used_memory"],
                "Redis: keys": client.dbsize(),
                "Redis: connections": client.info("clients")["connected_clients"],
                "Redis: entries of streams": sum(client.xlen(stream) for stream in streams),
            }

    return read


def _streams(client: redis.Redis) -> Iterator[bytes]:
    return client.scan_iter("zypher:q:*", count=1000, _type="STREAM")
