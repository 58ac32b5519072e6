"""What the tests of the contract are made of."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from zypher.brokers.base import Broker, Limits
from zypher.prediction import Failure, Outcome, Prediction, Priority, new_id
from zypher.testing.clock import ManualClock

GOOD = Outcome(result=b'"good"')
BAD = Outcome(failure=Failure("model_error", "The model raised ValueError: no."))
LIMITS = Limits(max_queued=100, max_queued_bytes=10_000, max_crashes=3, lease=30.0, ttl=3600.0)

# Longer than any wait in here takes when all is well; a wait that should not end is not tested.
PATIENCE = 10.0


def new(
    model: str = "m",
    input: bytes = b"1",
    priority: Priority = Priority.NORMAL,
    **fields: Any,
) -> Prediction:
    """A prediction that nobody has submitted yet."""
    given = {"created": 0.0} | fields
    return Prediction(id=new_id(), model=model, input=input, priority=priority, **given)


@pytest.mark.anyio
class BrokerTests(ABC):
    """How the tests get a broker, and what they do with it again and again."""

    @abstractmethod
    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        """A new, empty broker that is not started yet."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def broker(self, clock: ManualClock) -> AsyncIterator[Broker]:
        async with self.opened(LIMITS, clock) as broker:
            yield broker

    @asynccontextmanager
    async def opened(self, limits: Limits, clock: ManualClock) -> AsyncIterator[Broker]:
        broker = await self.open(limits, clock)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.aclose()

    async def submit(self, broker: Broker, count: int = 1, **fields: object) -> list[Prediction]:
        """Kept predictions, submitted in this order."""
        made = [new(**fields) for _ in range(count)]  # type: ignore[arg-type]
        return [await broker.submit(prediction, keep=True) for prediction in made]

    async def claim(
        self, broker: Broker, limit: int = 1, worker: str = "w", model: str = "m"
    ) -> Sequence[Prediction]:
        """What can be claimed now."""
        return await broker.claim(worker, model, limit=limit, timeout=0)

    async def running(self, broker: Broker) -> Prediction:
        """A prediction that was submitted and claimed."""
        await self.submit(broker)
        (claimed,) = await self.claim(broker)
        return claimed
