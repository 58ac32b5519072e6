"""Whatever is done to the sqlite broker, its ends and deaths among it, it keeps the contract."""

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from zypher.brokers import Broker, Limits
from zypher.brokers.sqlite import SqliteBroker, backlog, broker
from zypher.testing.clock import ManualClock
from zypher.testing.machine import DurableBrokerMachine

# A restart takes longer than all else that is done to it.
SLOWER = settings(max_examples=settings().max_examples // 4)


class SqliteMachine(DurableBrokerMachine):
    """All that can be done to it, in any order."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.files = (Path(self.directory.name) / f"{number}.db" for number in itertools.count())
        super().__init__()

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        self.path = next(self.files)
        return SqliteBroker(self.path, limits, clock)

    async def reopen(self, limits: Limits, clock: ManualClock) -> Broker:
        return SqliteBroker(self.path, limits, clock)

    async def kill(self, broker: Broker) -> None:
        """Go on with a copy of the files as they are: what is not in them dies."""
        before, self.path = self.path, next(self.files)
        for end in ("", "-wal"):
            shutil.copy(f"{before}{end}", f"{self.path}{end}")
        await broker.aclose()

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


def test_whatever_is_done_to_it_the_sqlite_broker_does_what_the_contract_says() -> None:
    run_state_machine_as_test(SqliteMachine, settings=SLOWER)


class SmallWindow(SqliteMachine):
    """A claim gets no more than is in memory."""

    claims_are_full = False


def test_so_it_does_when_most_of_its_queue_is_on_the_disk_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (backlog, broker):
        monkeypatch.setattr(module, "WINDOW", 4)
    run_state_machine_as_test(SmallWindow, settings=SLOWER)
