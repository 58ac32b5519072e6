"""Claims that are written together with what is claimed; and how much is written at all."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.brokers.sqlite.conftest import GOOD, Queue, drain, new, submit
from zypher.brokers.queue import Move
from zypher.brokers.sqlite import SqliteBroker, backlog
from zypher.brokers.sqlite import broker as broker_module
from zypher.brokers.sqlite.records import BARE
from zypher.brokers.sqlite.store import Store
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


async def claim_twice(broker: SqliteBroker) -> list[Prediction]:
    """What somebody gets who comes back for more at once."""
    return [
        claimed for _ in range(2) for claimed in await broker.claim("w", "m", limit=2, timeout=10)
    ]


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


async def test_what_comes_while_a_claim_is_recorded_is_foreseen_for_who_comes_back(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        told = await statements(broker)
        claims = asyncio.create_task(claim_twice(broker))
        await asyncio.sleep(0)  # the first is on its way to the disk
        await broker.submit(new(), keep=True)
        assert len(await claims) == 2
        assert told.count("UPDATE") == 1


async def test_what_comes_as_a_claimer_is_woken_by_something_else_is_foreseen_for_them(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        told = await statements(broker)
        claims = asyncio.create_task(claim_twice(broker))
        await asyncio.sleep(0)
        await broker.submit(new(), keep=False)
        await asyncio.sleep(0)  # the bell was rung for that, and is about to be heard
        await broker.take(new())
        assert len(await claims) == 2
        assert "UPDATE" not in told


async def test_under_load_a_prediction_is_written_twice(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Counter[str] = Counter()
    write = Store.write

    def counting(store: Store, moves: Sequence[Move]) -> set[int]:
        written.update(move.after.status for move in moves)
        return write(store, moves)

    async def work(broker: SqliteBroker) -> None:
        async with asyncio.TaskGroup() as ending:
            while len(ended) < 21 * TOGETHER:
                claimed = await broker.claim("w", "m", limit=1000, timeout=10)
                ended.extend(claimed)
                ending.create_task(broker.finish([(one.claim, GOOD) for one in claimed]))

    async def ask(broker: SqliteBroker) -> None:
        for _ in range(20):
            await broker.take(new())

    ended: list[Prediction] = []
    async with queue.opened() as broker:
        await submit(broker, TOGETHER)
        monkeypatch.setattr(Store, "write", counting)
        await asyncio.gather(work(broker), *(ask(broker) for _ in range(TOGETHER)))
    once = 21 * TOGETHER
    assert written == {Status.PROCESSING: once, Status.COMPLETED: once}


async def test_what_is_foreseen_for_who_does_not_come_back_is_queued(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        claim = await claiming(broker, limit=2)
        await asyncio.gather(claim, broker.submit(new(), keep=True))
        await asyncio.sleep(0)
        assert await on_disk(broker) == {b"processing": 1, b"queued": 1}
        assert not broker.degraded()


async def test_more_than_fits_into_memory_can_be_foreseen(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "WINDOW", 2)
    async with queue.opened() as broker:
        claim = await claiming(broker, limit=5)
        submitted = await submit(broker, 5)
        assert [claimed.id for claimed in await claim] == [one.id for one in submitted]
        assert not broker.degraded()


async def test_what_is_new_goes_ahead_of_nothing_that_waits_on_the_disk(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (backlog, broker_module):
        monkeypatch.setattr(module, "WINDOW", 4)

    async def claim_all(broker: SqliteBroker) -> list[str]:
        claimed: list[Prediction] = []
        while len(claimed) <= 20:
            claimed += await broker.claim("w", "m", limit=100, timeout=10)
        return [prediction.id for prediction in claimed]

    async with queue.opened() as broker:
        waiting = await submit(broker, 20)
        claims = asyncio.create_task(claim_all(broker))
        await asyncio.sleep(0)  # the first are being claimed, and the rest is to be loaded
        newest = await broker.submit(new(), keep=True)
        assert await claims == [prediction.id for prediction in (*waiting, newest)]


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
