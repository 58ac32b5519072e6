"""A backup is a whole queue, whatever happens while it is made."""

import asyncio
import logging
import os
import shutil
import socket
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.sqlite.conftest import Queue, drain, submit
from zypher.brokers.sqlite import backup
from zypher.brokers.sqlite.backup import back_up
from zypher.brokers.sqlite.opening import migrate, schema
from zypher.brokers.sqlite.store import copy_database
from zypher.errors import ConfigurationError

pytestmark = pytest.mark.anyio


async def test_a_backup_of_a_queue_in_use_is_whole_and_has_what_was_accepted_before(
    queue: Queue, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    async with queue.opened() as broker:
        before = await submit(broker, 3_000, b'"' + b"x" * 1_000 + b'"')
        copying = asyncio.create_task(asyncio.to_thread(back_up, queue.path, copy))
        meanwhile = []
        while not copying.done():
            meanwhile += await submit(broker, 10)
        await copying
        assert len(meanwhile) > 10  # it held up nobody
        assert await drain(broker, limit=1_000) == [p.id for p in [*before, *meanwhile]]
    file = sqlite3.connect(copy)
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    async with Queue(copy).opened() as broker:
        assert not broker.degraded()
        ids = await drain(broker, limit=1_000)
        assert ids == [p.id for p in [*before, *meanwhile]][: len(ids)]
        assert len(ids) >= len(before)


async def test_a_queue_that_nobody_uses_can_be_backed_up(queue: Queue, tmp_path: Path) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
    back_up(queue.path, tmp_path / "copy.db")
    async with Queue(tmp_path / "copy.db").opened() as broker:
        assert await drain(broker) == [p.id for p in submitted]


async def test_a_backup_is_made_also_where_paths_are_long(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    queue = Queue(directory / "queue.db")
    async with queue.opened() as broker:
        await submit(broker, 1)
        await asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    ("target", "why"), [("there.db", "exists already"), ("no/where.db", "no directory")]
)
async def test_a_backup_overwrites_nothing_and_says_what_is_wrong(
    queue: Queue, tmp_path: Path, target: str, why: str
) -> None:
    (tmp_path / "there.db").write_text("precious")
    async with queue.opened():
        with pytest.raises(ConfigurationError, match=why):
            await asyncio.to_thread(back_up, queue.path, tmp_path / target)
    assert (tmp_path / "there.db").read_text() == "precious"


def test_there_is_nothing_to_back_up_where_no_queue_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no queue"):
        back_up(tmp_path / "nothing.db", tmp_path / "copy.db")
    assert not list(tmp_path.iterdir())


async def test_a_server_that_was_killed_does_not_keep_the_next_from_taking_backups(
    queue: Queue, tmp_path: Path
) -> None:
    async with queue.opened():
        left = queue.path.with_name("queue.db.sock")
        shutil.move(left, tmp_path / "left")
    shutil.move(tmp_path / "left", left)
    async with queue.opened():
        await asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db")


async def test_a_backup_leaves_the_queue_of_a_killed_server_as_it_is(
    queue: Queue, tmp_path: Path
) -> None:
    killed = Queue(tmp_path / "killed.db")
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
        shutil.copy(queue.path, killed.path)
        shutil.copy(queue.wal, killed.wal)
    back_up(killed.path, tmp_path / "copy.db")
    for path in (killed.path, tmp_path / "copy.db"):
        async with Queue(path).opened() as broker:
            assert not broker.degraded()
            assert await drain(broker) == [p.id for p in submitted]


async def left_by_a_killed_server(queue: Queue, killed: Path) -> Queue:
    async with queue.opened() as broker:
        await submit(broker, 1_000, b'"' + b"x" * 500 + b'"')
        await broker._journal.ask(lambda store: store.rest(), follows=True)
        await submit(broker, 1)
        shutil.copy(queue.path, killed)
        shutil.copy(queue.wal, Queue(killed).wal)
    return Queue(killed)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096, 7):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)


async def test_there_is_no_backup_of_a_damaged_queue(queue: Queue, tmp_path: Path) -> None:
    killed = await left_by_a_killed_server(queue, tmp_path / "killed.db")
    damage(killed.path)
    before = names(tmp_path)
    with pytest.raises(ConfigurationError, match=r"killed\.db is damaged .*, so there is no"):
        back_up(killed.path, tmp_path / "copy.db")
    assert names(tmp_path) - before == {"killed.db.lock"}


