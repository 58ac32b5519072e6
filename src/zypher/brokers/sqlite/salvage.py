"""What can be read of a damaged file, copied into a new one."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec

from zypher.brokers.sqlite.files import require_queue
from zypher.brokers.sqlite.opening import migrate, schema, sync_directory
from zypher.prediction import Status

# How many reads of a table may fail, and how many more for each so many bytes of the file. Where a
# place is wrong, or the last one unknown, there would be no end to those that can be tried.
_TRIES = 100_000
_BYTES_A_TRY = 1_000

# What a read of a damaged database raises; the second, of names of columns.
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

_FIRST_PLACE = 1
_LAST_PLACE = 2**63 - 1  # that SQLite can have
_LAST_COUNTED = 2**40  # a place beyond it was never given

Row = tuple[Any, ...]


def salvage(path: Path) -> str:
    """Set a damaged file aside, and put a new one in its place with all that can be read of it.

    Returns a sentence that says how much that was. The damaged file is kept as it is; nothing of
    a prediction is taken whose input, or result if it has one, cannot be read. Until all is
    copied nothing is changed; if it is cut off once the damaged file has been set aside,
    `finish_salvage` completes it. Raises `ConfigurationError` for a file that is no queue.
    """
    require_queue(path)
    has_log = _with(path, "-wal").exists()
    working, fresh = _with(path, ".salvaging"), _with(path, ".salvaged-unfinished")
    _remove(working, fresh)  # of a salvage that was killed
    try:
        _copy(path, working)
        fresh.touch(0o600)  # SQLite gives a log the mode of its file
        with (
            closing(sqlite3.connect(working, isolation_level=None)) as source,
            closing(sqlite3.connect(fresh, isolation_level=None)) as target,
        ):
            migrate(target, schema())
            source.execute("PRAGMA writable_schema = ON")  # read a file also if it is cut off
            tries = _TRIES + working.stat().st_size // _BYTES_A_TRY
            saved, lost = _copy_rows(source, target, tries)
        damaged = _name_to_keep(path)
        _link_companions(path, damaged)
        fresh.rename(_with(path, ".salvaged"))
        sync_directory(path.parent)
        path.rename(damaged)
        sync_directory(path.parent)
    finally:
        _remove(working, fresh)
    finish_salvage(path)
    # What was in a log that is gone, nobody can count.
    unknown = f"at most {lost}" if has_log and lost is not None else "it is not known how many"
    return (
        f"{path} was damaged. Predictions that could be saved: {saved}; that could not be read "
        f"and are unknown now: {unknown}. The damaged file is kept as {damaged}."
    )


def finish_salvage(path: Path) -> None:
    """Put what was salvaged in the place of the damaged file, if that has been set aside.

    A file that lies there is not touched: it is the damaged one, or a backup.
    """
    salvaged = _with(path, ".salvaged")
    if salvaged.exists() and not (path.exists() and path.stat().st_size):
        _remove(path)  # the log of the damaged file, which is kept with it
        salvaged.rename(path)
        sync_directory(path.parent)


def _copy_rows(
    source: sqlite3.Connection, target: sqlite3.Connection, tries: int
) -> tuple[int, int | None]:
    """Copy what can be read; how many predictions that were, and at most how many could not be.

    None for the second means that not even their number can be read.
    """
    target.execute("BEGIN")
    tables = ("prediction", "input", "result")
    was_complete = [_copy_table(source, target, table, tries) for table in tables]
    _copy_table(source, target, "outbox", tries)
    _remove_torn(target)
    (saved,) = target.execute("SELECT count(*) FROM prediction").fetchone()
    target.execute("COMMIT")
    places = _places(source) if all(was_complete) else None
    return saved, None if places is None else places - saved


def _copy_table(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str, tries: int
) -> bool:
    """Copy the rows that can be read; True if all places were tried."""
    if not _is_known(source, target, table):
        return False
    reader = _Reader(source, table, tries)
    for row in reader.rows():
        _write(target, table, row)
    return not reader.has_given_up


def _places(source: sqlite3.Connection) -> int | None:
    """How many places there are from the first that may be taken to the last.

    Counted so, and not by what fails: a damaged tree can also leave out rows without a word.
    """
    tables = ("prediction", "input")
    first = min(_end(source, [table], "min") or _FIRST_PLACE for table in tables)
    last = max(_end(source, [table], "max") or 0 for table in tables)
    return None if last - first > _LAST_COUNTED else max(0, last - max(first, _FIRST_PLACE) + 1)


def _end(source: sqlite3.Connection, tables: Sequence[str], end: str) -> int | None:
    """The first or the last place of the first of these tables that tells it."""
    for table in tables:
        with suppress(*_UNREADABLE):
            (place,) = source.execute(f"SELECT {end}(seq) FROM {table}").fetchone()
            return place if place is None else int(place)
    return None


def _is_known(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """False if the schema cannot be read, or has no such table: no row would be of use."""
    query = f"SELECT * FROM {table} LIMIT 0"
    try:
        columns = source.execute(query).description
    except _UNREADABLE:
        return False
    return len(columns) == len(target.execute(query).description)


class _Reader:
    """Reads the rows of a damaged table."""

    def __init__(self, source: sqlite3.Connection, table: str, tries: int) -> None:
        """`tries`: how many reads may fail before it gives up."""
        self._source = source
        self._table = table
        self._tries = tries
        self._ranges = _Ranges()
        # In doubt, those of a table that has the same places.
        alike = (table, "prediction", "input")
        self._first = _end(source, alike, "min") or _FIRST_PLACE
        self._last = _end(source, alike, "max") or _LAST_PLACE

    def rows(self) -> Iterator[Row]:
        """The rows that can be read."""
        query = f"SELECT * FROM {self._table} WHERE seq BETWEEN ? AND ?"
        # Not only up to the last place: a place that is wrong may be beyond it, before others.
        self._ranges.add(_FIRST_PLACE, _LAST_PLACE)
        while self._ranges and self._tries:
            first, last = self._ranges.take()
            try:
                for row in self._source.execute(query, (first, last)):
                    first = max(first, row[0] + 1)
                    yield row
            except _UNREADABLE:
                self._tries -= 1
                self._try_again(max(first, self._first), min(last, self._last))

    @property
    def has_given_up(self) -> bool:
        """True if not all places were tried."""
        return bool(self._ranges)

    def _try_again(self, first: int, last: int) -> None:
        """Try the halves of what could not be read as a whole."""
        if first < last:
            middle = (first + last) // 2
            self._ranges.add(first, middle)
            self._ranges.add(middle + 1, last)


class _Ranges:
    """Ranges of places to be read: one of each size in turn.

    So what is beside a page that cannot be read is reached soon, however wide the range is that
    the page hides.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int]] = []
        self._made = Counter[int]()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, first: int, last: int) -> None:
        size = (last - first).bit_length()
        self._made[size] += 1
        heappush(self._heap, (self._made[size], first, last))

    def take(self) -> tuple[int, int]:
        _, first, last = heappop(self._heap)
        return first, last


