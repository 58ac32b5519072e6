"""A worker that is at work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from zypher.brokers.base import Broker
from zypher.replicas.spec import ReplicaSpec
from zypher.worker import Worker

SomeBroker = TypeVar("SomeBroker", bound=Broker)


@asynccontextmanager
async def at_work(
    broker: SomeBroker, model: ReplicaSpec, replicas: int, *, cancel_grace: float = 5.0
) -> AsyncIterator[tuple[Worker, SomeBroker]]:
    """A worker whose replicas are ready, and its broker; both end with the block."""
    worker = Worker(broker, [(model, replicas)], cancel_grace=cancel_grace)
    try:
        await worker.start()
        await worker.up()
        yield worker, broker
    finally:
        await worker.stop()
        await broker.aclose()
