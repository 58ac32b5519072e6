"""Whatever is done at once and given up midway, on a disk that comes and goes: all adds up."""

import asyncio
import random
import threading
from contextlib import ExitStack, suppress

import pytest
from msgspec.structs import replace

from tests.brokers.sqlite.conftest import GOOD, LIMITS, Queue, drain, failing_disk, new
from zypher.brokers.base import ModelStats
from zypher.brokers.sqlite import SqliteBroker, backlog, broker, journal, recent
from zypher.errors import Conflict, Unavailable
from zypher.prediction import Claim, Prediction, Priority

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
ROUNDS = 10
STEPS = 300


class Crowd:
    """Clients and workers of one broker, each of whom does one random thing."""

    def __init__(self, broker: SqliteBroker, chance: random.Random) -> None:
        self.accepted: set[str] = set()
        self.ended: dict[str, Prediction] = {}
        self._broker = broker
        self._chance = chance
        self._ids: list[str] = []
        self._claims: list[Claim] = []
        self._verbs = {
            self._submit: 40,
            self._keep: 8,
            self._cancel: 7,
            self._look: 10,
            self._claim: 20,
            self._let_go: 15,
        }

    async def act(self) -> None:
        (verb,) = self._chance.choices([*self._verbs], [*self._verbs.values()])
        with suppress(Unavailable, Conflict):
            await (verb() if self._ids else self._submit())

    async def _submit(self) -> None:
        prediction = new(priority=self._chance.choice([*Priority]))
        keep = self._chance.random() < 0.8
        await self._broker.submit(prediction, keep=keep)
        self._ids.append(prediction.id)
        if keep:
            self.accepted.add(prediction.id)

    async def _keep(self) -> None:
        id = self._chance.choice(self._ids)
        if await self._broker.keep(id) is not None:
            self.accepted.add(id)

    async def _cancel(self) -> None:
        await self._broker.cancel(self._chance.choice(self._ids[-30:]))

    async def _look(self) -> None:
        record = await self._broker.get(self._chance.choice(self._ids))
        if record is not None and record.status.terminal and record.id in self.accepted:
            assert self.ended.setdefault(record.id, record) == record

    async def _claim(self) -> None:
        limit, timeout = self._chance.choice((1, 3, 8)), self._chance.choice((0, 0.002))
        claimed = await self._broker.claim("w", "m", limit=limit, timeout=timeout)
        self._claims += [prediction.claim for prediction in claimed]

    async def _let_go(self) -> None:
        if not self._claims:
            return
        claim = self._claims.pop(self._chance.randrange(len(self._claims)))
        match self._chance.choice(("finish", "finish", "release", "crash")):
            case "finish":
                await self._broker.finish([(claim, GOOD)])
            case "release":
                await self._broker.release([claim])
            case _:
                await self._broker.crash([claim], "died")


@pytest.fixture
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly anything fits into memory, and a disk that failed is tried again at once."""
    for module in (backlog, broker):
        monkeypatch.setattr(module, "WINDOW", 6)
    monkeypatch.setattr(recent, "MOST", 3)
    monkeypatch.setattr(broker, "_LOADING", 0.02)
    monkeypatch.setattr(journal, "_PAUSE", 0.01)


@pytest.mark.usefixtures("small_and_quick")
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_whatever_is_done_at_once_no_prediction_is_lost_and_the_counts_are_true(
    queue: Queue, seed: int
) -> None:
    chance = random.Random(seed)
    async with queue.opened() as broker:
        crowd = Crowd(broker, chance)
        await jostle(crowd, chance)
        async with asyncio.timeout(PATIENCE):
            while broker.degraded():
                await asyncio.sleep(0.01)
        queue.clock.advance(LIMITS.lease)  # of those whose worker gave up
        await broker.reclaim()
        await all_ends(broker)
        for id in crowd.accepted:
            record = await broker.get(id)
            assert record is not None
            assert record.status.terminal
            assert crowd.ended.setdefault(id, record) == record
        kept = [entry for entry in broker._entries.values() if entry.kept]
        assert len(kept) <= recent.MOST
        assert all(entry.record.status.terminal for entry in kept)
    async with queue.opened() as broker:
        assert not await drain(broker)


async def jostle(crowd: Crowd, chance: random.Random) -> None:
    """Many act at once; some are cancelled; sometimes the disk takes nothing."""
    acts: set[asyncio.Task[None]] = set()
    for _ in range(STEPS):
        with ExitStack() as disk:
            if chance.random() < 0.1:
                disk.enter_context(failing_disk())
            acts |= {asyncio.create_task(crowd.act()) for _ in range(chance.choice((1, 4, 12)))}
            await asyncio.sleep(chance.choice((0, 0, 0, 0.003)))
        if chance.random() < 0.15:
            chance.choice([*acts]).cancel()
    async with asyncio.timeout(PATIENCE):
        for outcome in await asyncio.gather(*acts, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome


async def all_ends(broker: SqliteBroker) -> None:
    """Claim and finish until nothing is left to be done."""
    async with asyncio.timeout(PATIENCE):
        while (stats := (await broker.stats())["m"]).queued or stats.processing:
            await drain(broker)
            await asyncio.sleep(0.01)


async def test_a_key_of_a_submit_that_is_given_up_while_it_is_written_makes_one_prediction(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        first, again = (replace(new(), idempotency_key="k", fingerprint=b"f") for _ in range(2))
        submitting = asyncio.create_task(broker.submit(first, keep=True))
        go_on = threading.Event()
        holding = asyncio.create_task(
            broker._journal.ask(lambda _: go_on.wait(PATIENCE), follows=True)
        )
        while not (await broker.stats()).get("m", ModelStats()).queued:
            await asyncio.sleep(0)
        submitting.cancel()
        submitting_again = asyncio.create_task(broker.submit(again, keep=True))
        while broker._journal._inbox.qsize() < 2:  # the write, and the question for the key
            await asyncio.sleep(0)
        go_on.set()
        assert await holding
        assert (await submitting_again).id == first.id
        assert (await broker.stats())["m"].queued == 1
