"""The next run in a replica before the last one is out: it waits there, and nobody is charged."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from tests.harness import PATIENCE, HeldRun, Holder, holder
from tests.replicas.test_hardware import MODELS
from tests.replicas.test_pool import spec
from zypher.prediction import Claim, Outcome
from zypher.replicas import flights
from zypher.replicas.ahead import Ahead
from zypher.replicas.flights import Flights
from zypher.replicas.frames import Call
from zypher.replicas.replica import Replica, ReplicaDied
from zypher.replicas.tickets import Tickets

pytestmark = pytest.mark.anyio

# So long before its end the next is handed over, in seconds, if a run takes 10 ms.
LEAD = 0.004


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes nothing back in the middle of a test."""
    monkeypatch.setattr(flights, "PATIENCE", PATIENCE / LEAD)


class Turns:
    """A replica whose runs are brief, what it has reported, and which runs have begun."""

    def __init__(self, replica: Replica, begun: Path) -> None:
        self.replica = replica
        self.outcomes: dict[str, Outcome] = {}
        self.returned: list[str] = []
        self._begun = begun
        self._listening = asyncio.create_task(self._listen())

    @property
    def begun(self) -> list[str]:
        return self._begun.read_text().split()

    @property
    def pid(self) -> int:
        assert self.replica.pid is not None
        return self.replica.pid

    @property
    def in_flight(self) -> list[str]:
        return [claim.id for claim in self.replica.in_flight]

    def hand_over(self, name: str, port: int = 0, deadline: float | None = None) -> Claim:
        claim = Claim(name, 1)
        input = msgspec.json.encode([str(self._begun), name, port])
        self.replica.run([Call(claim, input, deadline)])
        return claim

    async def ended(self, name: str) -> Outcome:
        await self._reported(name, self.outcomes)
        return self.outcomes[name]

    async def came_back(self, name: str) -> None:
        await self._reported(name, self.returned)

    async def run_ahead(self, held: Holder) -> tuple[HeldRun, Claim]:
        """One runs, and is held; another waits behind it."""
        self.hand_over("first", held.port)
        run = await asyncio.to_thread(held.started)
        await self.replica.has_room(ahead=True)
        assert not self.replica.room
        return run, self.hand_over("next", held.port)

    async def died(self) -> None:
        """Wait until the process has ended, and all that it said was heard."""
        await self._listening

    async def _reported(self, name: str, among: Container[str]) -> None:
        async with asyncio.timeout(PATIENCE / 3):
            while name not in among:
                await asyncio.sleep(0.001)

    async def _listen(self) -> None:
        async for report in self.replica.reports():
            self.outcomes |= {claim.id: outcome for claim, outcome in report.outcomes}
            self.returned += [claim.id for claim in report.returned]


@asynccontextmanager
async def turns(begun: Path) -> AsyncIterator[Turns]:
    """A replica that has run something brief, and something may wait there for its turn."""
    replica = Replica(spec("turn", MODELS))
    try:
        await replica.start()
        await replica.set_up()
        taking = Turns(replica, begun)
        taking.hand_over("brief")
        await taking.ended("brief")
        replica._flights.seconds = 0.01  # on a busy machine, too
        yield taking
    finally:
        await replica.stop()


async def test_what_waits_begins_when_the_last_is_out_and_runs_but_once(
    held: Holder, tmp_path: Path
) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        assert taking.in_flight == ["first"]
        run.finish()
        following = await asyncio.to_thread(held.started)
        await taking.ended("first")
        assert taking.in_flight == ["next"]
        following.finish("well")
        assert (await taking.ended("next")).result == b'"well"'
        assert taking.begun == ["brief", "first", "next"]


async def test_who_waits_behind_a_run_that_dies_is_unharmed_and_not_in_flight(
    held: Holder, tmp_path: Path
) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        await taking.replica.stop()
        run.close()
        await taking.died()
        assert (taking.in_flight, taking.returned) == (["first"], ["next"])
        assert taking.begun == ["brief", "first"]


async def test_a_run_that_is_out_is_not_lost_with_the_next_and_the_log_is_of_that_alone(
    held: Holder, tmp_path: Path
) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        run.finish()
        following = held.started()  # and the loop, which stands still, knows nothing of it
        await taking.replica.stop()
        following.close()
        await taking.died()
        assert taking.outcomes.keys() == {"brief", "first"}
        assert (taking.in_flight, taking.returned) == (["next"], [])
        assert taking.replica.last_lines == ["next was here"]


async def test_a_kill_at_any_moment_leaves_each_ended_running_or_unharmed(tmp_path: Path) -> None:
    for turn in range(6):
        async with turns(tmp_path / f"{turn}") as taking:
            handed = {"brief"}
            later = asyncio.get_running_loop().call_later
            later(random.uniform(0.02, 0.08), os.kill, taking.pid, signal.SIGKILL)
            try:
                for number in range(1000):
                    await taking.replica.has_room(ahead=True)
                    taking.hand_over(f"{number}")
                    handed.add(f"{number}")
            except ReplicaDied:
                pass
            await taking.died()
            ended, running = taking.outcomes.keys(), taking.in_flight
            assert sorted([*ended, *running, *taking.returned]) == sorted(handed)
            assert len(running) <= 1
            assert not set(taking.begun) & set(taking.returned)


