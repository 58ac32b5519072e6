"""A damaged file: it is left as it is, and what can be read of it can be saved."""

import asyncio
import os
import random
import re
import shutil
import signal
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.brokers.sqlite.conftest import GOOD, Queue, drain, new, submit
from zypher.brokers.sqlite import salvage as salvaging
from zypher.brokers.sqlite.store import Store
from zypher.errors import ConfigurationError, Unavailable
from zypher.prediction import Status

pytestmark = pytest.mark.anyio

PAGE = 4096
COUNT = 1_000
INPUT = b'"' + b"x" * 500 + b'"'
Damage = Callable[[Queue], None]


async def left_by_a_killed_server(queue: Queue) -> tuple[Queue, dict[str, Status]]:
    """A queue in use is copied as it is, all of it in the file; and what it had accepted."""
    async with queue.opened() as broker:
        await submit(broker, COUNT, INPUT)
        claimed = await broker.claim("w", "m", limit=COUNT // 4, timeout=0)
        await broker.finish([(p.claim, GOOD) for p in claimed])
        await broker._journal.ask(lambda store: store.rest(), follows=True)
        await broker.submit(new(INPUT, model="other"), keep=True)  # is in the log alone
        copy = Queue(queue.path.with_name("copy.db"))
        shutil.copy(queue.path, copy.path)
        shutil.copy(queue.wal, copy.wal)
        page = await broker.list(limit=COUNT + 1)
        return copy, {p.id: p.status for p in page.predictions}


def bytes_of(path: Path | str) -> bytes:
    return Path(path).read_bytes()


def overwrite_a_page_in_the_middle(queue: Queue) -> None:
    with queue.path.open("r+b") as file:
        file.seek(queue.path.stat().st_size // PAGE // 2 * PAGE)
        file.write(random.Random(1).randbytes(PAGE))


def overwrite_many_pages(queue: Queue) -> None:
    with queue.path.open("r+b") as file:
        for page in range(3, queue.path.stat().st_size // PAGE, 7):
            file.seek(page * PAGE)
            file.write(random.Random(page).randbytes(PAGE))


def cut_off_the_end(queue: Queue) -> None:
    with queue.path.open("r+b") as file:
        file.truncate(queue.path.stat().st_size // PAGE * 2 // 3 * PAGE)


def overwrite_the_first_page(queue: Queue) -> None:
    with queue.path.open("r+b") as file:
        file.write(b"\xff" * PAGE)


def remove_the_log(queue: Queue) -> None:
    queue.wal.unlink()


def cut_off_all(queue: Queue) -> None:
    queue.path.write_bytes(b"")


def replace_bytes(queue: Queue, old: bytes, new: bytes) -> None:
    queue.path.write_bytes(queue.path.read_bytes().replace(old, new))


ALL = [
    overwrite_a_page_in_the_middle,
    overwrite_many_pages,
    cut_off_the_end,
    overwrite_the_first_page,
    remove_the_log,
]


@pytest.mark.parametrize("damage", [*ALL, cut_off_all])
async def test_a_damaged_file_is_left_alone_and_those_who_wait_are_served(
    queue: Queue, damage: Damage
) -> None:
    damaged, _ = await left_by_a_killed_server(queue)
    damage(damaged)
    before = bytes_of(damaged.path), damaged.wal.exists()
    async with damaged.opened() as broker:
        (complaint,) = broker.degraded()
        assert "is damaged" in complaint
        assert "--on-corrupt salvage" in complaint
        with pytest.raises(Unavailable, match="is damaged"):
            await submit(broker, 1)
        with pytest.raises(Unavailable, match="is damaged"):
            await broker.get(new().id)  # whether it is known cannot be told
        prediction = await broker.submit(new(), keep=False)
        waiting = asyncio.create_task(broker.wait(prediction.id, 10.0))
        assert await drain(broker) == [prediction.id]
        assert await waiting is not None
    assert (bytes_of(damaged.path), damaged.wal.exists()) == before


@pytest.mark.parametrize("damage", ALL)
async def test_what_can_be_read_of_a_damaged_file_is_saved_and_the_rest_is_counted(
    queue: Queue, damage: Damage
) -> None:
    damaged, accepted = await left_by_a_killed_server(queue)
    damage(damaged)
    before = bytes_of(damaged.path)
    async with damaged.opened(salvage=True) as broker:
        (report,) = broker.degraded()
        saved, lost = saved_and_lost(report)
        page = await broker.list(limit=COUNT + 2)
        assert {p.id: p.status for p in page.predictions}.items() <= accepted.items()
        assert len(page.predictions) == saved
        if damage is overwrite_the_first_page:
            assert (saved, lost) == (0, "it is not known how many")
        elif damage is remove_the_log:
            assert (saved, lost) == (COUNT, "it is not known how many")
        else:
            assert saved + int(lost) == COUNT + 1
            assert saved > 0
        for record in page.predictions:
            found = await broker.get(record.id)
            assert found is not None
            assert found.input == INPUT
            assert (found.result is None) is (found.status is Status.QUEUED)
        waiting = [id for id, status in accepted.items() if status is Status.QUEUED]
        assert set(await drain(broker)) <= set(waiting)
        await submit(broker, 1)
    assert bytes_of(re.findall(r"kept as (.+)\.$", report)[0]) == before
    async with damaged.opened() as broker:
        assert not broker.degraded()


async def test_a_file_that_its_server_closed_in_order_needs_no_log(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
    assert not queue.wal.exists()
    async with queue.opened() as broker:
        assert not broker.degraded()


async def test_damage_that_shows_only_in_use_ends_what_is_asynchronous_and_is_told(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, COUNT, INPUT)
    overwrite_many_pages(queue)
    async with queue.opened() as broker:
        with pytest.raises(Unavailable, match="is damaged"):
            await asyncio.gather(*(broker.get(prediction.id) for prediction in submitted))
        assert "is damaged" in broker.degraded()[0]
        with pytest.raises(Unavailable, match="is damaged"):
            await submit(broker, 1)
        assert await broker.submit(new(), keep=False)


async def test_one_row_that_cannot_be_read_stays_where_it_is_and_holds_nobody_up(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
    replace_bytes(queue, submitted[1].id.encode(), b"\xff" * 36)
    async with queue.opened() as broker:
        caller = await broker.submit(new(), keep=False)
        assert await drain(broker) == [caller.id, submitted[0].id, submitted[2].id]
        (complaint,) = broker.degraded()
        assert "1 queued predictions cannot be read" in complaint
        assert (await broker.stats())["m"].queued == 0
        assert len((await broker.list()).predictions) == 2


async def test_a_record_that_cannot_be_read_is_told_so_to_who_asks_for_it(queue: Queue) -> None:
    async with queue.opened() as broker:
        (submitted,) = await submit(broker, 1)
        await broker.cancel(submitted.id)
    replace_bytes(queue, b"canceled", b"cancelec")
    async with queue.opened() as broker:
        with pytest.raises(Unavailable, match="cannot be read"):
            await broker.get(submitted.id)


async def test_a_schema_that_is_not_ours_is_damage(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
    replace_bytes(queue, b"attempt  ", b"attempts ")
    async with queue.opened() as broker:
        assert "is damaged" in broker.degraded()[0]
        assert await broker.submit(new(), keep=False)


async def test_nothing_is_written_to_a_file_that_was_found_damaged_in_use(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, COUNT, INPUT)
    overwrite_many_pages(queue)
    async with queue.opened() as broker:
        with pytest.raises(Unavailable, match="is damaged"):
            await asyncio.gather(*(broker.get(prediction.id) for prediction in submitted))
        with pytest.raises(Unavailable, match="is damaged"):
            await broker._journal.ask(Store.beat, follows=True)


async def test_a_run_ends_in_the_turn_in_which_damage_shows(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, COUNT, INPUT)
    overwrite_many_pages(queue)
    async with queue.opened() as broker:
        claimed = await broker.claim("w", "m", limit=1, timeout=0)
        looking = [asyncio.create_task(broker.get(prediction.id)) for prediction in submitted]
        async with asyncio.timeout(10.0):
            await broker.finish([(prediction.claim, GOOD) for prediction in claimed])
        await asyncio.gather(*looking, return_exceptions=True)


def salvage_and_die(damaged: Queue, after: int) -> None:
    """Begin to salvage in another process, which is killed after so many rows."""
    write = salvaging._write
    left = after

    def write_or_die(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*arguments)

    if not (child := os.fork()):
        setattr(salvaging, "_write", write_or_die)  # noqa: B010
        salvaging.salvage(damaged.path)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def others_may_read(directory: Path) -> list[str]:
    return [file.name for file in directory.glob("copy.db.*") if file.stat().st_mode & 0o077]


async def test_a_salvage_that_is_cut_off_is_begun_again_or_completed(queue: Queue) -> None:
    damaged, _ = await left_by_a_killed_server(queue)
    cut_off_the_end(damaged)
    before = bytes_of(damaged.path)
    salvage_and_die(damaged, after=10)
    assert bytes_of(damaged.path) == before
    async with damaged.opened(salvage=True) as broker:
        (report,) = broker.degraded()
        assert "could be saved: 0" not in report
        saved = {p.id for p in (await broker.list(limit=COUNT + 2)).predictions}
    damaged.path.rename(f"{damaged.path}.salvaged")  # as if it had died before the last step
    async with damaged.opened() as broker:
        assert {p.id for p in (await broker.list(limit=COUNT + 2)).predictions} == saved


async def test_a_salvage_after_one_that_was_killed_saves_as_much_as_the_first_would_have(
    queue: Queue,
) -> None:
    damaged, accepted = await left_by_a_killed_server(queue)
    damaged.path.chmod(0o600)
    salvage_and_die(damaged, after=COUNT)
    assert not others_may_read(damaged.path.parent)
    report = salvaging.salvage(damaged.path)
    assert f"could be saved: {len(accepted)};" in report
    assert not list(damaged.path.parent.glob("copy.db.salvag*"))


async def test_a_damaged_file_that_has_to_be_copied_is_kept_for_its_owner_alone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError

    damaged, _ = await left_by_a_killed_server(queue)
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    damaged.path.chmod(0o600)
    salvaging.salvage(damaged.path)
    assert list(damaged.path.parent.glob("copy.db.corrupt-*-wal"))
    assert not others_may_read(damaged.path.parent)


def in_order(queue: Queue, last_place: int) -> None:
    """Write a closed queue of so many predictions, the last one at this place."""
    with closing(sqlite3.connect(queue.path, isolation_level=None)) as file:
        file.execute("BEGIN")
        for place in (*range(1, COUNT), last_place):
            file.execute(
                "INSERT INTO prediction (seq, id, model, priority, status, attempt, crashes, size, "
                "created, options, retried, misfits) "
                "VALUES (?, ?, 'm', 1, 'queued', 0, 0, 1, 0.0, x'7b7d', 0, 0)",
                (place, new().id),
            )
            file.execute("INSERT INTO input VALUES (?, ?)", (place, INPUT))
        file.execute("COMMIT")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.execute("PRAGMA journal_mode = DELETE")
    queue.wal.touch()


def leaves(queue: Queue, table: str) -> list[int]:
    """The numbers of the pages that hold the rows of a table of two levels, in order."""
    with closing(sqlite3.connect(queue.path)) as file:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (root,) = file.execute(query, (table,)).fetchone()
    page = bytes_of(queue.path)[(root - 1) * PAGE : root * PAGE]
    _, _, cells, _, _, last = struct.unpack(">BHHHBI", page[:12])
    cells_at = struct.unpack(f">{cells}H", page[12 : 12 + 2 * cells])
    return [*(struct.unpack(">I", page[at : at + 4])[0] for at in cells_at), last]


def overwrite(queue: Queue, page: int) -> None:
    with queue.path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff" * PAGE)


def saved_and_lost(report: str) -> tuple[int, str]:
    saved, lost = re.findall(r": (?:at most )?(\d+|it is not known how many)[;.]", report)
    return int(saved), lost


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"    options ", b"    o\xf0tions "),
        (b"    options ", b" -- options "),
        (b"TABLE input", b"TABLE inpus"),
    ],
)
async def test_a_salvage_bears_a_schema_that_is_damaged(
    queue: Queue, before: bytes, after: bytes
) -> None:
    damaged, _ = await left_by_a_killed_server(queue)
    replace_bytes(damaged, before, after)
    damaged.wal.write_bytes(b"")
    assert "could be saved: 0;" in salvaging.salvage(damaged.path)


@pytest.mark.timeout(30)
async def test_a_wrong_place_does_not_make_a_salvage_endless(queue: Queue) -> None:
    async with queue.opened():
        pass
    in_order(queue, last_place=2**62)
    overwrite(queue, leaves(queue, "prediction")[5])
    saved, lost = saved_and_lost(salvaging.salvage(queue.path))
    assert COUNT * 4 // 5 < saved < COUNT
    assert lost == "it is not known how many"


@pytest.mark.timeout(30)
async def test_what_lies_before_the_end_is_saved_where_the_end_cannot_be_read(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvaging, "_TRIES", 10_000)
    async with queue.opened():
        pass
    in_order(queue, last_place=COUNT)
    parts = leaves(queue, "prediction")
    for page in (parts[2], parts[5], parts[-1], leaves(queue, "input")[-1]):
        overwrite(queue, page)
    saved, lost = saved_and_lost(salvaging.salvage(queue.path))
    assert saved > COUNT - 4 * COUNT // len(parts)
    assert lost == "it is not known how many"


def die_before_step(number: int, damaged: Queue) -> bool:
    """Salvage in another process, which is killed before it changes so many names; or was it?"""
    left = number

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def change_or_die(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments)

        return change_or_die

    if not (child := os.fork()):
        for name in ("rename", "unlink", "hardlink_to", "touch"):
            setattr(Path, name, dying(getattr(Path, name)))
        salvaging.salvage(damaged.path)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


async def test_a_salvage_may_be_killed_before_any_step_and_the_next_saves_as_much(
    queue: Queue,
) -> None:
    killed, _ = await left_by_a_killed_server(queue)
    cut_off_the_end(killed)
    saved: list[int] = []
    was_killed = True
    while was_killed:
        damaged = Queue(queue.path.with_name(f"step{len(saved)}") / "copy.db")
        damaged.path.parent.mkdir()
        shutil.copy(killed.path, damaged.path)
        shutil.copy(killed.wal, damaged.wal)
        was_killed = die_before_step(len(saved), damaged)
        async with damaged.opened(salvage=True) as broker:
            saved.append(len((await broker.list(limit=COUNT + 2)).predictions))
    assert len(saved) > 5
    assert set(saved) == {saved[-1]}
    assert saved[-1] > 0


async def test_damaged_files_of_the_same_second_are_both_kept(queue: Queue) -> None:
    damaged, _ = await left_by_a_killed_server(queue)
    kept = set()
    for damage in (cut_off_the_end, overwrite_many_pages):
        damage(damaged)
        kept.add(bytes_of(damaged.path))
        salvaging.salvage(damaged.path)
    files = damaged.path.parent.glob("copy.db.corrupt-*Z*")
    assert kept <= {bytes_of(file) for file in files}


async def test_a_backup_that_was_put_back_is_not_replaced_by_what_was_salvaged(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
    left = queue.path.with_name("queue.db.salvaged")
    left.write_bytes(b"of a salvage that was cut off")
    async with queue.opened() as broker:
        assert await drain(broker) == [prediction.id for prediction in submitted]
    assert bytes_of(left) == b"of a salvage that was cut off"


async def test_nothing_of_a_damaged_file_is_left_beside_the_new_one(queue: Queue) -> None:
    damaged, accepted = await left_by_a_killed_server(queue)
    journal = damaged.path.with_name("copy.db-journal")
    journal.write_bytes(b"what a crash left")
    assert f"could be saved: {len(accepted)};" in salvaging.salvage(damaged.path)
    assert not list(damaged.path.parent.glob("copy.db-*"))
    (kept,) = damaged.path.parent.glob("copy.db.corrupt-*-journal")
    assert bytes_of(kept) == b"what a crash left"


async def test_a_file_that_never_was_a_queue_is_not_salvaged(queue: Queue) -> None:
    queue.path.write_text("my notes\n" * 1_000)
    with pytest.raises(ConfigurationError, match=r"queue\.db is not a queue"):
        async with queue.opened(salvage=True):
            pass
    assert bytes_of(queue.path) == b"my notes\n" * 1_000
    assert not list(queue.path.parent.glob("queue.db.corrupt-*"))