def _write(target: sqlite3.Connection, table: str, row: Row) -> None:
    """Write a row unless it is not what had been written."""
    if table not in ("input", "result") or _is_json(row[1]):
        marks = ", ".join("?" * len(row))
        with suppress(sqlite3.IntegrityError, sqlite3.ProgrammingError):
            target.execute(f"INSERT INTO {table} VALUES ({marks})", row)


def _remove_torn(target: sqlite3.Connection) -> None:
    """Remove what is not whole."""
    target.execute(
        "DELETE FROM prediction WHERE seq NOT IN (SELECT seq FROM input) "
        f"OR status = '{Status.COMPLETED}' AND seq NOT IN (SELECT seq FROM result)"
    )
    ended = f"SELECT seq FROM prediction WHERE status = '{Status.COMPLETED}'"
    target.execute("DELETE FROM input WHERE seq NOT IN (SELECT seq FROM prediction)")
    target.execute(f"DELETE FROM result WHERE seq NOT IN ({ended})")
    target.execute("DELETE FROM outbox WHERE seq NOT IN (SELECT seq FROM prediction)")


def _is_json(body: Any) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return False
    return True


def _with(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _copy(path: Path, copy: Path) -> None:
    """Copy a file with its log: opening the original would change it."""
    for part in _parts(path):
        _copy_part(part, _with(copy, part.name.removeprefix(path.name)))


def _copy_part(part: Path, copy: Path) -> None:
    copy.touch(0o600)  # inputs and results are for its owner alone
    shutil.copyfile(part, copy)


def _remove(*paths: Path) -> None:
    for path in paths:
        for part in _parts(path):
            part.unlink()


def _name_to_keep(path: Path) -> Path:
    """A name for a damaged file under which none is kept yet."""
    name = f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    ends = chain([""], (f"-{number}" for number in count(2)))
    return next(free for end in ends if not _parts(free := path.with_name(name + end)))


def _link_companions(path: Path, other: Path) -> None:
    """Give the log of a file another name as well, beside that which the file will have."""
    for part in _parts(path):
        if part != path:
            name = _with(other, part.name.removeprefix(path.name))
            try:
                name.hardlink_to(part)
            except OSError:  # not every file system can
                _copy_part(part, name)


def _parts(path: Path) -> list[Path]:
    """The files of a database that exist."""
    parts = [_with(path, end) for end in ("", "-wal", "-shm", "-journal")]
    return [part for part in parts if part.exists()]
