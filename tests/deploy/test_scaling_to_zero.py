"""KEDA starts workers while work waits or runs, in any lane, and ends the last one after it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.deploy.scaler import KEDA, values
from tests.redis_servers import RedisServer
from zypher.brokers.base import ModelInfo
from zypher.brokers.redis import RedisBroker
from zypher.clock import SystemClock
from zypher.prediction import Prediction, Priority
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, new

pytestmark = pytest.mark.anyio

MODEL = "mock"
FILES = [KEDA / "workers.yaml", KEDA / "one-model.yaml"]


@pytest.fixture
async def broker(redis_server: RedisServer) -> AsyncIterator[RedisBroker]:
    """A node, and a model that some worker has registered."""
    node = RedisBroker(redis_server.url, LIMITS, SystemClock())
    await node.start()
    await node.register_model(ModelInfo(name=MODEL, description="", input_schema={}))
    yield node
    await node.aclose()


class Autoscaler:
    """What KEDA sees now, with each of the files."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def has_work(self, least: int = 1) -> None:
        """All files keep a worker, and count no less than this."""
        for file, found in self._values():
            assert sum(found) >= least, (file.name, found)

    def has_none(self) -> None:
        """No trigger of any file keeps a worker, and none is in error."""
        for file, found in self._values():
            assert not any(found), (file.name, found)

    def _values(self) -> list[tuple[Path, list[int]]]:
        with self._server.client() as client:
            return [(file, values(file, client)) for file in FILES]


@pytest.fixture
def autoscaler(redis_server: RedisServer) -> Autoscaler:
    return Autoscaler(redis_server)


async def claim(broker: RedisBroker, limit: int = 1) -> Sequence[Prediction]:
    """What a worker gets."""
    return await broker.claim("w", MODEL, limit=limit, timeout=PATIENCE)


@pytest.mark.parametrize("priority", Priority)
async def test_work_in_any_lane_starts_a_worker_that_stays_until_it_is_done(
    broker: RedisBroker, autoscaler: Autoscaler, priority: Priority
) -> None:
    autoscaler.has_none()
    for _ in range(3):
        await broker.submit(new(MODEL, priority=priority), keep=True)
    autoscaler.has_work(3)
    first, second, third = await claim(broker, 3)
    autoscaler.has_work(3)
    await broker.finish([(first.claim, GOOD), (second.claim, GOOD)])
    autoscaler.has_work(1)
    await broker.finish([(third.claim, GOOD)])
    autoscaler.has_none()


async def test_what_a_worker_gave_back_starts_another(
    broker: RedisBroker, autoscaler: Autoscaler
) -> None:
    await broker.submit(new(MODEL), keep=True)
    (claimed,) = await claim(broker)
    await broker.release([claimed.claim])
    autoscaler.has_work()
    (again,) = await claim(broker)
    await broker.finish([(again.claim, GOOD)])
    autoscaler.has_none()


@pytest.mark.parametrize("priority", Priority)
async def test_a_synchronous_call_that_became_a_202_while_it_waited_starts_a_worker(
    broker: RedisBroker, autoscaler: Autoscaler, priority: Priority
) -> None:
    made = new(MODEL, priority=priority)
    await broker.submit(made, keep=False, waits=True)
    autoscaler.has_work()
    await broker.keep(made.id)
    await broker.stats()  # as servers ask once a second: what is left of it in its old lane goes
    autoscaler.has_work()
    (claimed,) = await claim(broker)
    autoscaler.has_work()
    await broker.finish([(claimed.claim, GOOD)])
    autoscaler.has_none()


async def test_what_was_canceled_while_it_waited_starts_nothing(
    broker: RedisBroker, autoscaler: Autoscaler
) -> None:
    made = await broker.submit(new(MODEL), keep=True)
    await broker.cancel(made.id)
    await broker.stats()  # as servers ask once a second
    autoscaler.has_none()
