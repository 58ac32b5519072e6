"""What can be read of a damaged file, copied into a new one."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from zypher.brokers.sqlite.store import migrate, schema, sync_directory
from zypher.prediction import Status

# How many places are read at a time.
_STEP = 1024

Row = tuple[Any, ...]
Rows = dict[int, sqlite3.Row]


def salvage(path: Path) -> str:
    """Set a damaged file aside, and put a new one in its place with all that can be read of it.

    Returns a sentence that says how much that was. The damaged file is kept as it is; nothing of
    a prediction is taken whose input, or result if it has one, cannot be read. Until all is
    copied nothing is changed; if what follows is cut off, `finish_salvage` completes it.
    """
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
            saved, lost = _Reader(source).copy_to(target)
        damaged = _with(path, f".corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        _link(path, damaged)
        fresh.rename(_with(path, ".salvaged"))
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
    """Put what was salvaged in its place, if a salvage got so far."""
    salvaged = _with(path, ".salvaged")
    if salvaged.exists():
        _with(path, "-wal").unlink(missing_ok=True)  # the log of the damaged file, kept with it
        salvaged.replace(path)
        sync_directory(path.parent)


class _Reader:
    """Reads what is left of a damaged database."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source
        self._source.row_factory = sqlite3.Row
        self._lost: set[int] = set()

    def copy_to(self, target: sqlite3.Connection) -> tuple[int, int | None]:
        """Copy what can be read; how many predictions that were, and at most how many could not be.

        None for the second means that not even their number can be read.
        """
        highest = self._highest_place()
        if highest is None:
            return 0, None
        saved = 0
        for first in range(1, highest + 1, _STEP):
            target.execute("BEGIN")
            for rows in self._whole(first, min(first + _STEP - 1, highest)):
                saved += self._write(target, rows)
            target.execute("COMMIT")
        return saved, len(self._lost)

    def _whole(self, first: int, last: int) -> Iterator[dict[str, Row]]:
        """The rows, by table, of each prediction that can be read as a whole."""
        heads: Rows = {}
        inputs: Rows = {}
        results: Rows = {}
        self._lost |= self._read("prediction", first, last, heads)
        self._read("input", first, last, inputs)
        self._read("result", first, last, results)
        for place, head in heads.items():
            bodies = {"input": inputs.get(place)}
            if head["status"] == Status.COMPLETED:
                bodies["result"] = results.get(place)
            if all(body is not None and _is_json(body["body"]) for body in bodies.values()):
                yield {"prediction": tuple(head)} | {t: tuple(b) for t, b in bodies.items() if b}
            else:
                self._lost.add(place)

    def _read(self, table: str, first: int, last: int, rows: Rows) -> set[int]:
        """Add the rows of these places by place; returns the places that cannot be read."""
        query = f"SELECT * FROM {table} WHERE seq BETWEEN ? AND ?"
        try:
            found = self._source.execute(query, (first, last)).fetchall()
        except sqlite3.Error:
            if first == last:
                return {first}
            middle = (first + last) // 2
            return self._read(table, first, middle, rows) | self._read(
                table, middle + 1, last, rows
            )
        rows.update((row["seq"], row) for row in found)
        return set()

    def _write(self, target: sqlite3.Connection, rows: dict[str, Row]) -> int:
        place = rows["prediction"][0]
        try:
            for table, row in rows.items():
                marks = ", ".join("?" * len(row))
                target.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # not what had been written
            for table in rows:
                target.execute(f"DELETE FROM {table} WHERE seq = ?", (place,))
            self._lost.add(place)
            return 0
        return 1

    def _highest_place(self) -> int | None:
        """The highest place that any table still knows of."""
        highest: list[int | None] = []
        for table in ("prediction", "input", "result"):
            with suppress(sqlite3.Error):
                highest += self._source.execute(f"SELECT max(seq) FROM {table}").fetchone()
        return max((place for place in highest if place is not None), default=None)


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


def _link(path: Path, other: Path) -> None:
    """Give a file and its log another name as well."""
    for part in _parts(path):
        name = _with(other, part.name.removeprefix(path.name))
        try:
            name.hardlink_to(part)
        except OSError:  # not every file system can
            _copy_part(part, name)


def _parts(path: Path) -> list[Path]:
    """The files of a database that exist."""
    parts = [_with(path, end) for end in ("", "-wal", "-shm", "-journal")]
    return [part for part in parts if part.exists()]