async def test_there_is_no_backup_of_a_queue_whose_log_is_missing(
    queue: Queue, tmp_path: Path
) -> None:
    killed = await left_by_a_killed_server(queue, tmp_path / "killed.db")
    killed.wal.unlink()
    with pytest.raises(ConfigurationError, match="its write-ahead log is missing"):
        back_up(killed.path, tmp_path / "copy.db")
    assert "copy.db" not in names(tmp_path)


async def test_there_is_no_backup_of_a_queue_that_was_closed_in_order_and_damaged_since(
    queue: Queue, tmp_path: Path
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1_000, b'"' + b"x" * 500 + b'"')
    damage(queue.path)
    with pytest.raises(ConfigurationError, match=r"queue\.db is damaged"):
        back_up(queue.path, tmp_path / "copy.db")
    async with queue.opened():
        with pytest.raises(ConfigurationError, match=r"queue\.db is damaged"):
            await asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db")
    assert names(tmp_path) == {"queue.db", "queue.db.lock"}


async def test_a_copy_is_checked_while_the_queue_is_used(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, checked = threading.Event(), threading.Event()

    def complete(*arguments: Path) -> None:
        checking.set()
        checked.wait()

    monkeypatch.setattr(backup, "_complete", complete)
    async with queue.opened() as broker, asyncio.timeout(10.0):
        copying = asyncio.create_task(asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db"))
        await asyncio.to_thread(checking.wait)
        await submit(broker, 1)
        checked.set()
        await copying


def ask(queue: Queue, request: bytes) -> bytes:
    """What the server answers to this, sent by another program than ours."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{queue.path}.sock")
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.read()


async def test_a_request_that_names_no_file_is_no_error_of_the_server(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    async with queue.opened():
        assert await asyncio.to_thread(ask, queue, b"") == b""
        assert b"could not be written" in await asyncio.to_thread(ask, queue, b"a\0b")
    assert not caplog.records


async def test_a_backup_may_have_any_name_that_a_file_may_have(
    queue: Queue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)  # a report of the test cannot carry this name
    name = os.fsdecode(b"copy\xff.db")
    async with queue.opened():
        await asyncio.to_thread(back_up, queue.path, tmp_path / name)
        assert name in names(tmp_path)
        with pytest.raises(ConfigurationError, match="exists already"):
            await asyncio.to_thread(back_up, queue.path, tmp_path / name)


async def test_what_the_server_says_of_a_backup_is_one_sentence(
    queue: Queue, tmp_path: Path
) -> None:
    queue.path.write_bytes(b"\xff" * 4096)
    async with queue.opened():
        with pytest.raises(ConfigurationError, match=r"[^.]\.$"):
            await asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db")


def test_an_empty_file_is_not_a_queue_to_back_up(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(ConfigurationError, match=r"empty\.db is empty"):
        back_up(tmp_path / "empty.db", tmp_path / "copy.db")
    assert "copy.db" not in names(tmp_path)


def test_the_database_of_another_program_is_not_a_queue_to_back_up(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE precious (x)")
    with pytest.raises(ConfigurationError, match="database of another program"):
        back_up(tmp_path / "other.db", tmp_path / "copy.db")
    assert "copy.db" not in names(tmp_path)


def test_a_file_that_never_was_a_queue_is_not_backed_up(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("my notes\n" * 1_000)
    with pytest.raises(ConfigurationError, match=r"notes\.txt is not a queue"):
        back_up(tmp_path / "notes.txt", tmp_path / "copy.db")


async def test_of_two_backups_to_one_name_at_once_one_is_made_and_one_refused(
    queue: Queue, tmp_path: Path
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1_000, b'"' + b"x" * 1_000 + b'"')
        made, refused = sorted(
            await asyncio.gather(
                *(asyncio.to_thread(back_up, queue.path, tmp_path / "copy.db") for _ in range(2)),
                return_exceptions=True,
            ),
            key=lambda outcome: outcome is not None,
        )
    assert made is None
    assert isinstance(refused, ConfigurationError)
    assert "exists already" in str(refused)
    assert "copy.db.unfinished" not in names(tmp_path)


def test_what_appears_under_the_name_while_the_copy_is_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.db"

    def meanwhile(*arguments: Any) -> None:
        copy_database(*arguments)
        target.write_text("precious")

    with closing(sqlite3.connect(tmp_path / "queue.db")) as file:
        migrate(file, schema())
    monkeypatch.setattr(backup, "copy_database", meanwhile)
    with pytest.raises(ConfigurationError, match="exists already"):
        back_up(tmp_path / "queue.db", target)
    assert target.read_text() == "precious"
