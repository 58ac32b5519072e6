"""What is sent to Redis twice, because the first answer was lost, does nothing twice."""

import asyncio
from typing import Any

import pytest

from tests.redis_servers import RedisServer
from zypher.brokers import Broker, Limits
from zypher.brokers.redis import RedisBroker, node
from zypher.brokers.redis.calls import Call
from zypher.brokers.redis.link import _SHAS, Link
from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract

# What they tell is told once: who deletes something finds it gone.
TOLD_ONCE = {_SHAS[script] for script in ("delete", "purge")}


class Stutter(Link):
    """Sends everything twice that may be sent twice, and hears the second answer alone."""

    def send(self, call: Call) -> asyncio.Future[Any]:
        if call.repeatable and TOLD_ONCE.isdisjoint(call.command):
            super().send(Call(asyncio.get_running_loop(), call.command))
        return super().send(call)


class TestStutteringBroker(BrokerContract):
    """All that the contract says, with every first answer lost."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(node, "Link", Stutter)
        self.redis = redis_server

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        self.redis.call("FLUSHALL")
        return RedisBroker(self.redis.url, limits, clock)
