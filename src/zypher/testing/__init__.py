"""Tests that come with Zypher, for those who write a broker.

They need pytest, anyio and hypothesis.
"""

from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract
from zypher.testing.machine import BrokerMachine, DurableBrokerMachine

__all__ = ["BrokerContract", "BrokerMachine", "DurableBrokerMachine", "ManualClock"]
