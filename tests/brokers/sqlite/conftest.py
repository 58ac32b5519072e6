"""A queue in a file, opened again and again."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from zypher.brokers import Limits
from zypher.brokers.sqlite import SqliteBroker
from zypher.prediction import Failure, Outcome, Prediction, Priority, new_id
from zypher.testing.clock import ManualClock

LIMITS = Limits(max_queued=100_000, max_crashes=3, lease=30.0, ttl=3600.0)
GOOD = Outcome(result=b'"good"')
BAD = Outcome(failure=Failure("model_error", "The model raised ValueError: no."))


def new(input: bytes = b"1", priority: Priority = Priority.NORMAL, model: str = "m") -> Prediction:
    return Prediction(id=new_id(), model=model, input=input, created=0.0, priority=priority)


async def submit(broker: SqliteBroker, count: int, input: bytes = b"1") -> list[Prediction]:
    """So many predictions, accepted in this order."""
    made = [new(input) for _ in range(count)]
    return await asyncio.gather(*(broker.submit(prediction, keep=True) for prediction in made))


async def drain(broker: SqliteBroker, limit: int = 100) -> list[str]:
    """Claim and finish all that waits; the ids in the order of the claims."""
    ids = []
    while claimed := await broker.claim("w", "m", limit=limit, timeout=0):
        await broker.finish([(prediction.claim, GOOD) for prediction in claimed])
        ids += [prediction.id for prediction in claimed]
    return ids


class Queue:
    """One file, and the brokers that open it one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()

    @asynccontextmanager
    async def opened(
        self, limits: Limits = LIMITS, *, salvage: bool = False
    ) -> AsyncIterator[SqliteBroker]:
        """A broker on the file; it is closed in order at the end."""
        broker = SqliteBroker(self.path, limits, self.clock, salvage_damaged=salvage)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.aclose()

    @property
    def wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue.db")


@contextmanager
def failing_disk() -> Iterator[None]:
    """Within, the kernel refuses every write of this process to any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
