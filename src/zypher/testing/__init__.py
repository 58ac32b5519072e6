"""Tests that come with Zypher, for those who write a broker. They need pytest and anyio."""

from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract

__all__ = ["BrokerContract", "ManualClock"]
