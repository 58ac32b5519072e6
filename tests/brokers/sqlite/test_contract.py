"""The sqlite broker keeps the contract."""

from pathlib import Path

import pytest

from zypher.brokers import Broker, Limits
from zypher.brokers.sqlite import SqliteBroker
from zypher.testing.clock import ManualClock
from zypher.testing.contract import BrokerContract


class TestSqliteBroker(BrokerContract):
    """All that the contract says."""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "queue.db"

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        return SqliteBroker(self.path, limits, clock)
