"""The memory broker keeps the contract."""

from zypher.brokers import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.testing import BrokerContract, ManualClock


class TestMemoryBroker(BrokerContract):
    """All that the contract says."""

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        return MemoryBroker(limits, clock)