async def test_what_waits_too_long_comes_back_and_never_begins_there(
    held: Holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "PATIENCE", 2.0)
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        await taking.came_back("next")
        assert not taking.replica.has_room_ahead  # it would wait in vain
        run.finish()
        await taking.replica.has_room()
        taking.hand_over("last")
        await taking.ended("last")
        assert taking.begun == ["brief", "first", "last"]


def call(name: str) -> Call:
    return Call(Claim(name, 1), name.encode())


@pytest.fixture
async def line() -> AsyncIterator[tuple[Flights, Ahead, Tickets, list[str]]]:
    """The first of three in a line is out; and what has come back of the others."""
    flights, returned = Flights(), list[str]()
    ahead = Ahead(
        flights,
        returns=lambda claims: returned.extend(claim.id for claim in claims),
        changed=lambda: None,
    )
    flights.begin([call("first")], 0.0, together=False)
    ahead.queue([call("next")])
    flights.end(Claim("first", 1), 0.01)
    ahead.follow()
    ahead.queue([call("last")])
    yield flights, ahead, Tickets(ahead.descriptor), returned
    with suppress(OSError):  # it is closed already
        ahead.close()


async def test_what_should_run_comes_back_with_what_waits_behind_it_if_it_has_not_begun(
    line: tuple[Flights, Ahead, Tickets, list[str]],
) -> None:
    flights, ahead, replica, returned = line
    assert ahead.take_back()
    assert returned == ["next", "last"]
    assert not any(replica.take(ticket) for ticket in (1, 2))
    assert (flights.running, flights.waiting, flights.units, flights.bytes) == ({}, {}, 0, 0)
    flights.begin([call("new")], 0.02, together=False)
    ahead.expect_end()
    ahead.queue([call("newest")])
    assert ahead.take_back()
    assert returned == ["next", "last", "newest"]


async def test_what_has_begun_stays_when_what_waits_behind_it_is_taken_back(
    line: tuple[Flights, Ahead, Tickets, list[str]],
) -> None:
    flights, ahead, replica, returned = line
    assert os.read(ahead.descriptor, 1) == b"\x01"  # as if it had come before the other was queued
    assert ahead.take_back()
    assert returned == ["last"]
    assert [claim.id for claim in flights.running] == ["next"]
    assert not replica.take(2)


async def test_what_has_not_begun_in_a_replica_that_dies_is_unharmed(
    line: tuple[Flights, Ahead, Tickets, list[str]],
) -> None:
    flights, ahead, _, returned = line
    ahead.close()
    assert (returned, flights.running) == (["next", "last"], {})


async def test_what_is_canceled_while_it_waits_never_begins(held: Holder, tmp_path: Path) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, claim = await taking.run_ahead(held)
        taking.replica.cancel(claim)
        run.finish()
        await taking.ended("first")
        await taking.replica.is_idle()
        assert taking.begun == ["brief", "first"]


async def test_a_run_that_has_to_die_takes_nobody_with_it_who_waits(
    held: Holder, tmp_path: Path
) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        assert taking.replica.give_up(Claim("first", 1), insists=True)
        run.close()
        await taking.died()
        assert (taking.in_flight, taking.returned) == (["first"], ["next"])


async def test_a_run_that_is_out_unnoticed_has_nobody_killed_who_came_after(
    held: Holder, tmp_path: Path
) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, _ = await taking.run_ahead(held)
        run.finish()
        following = held.started()  # and the loop, which stands still, knows nothing of it
        taking.replica.give_up(Claim("first", 1), insists=True)
        await taking.ended("first")
        following.finish("well")
        assert (await taking.ended("next")).result == b'"well"'


async def test_who_is_given_up_while_it_waits_is_taken_back(held: Holder, tmp_path: Path) -> None:
    async with turns(tmp_path / "begun") as taking:
        run, claim = await taking.run_ahead(held)
        assert not taking.replica.give_up(claim, insists=True)
        run.finish("well")
        assert (await taking.ended("first")).result == b'"well"'
        await taking.came_back("next")


def test_nothing_waits_behind_a_run_whose_like_was_not_brief() -> None:
    known = Flights()
    assert known.expected() is None  # nothing has run yet
    for known.seconds, pause in ((0.0001, None), (0.01, 0.006), (0.05, 0.038), (0.5, None)):
        assert known.expected() == (pause and pytest.approx(pause))


def test_who_has_a_clock_waits_for_no_more_than_half_of_what_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flights, "PATIENCE", 2.0)
    monkeypatch.setattr("time.time", lambda: 100.0)
    known = Flights()
    known.seconds = 0.01
    calls = [Call(Claim("id", 1), b"", at) for at in (None, 200.0, 100.01, 99.0)]
    waits = [known.patience([call]) for call in calls]
    assert waits == pytest.approx([2 * LEAD, 2 * LEAD, 0.005, 0.0])
