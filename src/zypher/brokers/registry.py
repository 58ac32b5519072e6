"""What servers and workers in one process tell of themselves."""

from collections.abc import Collection, Iterable

from zypher.brokers.base import Broker, ModelInfo, WorkerInfo


class Registry(Broker):
    """The part of a broker that knows models and workers."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ModelInfo] = {}
        self._workers: dict[str, WorkerInfo] = {}

    async def register_model(self, model: ModelInfo) -> None:
        self._models[model.name, model.signature] = model

    async def models(self) -> dict[str, ModelInfo]:
        return in_force(self._models.values(), self._workers.values())

    async def register_worker(self, worker: WorkerInfo) -> None:
        self._workers[worker.id] = worker

    async def forget_worker(self, id: str) -> None:
        self._workers.pop(id, None)

    async def workers(self) -> dict[str, WorkerInfo]:
        return self._workers


def in_force(models: Collection[ModelInfo], workers: Iterable[WorkerInfo]) -> dict[str, ModelInfo]:
    """What `Broker.models` answers, of models in the order in which they were registered first."""
    served = {signed for worker in workers for signed in worker.signatures.items()}
    served_last = sorted(models, key=lambda model: (model.name, model.signature) in served)
    chosen = {model.name: model for model in served_last}
    return {model.name: chosen[model.name] for model in models}
