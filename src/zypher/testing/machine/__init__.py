"""Whatever is done to a broker, in whatever order, it does what the contract says.

Hypothesis does things to a broker in thousands of orders, and compares it after each step with
a `Reference`. A broker's test file says how to open it, and runs it:

    class MemoryMachine(BrokerMachine):
        async def open(self, limits: Limits, clock: ManualClock) -> Broker:
            return MemoryBroker(limits, clock)

    def test_whatever_is_done_to_it_the_memory_broker_does_what_the_contract_says() -> None:
        run_state_machine_as_test(MemoryMachine)

A broker that keeps what it holds is a `DurableBrokerMachine`: that one also says how to `kill`
it and how to `reopen` it.
"""

from zypher.testing.machine.rules import BrokerMachine, DurableBrokerMachine

__all__ = ["BrokerMachine", "DurableBrokerMachine"]
