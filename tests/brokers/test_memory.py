"""The memory broker keeps the contract."""

from hypothesis import settings
from hypothesis.stateful import MultipleResults, run_state_machine_as_test

from zypher.brokers import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Options, Priority
from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract
from zypher.testing.contract.base import BAD
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
    fewer = settings(max_examples=settings().max_examples // 2)
    run_state_machine_as_test(MemoryMachine, settings=fewer)


def test_the_machine_knows_that_a_deadline_may_be_over_when_a_pause_is() -> None:
    machine = MemoryMachine()
    retried = Options(retries=1, deadline=2)
    machine.submit("m", [Priority.NORMAL], size=1, keep=True, waiters=0, options=retried)
    machine.the_contract_holds()
    claimed = machine.claim("w", "m", 1)
    assert isinstance(claimed, MultipleResults)
    (batch,) = claimed.values
    machine.the_contract_holds()
    machine.finish(batch, slice(None), BAD)
    machine.advance(30, "enforce_clocks")
    machine.the_contract_holds()
    machine.teardown()
