"""The memory broker keeps the contract."""

from hypothesis.stateful import run_state_machine_as_test

from zypher.brokers import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract
from zypher.testing.machine import BrokerMachine


class TestMemoryBroker(BrokerContract):
    """All that the contract says."""

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        return MemoryBroker(limits, clock)


class MemoryMachine(BrokerMachine):
    """All that can be done to it, in any order."""

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        return MemoryBroker(limits, clock)


def test_whatever_is_done_to_it_the_memory_broker_does_what_the_contract_says() -> None:
    run_state_machine_as_test(MemoryMachine)
