"""What has ended last is answered from memory, as it is on the disk."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from tests.brokers.sqlite.conftest import LIMITS, Queue, drain, submit
from zypher.brokers.sqlite import SqliteBroker, recent

pytestmark = pytest.mark.anyio


async def reads(broker: SqliteBroker) -> list[str]:
    """The queries of the file from now on."""
    told: list[str] = []

    def listen(statement: str) -> None:
        if statement.lstrip().startswith("SELECT"):
            told.append(statement)

    await broker._journal.ask(lambda store: store._connection.set_trace_callback(listen))
    return told


async def test_what_has_just_ended_is_answered_without_the_disk(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 3)
        ids = await drain(broker)
        read = await reads(broker)
        for id in ids:
            assert await broker.get(id) == await broker.wait(id, timeout=10)
        assert not read


@pytest.mark.parametrize(("most", "most_bytes"), [(2, 1_000), (10, 20)])
async def test_no_more_is_held_than_there_is_room_for(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, most: int, most_bytes: int
) -> None:
    monkeypatch.setattr(recent, "MOST", most)
    monkeypatch.setattr(recent, "MOST_BYTES", most_bytes)
    async with queue.opened() as broker:
        await submit(broker, 5, input=b'"1"')  # with its result, 9 bytes each
        ids = await drain(broker)
        await asyncio.sleep(0)
        assert [*broker._entries] == ids[-2:]
        for id in ids:
            record = await broker.get(id)
            assert record is not None
            assert record.result == b'"good"'


async def test_what_has_expired_is_let_go_of_in_memory_as_well(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2)
        (first, second) = await drain(broker)
        assert await broker.delete(first)
        queue.clock.advance(LIMITS.ttl)
        assert await broker.get(second) is None
        await broker.purge()
        assert not broker._entries
    with closing(sqlite3.connect(queue.path)) as file:
        assert not file.execute("SELECT * FROM prediction").fetchall()
