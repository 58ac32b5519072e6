"""The redis broker keeps the contract, on Redis and on Valkey."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.redis_servers import RedisServer
from zypher.brokers import Broker, Limits
from zypher.brokers.redis import RedisBroker
from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract
from zypher.testing.machine import BrokerMachine


class TestRedisBroker(BrokerContract):
    """All that the contract says."""

    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.url = redis_server.url

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        return RedisBroker(self.url, limits, clock)


def test_whatever_is_done_to_it_the_redis_broker_does_what_the_contract_says(
    redis_server: RedisServer,
) -> None:
    class RedisMachine(BrokerMachine):
        """All that can be done to it, in any order, from an empty server on."""

        async def open(self, limits: Limits, clock: ManualClock) -> Broker:
            redis_server.call("FLUSHALL")
            return RedisBroker(redis_server.url, limits, clock)

    # Each step asks a server on the other side of a connection: fewer examples take as long.
    fewer = settings(max_examples=settings().max_examples // 8)
    run_state_machine_as_test(RedisMachine, settings=fewer)
