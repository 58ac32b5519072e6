"""What a worker tells the broker of itself: its models, its replicas, and what they run."""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

from zypher.brokers.base import Broker, ModelInfo, ReplicaCounts, WorkerInfo
from zypher.errors import Unavailable
from zypher.prediction import signature_of
from zypher.replicas.frames import Described
from zypher.replicas.pool import Pool
from zypher.worker.breaker import Breaker


class Registration:
    """How one worker is known; `told` is called whenever the broker knows it anew."""

    def __init__(
        self,
        broker: Broker,
        worker: str,
        pools: Sequence[Pool],
        breakers: Mapping[str, Breaker],
        told: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._broker = broker
        self._worker = worker
        self._pools = pools
        self._breakers = breakers
        self._told = told
        self._known: WorkerInfo | None = None
        self._models: dict[str, ModelInfo] = {}

    def replicas(self) -> dict[str, ReplicaCounts]:
        """How the replicas stand, by model."""
        return {
            pool.spec.name: _counts(pool, self._breakers[pool.spec.name]) for pool in self._pools
        }

    async def register_model(self, name: str, described: Described) -> None:
        """Tell the broker of a model, unless it knows this version. Raises `Unavailable`."""
        model = ModelInfo(
            name=name,
            description=described.description,
            input_schema=described.input_schema,
            output_schema=described.output_schema,
        )
        if self._models.get(name) != model:
            await self._broker.register_model(model)
            self._models[name] = model

    async def register(self, stale_outcomes: int) -> None:
        """Tell the broker how all stands; if it is away, `refresh` does it later."""
        info, self._known = self._info(stale_outcomes), None
        with contextlib.suppress(Unavailable):
            for pool in self._pools:
                # Not before the worker does it at its start: the first model is the default.
                if pool.running is not None and pool.spec.name in self._models:
                    await self.register_model(pool.spec.name, pool.running)
            await self._broker.register_worker(info)
            self._known = info
            if self._told is not None:
                await self._told()

    async def refresh(self, stale_outcomes: int) -> None:
        """Tell the broker what it does not know yet."""
        if self._known != self._info(stale_outcomes):
            await self.register(stale_outcomes)

    def _info(self, stale_outcomes: int) -> WorkerInfo:
        return WorkerInfo(
            id=self._worker,
            host=socket.gethostname(),
            pid=os.getpid(),
            replicas=self.replicas(),
            signatures={
                pool.spec.name: signature_of(pool.running.input_schema)
                for pool in self._pools
                if pool.running is not None
            },
            stale_outcomes=stale_outcomes,
        )


def _counts(pool: Pool, breaker: Breaker) -> ReplicaCounts:
    return ReplicaCounts(
        ready=len(pool.ready),
        starting=pool.size - len(pool.ready),
        slots=sum(replica.slots for replica in pool.ready),
        failure=str(pool.failure) if pool.failure else None,
        suspended=breaker.reason,
        pause=breaker.pause,
    )
