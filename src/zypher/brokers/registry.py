"""What servers and workers in one process tell of themselves."""

from zypher.brokers.base import Broker, ModelInfo, WorkerInfo


class Registry(Broker):
    """The part of a broker that knows models and workers."""

    def __init__(self) -> None:
        self._models: dict[str, ModelInfo] = {}
        self._workers: dict[str, WorkerInfo] = {}

    async def register_model(self, model: ModelInfo) -> None:
        self._models[model.name] = model

    async def models(self) -> dict[str, ModelInfo]:
        return self._models

    async def register_worker(self, worker: WorkerInfo) -> None:
        self._workers[worker.id] = worker

    async def forget_worker(self, id: str) -> None:
        self._workers.pop(id, None)

    async def workers(self) -> dict[str, WorkerInfo]:
        return self._workers
