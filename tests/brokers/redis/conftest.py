"""Nodes that share a Redis, as servers and workers on several machines do."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.redis_servers import RedisServer
from zypher.brokers import Limits
from zypher.brokers.redis import RedisBroker, waits
from zypher.brokers.redis.waits import Waits
from zypher.clock import Clock, SystemClock
from zypher.testing.contract.base import LIMITS

Join = Callable[..., Coroutine[Any, Any, RedisBroker]]


@pytest.fixture
async def join(redis_server: RedisServer) -> AsyncIterator[Join]:
    """Starts one more node on the shared server, or at another URL. All end with the test."""
    async with AsyncExitStack() as nodes:

        async def join(
            clock: Clock | None = None, *, limits: Limits = LIMITS, url: str = redis_server.url
        ) -> RedisBroker:
            broker = RedisBroker(url, limits, clock or SystemClock())
            nodes.push_async_callback(broker.aclose)
            await broker.start()
            return broker

        yield join


@pytest.fixture
def without_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes know only what they are told: nothing is found out by looking again."""

    async def never(_: Waits) -> None:
        """Look for nothing."""

    monkeypatch.setattr(Waits, "_sweep", never)


@pytest.fixture
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes look often for what they were not told, so that a test is done soon."""
    monkeypatch.setattr(waits, "_SWEEP_INTERVAL", 0.1)
