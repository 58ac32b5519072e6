"""What servers and workers on all machines tell of themselves, and how the queues stand."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from zypher.brokers.base import Limits, ModelInfo, ModelStats, Overview, WorkerInfo
from zypher.brokers.redis.node import Node
from zypher.brokers.redis.records import dict_of
from zypher.brokers.registry import in_force
from zypher.clock import Clock
from zypher.prediction import Status

_MINUTE = 60

# How long an overview is good enough for another estimate, in seconds.
_OVERVIEW_LASTS = 0.1


class Registry(Node):
    """The part of the redis broker that knows models and workers."""

    def __init__(self, url: str, limits: Limits, clock: Clock) -> None:
        super().__init__(url, limits, clock)
        # What was registered here, should Redis lose it.
        self._models: dict[str, tuple[ModelInfo, int]] = {}  # with its number among all
        self._workers: dict[str, WorkerInfo] = {}
        self._overview = Overview({}, {})
        self._overview_until = -math.inf

    async def register_model(self, model: ModelInfo) -> None:
        await self._register_model(model)

    async def models(self) -> dict[str, ModelInfo]:
        self._require_open()
        order, models, workers = await asyncio.gather(
            self._link.do("ZRANGE", "zypher:models:order", 0, -1),
            self._link.do("HGETALL", "zypher:models"),
            self.workers(),
        )
        known = [msgspec.json.decode(models[one], type=ModelInfo) for one in order if one in models]
        return in_force(known, workers.values())

    async def register_worker(self, worker: WorkerInfo) -> None:
        self._workers[worker.id] = worker
        await self._run("greet", worker.id, msgspec.json.encode(worker))

    async def forget_worker(self, id: str) -> None:
        self._workers.pop(id, None)
        await self._run("bury", id)

    async def workers(self) -> dict[str, WorkerInfo]:
        self._require_open()
        workers = await self._link.do("HGETALL", "zypher:workers")
        return {
            id.decode(): msgspec.json.decode(worker, type=WorkerInfo)
            for id, worker in workers.items()
        }

    async def stats(self) -> dict[str, ModelStats]:
        time = self._time
        return {
            model.decode(): _stats(time, dict_of(queue), rest)
            for model, queue, rest in await self._run("stats", time)
        }

    async def overview(self) -> Overview:
        now = self._clock.steady()
        if now >= self._overview_until:  # all others who ask meanwhile get the last one
            self._overview_until = now + _OVERVIEW_LASTS
            self._overview = Overview(*await asyncio.gather(self.stats(), self.workers()))
        return self._overview

    def glance(self) -> Overview | None:
        return self._overview if self._clock.steady() < self._overview_until else None

    async def _register_model(self, model: ModelInfo, number: int | str = "") -> None:
        version = f"{model.name}@{model.signature}"
        number = await self._run("register", version, msgspec.json.encode(model), number)
        self._models[model.name] = model, int(number)

    async def _register_again(self) -> None:
        for model, number in [*self._models.values()]:
            await self._register_model(model, number)
        for worker in self._workers.values():
            await self.register_worker(worker)


def _stats(time: float, queue: dict[bytes, bytes], numbers: Sequence[Any]) -> ModelStats:
    ended, running, waits_since, runs_since, paused, refused = numbers

    def count(name: str) -> int:
        return int(queue.get(name.encode(), 0))

    def age(since: bytes) -> float:
        return max(0.0, time - float(since)) if since else 0.0

    service_time = queue.get(b"service_time")
    return ModelStats(
        queued=count("queued"),
        queued_bytes=count("bytes"),
        waiting=(count("high"), count("normal"), count("low")),
        paused=paused,
        refused=refused,
        processing=running,
        oldest_queued_age=age(waits_since),
        oldest_processing_age=age(runs_since),
        service_time=None if service_time is None else float(service_time),
        completed=count(Status.COMPLETED),
        failed=count(Status.FAILED),
        canceled=count(Status.CANCELED),
        retried=count("retried"),
        crashes=count("crashes"),
        rate=ended / _MINUTE,
    )
