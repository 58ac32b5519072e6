"""Claims that are written together with what is claimed; and how much is written at all."""

import asyncio
import threading
from collections import Counter

import pytest

from tests.brokers.sqlite.conftest import GOOD, Queue, drain, new, submit
from zypher.brokers.sqlite import SqliteBroker, backlog
from zypher.brokers.sqlite.records import BARE
from zypher.prediction import Prediction, Status

pytestmark = pytest.mark.anyio

TOGETHER = 47

Claiming = asyncio.Task[list[Prediction]]


async def claiming(broker: SqliteBroker, limit: int) -> Claiming:
    """Somebody who waits to claim."""

    async def claim() -> list[Prediction]:
        return [*await broker.claim("w", "m", limit=limit, timeout=10)]

    task = asyncio.create_task(claim())
    await asyncio.sleep(0)
    return task


async def on_disk(broker: SqliteBroker) -> Counter[bytes]:
    """How many records of each status are in the file."""
    rows = await broker._journal.ask(
        lambda store: store._connection.execute(BARE).fetchall(), follows=True
    )
    return Counter(row[4] for row in rows)


async def statements(broker: SqliteBroker) -> list[str]:
    """What the file is told from now on, by the first word of each statement."""
    told: list[str] = []

    def listen(statement: str) -> None:
        told.append(statement.split()[0])

    await broker._journal.ask(lambda store: store._connection.set_trace_callback(listen))
    return told


async def told_of(statement: str, broker: SqliteBroker) -> threading.Event:
    """Set once the file is told this."""
    told = threading.Event()

    def listen(begun: str) -> None:
        if begun == statement:
            told.set()

    await broker._journal.ask(lambda store: store._connection.set_trace_callback(listen))
    return told


async def test_what_is_claimed_and_finished_at_once_takes_two_commits(queue: Queue) -> None:
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=1)
        told = await statements(broker)
        await broker.submit(new(), keep=True)
        (claimed,) = await claim
        await broker.finish([(claimed.claim, GOOD)])
        assert told.count("COMMIT") == 2


async def test_what_comes_together_is_written_in_one_statement_of_each_kind(queue: Queue) -> None:
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=TOGETHER)
        told = await statements(broker)
        await submit(broker, TOGETHER)
        await broker.finish([(claimed.claim, GOOD) for claimed in await claim])
        assert told == [
            "BEGIN",
            "INSERT",
            "INSERT",
            "COMMIT",
            "BEGIN",
            "UPDATE",
            "INSERT",
            "COMMIT",
        ]


async def test_outcomes_reach_the_disk_while_the_loop_is_busy_with_the_rest_of_its_turn(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        committing = await told_of("COMMIT", broker)
        finishing = asyncio.create_task(broker.finish([(claimed.claim, GOOD)]))
        await asyncio.sleep(0)
        assert committing.wait(10)  # and no turn of the loop meanwhile
        assert not await finishing


async def test_no_more_is_foreseen_than_somebody_waits_for(queue: Queue) -> None:
    async with queue.opened() as broker:
        claims = [await claiming(broker, limit) for limit in (1, 2)]
        submitting = asyncio.gather(*(broker.submit(new(), keep=True) for _ in range(5)))
        await asyncio.sleep(0)
        assert await on_disk(broker) == {b"processing": 3, b"queued": 2}
        await submitting
        assert [len(await claim) for claim in claims] == [1, 2]


async def test_more_than_fits_into_memory_can_be_foreseen(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "WINDOW", 2)
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=5)
        submitted = await submit(broker, 5)
        assert [claimed.id for claimed in await claim] == [one.id for one in submitted]
        assert not broker.degraded()


async def test_what_was_foreseen_and_is_not_claimed_is_queued_for_the_next(queue: Queue) -> None:
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=1)
        submitting = asyncio.create_task(broker.submit(new(), keep=True))
        await asyncio.sleep(0)
        claim.cancel()
        id = (await submitting).id
        await asyncio.sleep(0)
        assert await on_disk(broker) == {b"queued": 1}
        assert await drain(broker) == [id]


async def test_what_was_foreseen_can_be_canceled_before_anybody_claims_it(queue: Queue) -> None:
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=1)
        submitting = asyncio.create_task(broker.submit(new(), keep=True))
        await asyncio.sleep(0)
        claim.cancel()
        record = await broker.cancel((await submitting).id)
        assert record is not None
        assert record.status is Status.CANCELED
        assert await on_disk(broker) == {b"canceled": 1}
        assert not broker.degraded()


async def test_a_foreseen_claim_that_a_kill_forestalls_begins_no_attempt_twice(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=1)
        await broker.submit(new(), keep=True)
        files = {path: path.read_bytes() for path in (queue.path, queue.wal)}
        (before,) = await claim
    for path, content in files.items():
        path.write_bytes(content)
    async with queue.opened() as broker:
        (after,) = await broker.claim("w", "m", limit=1, timeout=0)
        assert (after.id, after.attempt) == (before.id, before.attempt + 1)
