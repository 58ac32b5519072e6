"""What can be read of a damaged file, copied into a new one."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zypher.brokers.sqlite.store import migrate, schema

# How many places are read at a time.
_STEP = 1024

Row = tuple[Any, ...]


def salvage(path: Path) -> str:
    """Set a damaged file aside, and make a new one of all that can be read of it.

    Returns a sentence that says how much that was. The damaged file is kept as it is; nothing of
    a prediction is taken whose input, or result if it has one, cannot be read.
    """
    has_log = path.with_name(path.name + "-wal").exists()
    damaged = _set_aside(path)
    working = _copy(damaged, path.with_name(path.name + ".salvaging"))
    try:
        with (
            closing(sqlite3.connect(working, isolation_level=None)) as source,
            closing(sqlite3.connect(path, isolation_level=None)) as target,
        ):
            migrate(target, schema())
            source.execute("PRAGMA writable_schema = ON")  # read a file also if it is cut off
            saved, lost = _Reader(source).copy_to(target)
    finally:
        for part in _parts(working):
            part.unlink()
    # What was in a log that is gone, nobody can count.
    unknown = str(lost) if has_log and lost is not None else "it is not known how many"
    return (
        f"{path} was damaged. Predictions that could be saved: {saved}; that could not be read "
        f"and are unknown now: {unknown}. The damaged file is kept as {damaged}."
    )


class _Reader:
    """Reads what is left of a damaged database."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source
        self._unreadable: set[int] = set()

    def copy_to(self, target: sqlite3.Connection) -> tuple[int, int | None]:
        """Copy what can be read; how many predictions that were, and how many could not be.

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
        return saved, len(self._unreadable)

    def _whole(self, first: int, last: int) -> Iterator[dict[str, Row]]:
        """The rows, by table, of each prediction that can be read as a whole."""
        heads, inputs, results = (
            {row["seq"]: tuple(row) for row in self._read(table, first, last)}
            for table in ("prediction", "input", "result")
        )
        for place, head in heads.items():
            if place in self._unreadable:
                continue
            if place not in inputs:
                self._unreadable.add(place)
                continue
            rows = {"prediction": head, "input": inputs[place]}
            yield rows | ({"result": results[place]} if place in results else {})

    def _read(self, table: str, first: int, last: int) -> list[sqlite3.Row]:
        """The rows of these places; those that cannot be read are noted."""
        try:
            cursor = self._source.cursor()
            cursor.row_factory = sqlite3.Row
            return cursor.execute(
                f"SELECT * FROM {table} WHERE seq BETWEEN ? AND ?", (first, last)
            ).fetchall()
        except sqlite3.Error:
            if first == last:
                self._unreadable.add(first)
                return []
            middle = (first + last) // 2
            return self._read(table, first, middle) + self._read(table, middle + 1, last)

    def _write(self, target: sqlite3.Connection, rows: dict[str, Row]) -> int:
        place = rows["prediction"][0]
        try:
            for table, row in rows.items():
                marks = ", ".join("?" * len(row))
                target.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        except sqlite3.Error:  # what was read is not what had been written
            for table in rows:
                target.execute(f"DELETE FROM {table} WHERE seq = ?", (place,))
            self._unreadable.add(place)
            return 0
        return 1

    def _highest_place(self) -> int | None:
        """The highest place that any table still knows of."""
        highest = []
        for table in ("prediction", "input", "result"):
            with suppress(sqlite3.Error):
                highest += self._source.execute(f"SELECT max(seq) FROM {table}").fetchone()
        return max((place for place in highest if place is not None), default=None)


def _set_aside(path: Path) -> Path:
    """Rename the file and its log; returns where it is now."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    damaged = path.with_name(f"{path.name}.corrupt-{stamp}")
    for part in _parts(path):
        part.rename(part.with_name(part.name.replace(path.name, damaged.name, 1)))
    return damaged


def _copy(path: Path, copy: Path) -> Path:
    """Copy a file with its log: opening the original would change it."""
    for part in _parts(path):
        shutil.copyfile(part, part.with_name(part.name.replace(path.name, copy.name, 1)))
    return copy


def _parts(path: Path) -> list[Path]:
    """The files of a database that exist; the log first, so that it is never left alone."""
    parts = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal", "")]
    return [part for part in parts if part.exists()]
