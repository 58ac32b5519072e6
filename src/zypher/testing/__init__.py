"""Tests that come with Zypher, for those who write a broker. They need pytest and anyio."""

from zypher.testing.broker_contract import BrokerContract
from zypher.testing.clock import ManualClock

__all__ = ["BrokerContract", "ManualClock"]
