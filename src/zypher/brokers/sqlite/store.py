"""The file: one connection, used by one thread, and what is asked of it."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from zypher.brokers.base import Limits
from zypher.brokers.decisions import LOST, lost_together, time_to_live
from zypher.brokers.queue import Entry, Move
from zypher.brokers.sqlite import records
from zypher.brokers.sqlite.opening import damage_told, migrate, prepare, schema, value
from zypher.brokers.sqlite.records import DuePlace, Stored, due_place
from zypher.prediction import Prediction, Priority, Status

# A log is written back when it has so many pages, which have to be read at a start; and it is no
# longer, in bytes, unless much was written at once.
_LOG_PAGES = 4000
_USUAL_LOG = 20_000_000

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",  # a commit has reached the disk, not only the kernel
    "fullfsync = 1",  # macOS: fsync alone does not empty the disk's own cache
    f"wal_autocheckpoint = {_LOG_PAGES}",
    "journal_size_limit = 67108864",
    "mmap_size = 0",
    "cache_size = -8192",  # KB: a commit may look at all of it, and what we read comes in order
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)

# How much one step of upkeep takes, so that it does not hold up a commit.
_PURGED = 100
_OVERDUE = 100
_VACUUMED_PAGES = 256
_COPIED_PAGES = 256


class LaneCount(NamedTuple):
    """How much waits in one lane of one model."""

    model: str
    priority: Priority
    queued: int
    queued_bytes: int


class DueDelivery(NamedTuple):
    """A webhook that has to be called."""

    stored: Stored
    due: float
    failures: int


class Store:
    """An open queue file. Raises `ConfigurationError` or `Damaged` when it cannot be opened.

    All methods raise `sqlite3.Error` when the disk or the file fails them.
    """

    def __init__(self, path: Path) -> None:
        self._wal = path.with_name(path.name + "-wal")
        with damage_told():
            prepare(path)
            self._connection = sqlite3.connect(
                path, isolation_level=None, cached_statements=256, check_same_thread=False
            )
            # A text that is none would fail the whole query, and not only its row.
            self._connection.text_factory = bytes
            try:
                self._open(path)
            except BaseException:
                self._connection.close()
                raise

    def _open(self, path: Path) -> None:
        # Before the first access, so that the log needs no memory that is shared with others.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        migrate(self._connection, schema())
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("UPDATE file SET boots = boots + 1, clean = 0")
        self._checkpoint("TRUNCATE")  # from here on, a missing log can be told from an empty one

    # Writing.

    def write(self, moves: Sequence[Move]) -> set[int]:
        """Write moves in one transaction; returns the places of new ones whose id is known.

        Raises `LostUpdate` when a row is not in the state from which it was moved.
        """
        known: set[int] = set()
        with self.transaction():
            for group in _independent(moves):
                known |= records.insert(self._connection, [m for m in group if m.before is None])
                records.update(self._connection, [m for m in group if m.before is not None])
        return known

    def erase(self, place: int) -> None:
        """Forget a record."""
        with self.transaction():
            for table in ("outbox", "input", "result", "prediction"):
                self._connection.execute(f"DELETE FROM {table} WHERE seq = ?", (place,))

    def free_key(self, place: int) -> None:
        """Let another record have the idempotency key of this one."""
        with self.transaction():
            self._connection.execute(
                "UPDATE prediction SET idempotency_key = NULL WHERE seq = ?", (place,)
            )

    def purge(self, now: float) -> int:
        """Forget some of what has expired; how many. To be repeated until there are none.

        That of which a webhook has to be told is held until it was.
        """
        expired = (
            "SELECT seq FROM prediction WHERE expires <= ? AND seq NOT IN (SELECT seq FROM outbox) "
            f"ORDER BY expires LIMIT {_PURGED}"
        )
        with self.transaction():
            for table in ("input", "result", "prediction"):
                cursor = self._connection.execute(
                    f"DELETE FROM {table} WHERE seq IN ({expired})", (now,)
                )
        return cursor.rowcount

    def drop_delivery(self, place: int) -> None:
        """A webhook need not be called any more."""
        with self._unhurried(), self.transaction():
            self._connection.execute("DELETE FROM outbox WHERE seq = ?", (place,))

    def put_off_delivery(self, place: int, due: float, failures: int) -> None:
        """A webhook has to be called later."""
        with self._unhurried(), self.transaction():
            self._connection.execute(
                "UPDATE outbox SET due = ?, failures = ? WHERE seq = ?", (due, failures, place)
            )

    def shrink(self) -> bool:
        """Give some free pages back if there are many; True if it did. To be repeated as well."""
        free, pages = self._value("PRAGMA freelist_count"), self._value("PRAGMA page_count")
        if free * 4 <= pages:
            return False
        self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUMED_PAGES})").fetchall()
        return bool(self._value("PRAGMA freelist_count") < free)

    def beat(self) -> None:
        """Write something that means nothing, to see whether the disk takes it."""
        with self.transaction():
            self._connection.execute("UPDATE file SET beats = beats + 1")

    @contextmanager
    def _unhurried(self) -> Iterator[None]:
        """What is written within reaches the disk with what is written next.

        For what may be done twice: a flush of its own would hold up predictions.
        """
        self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within, or nothing; on the disk once it ends."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # Reading.

    def find(self, id: str) -> Stored | None:
        """The record of an id."""
        row = self._connection.execute(f"{records.FULL} WHERE id = ?", (id,)).fetchone()
        return row and records.stored(row)

    def find_by_key(self, owner: str, key: str) -> Stored | None:
        """The record that has this idempotency key of an owner."""
        row = self._connection.execute(
            f"{records.FULL} WHERE ifnull(owner, '') = ? AND idempotency_key = ?", (owner, key)
        ).fetchone()
        return row and records.stored(row)

    def overdue(self, now: float, after: DuePlace) -> tuple[list[Stored], DuePlace | None]:
        """Some queued records of which a clock has run out, in the order in which they did.

        And where to go on to find more; None when there are no more.
        """
        rows = self._connection.execute(
            f"{records.UNENDED} WHERE due <= ? AND (due, seq) > (?, ?) AND status = 'queued' "
            "ORDER BY due, seq LIMIT ?",
            (now, *after, _OVERDUE),
        ).fetchall()
        last = due_place(rows[-1]) if len(rows) == _OVERDUE else None
        return list(records.readable(rows)), last

    def first_due(self, after: float = -inf) -> float:
        """When the first clock of a queued record runs out, of those behind `after`."""
        due = self._connection.execute(
            "SELECT min(due) FROM prediction WHERE due > ? AND status = 'queued'", (after,)
        ).fetchone()[0]
        return inf if due is None else float(due)

    def queued(self, model: str, lane: Priority, after: int, limit: int, size: int) -> list[Stored]:
        """The next queued records of a lane behind a place, in order.

        Up to `limit`, and no more once their inputs reach `size` bytes; at least one if any.
        """
        rows = self._connection.execute(
            f"{records.UNENDED} WHERE model = ? AND priority = ? AND seq > ? AND status = 'queued' "
            "ORDER BY prediction.seq LIMIT ?",
            (model, int(lane), after, limit),
        )
        found: list[Stored] = []
        for stored in records.readable(rows):
            found.append(stored)
            size -= found[-1].record.size
            if size <= 0:
                break
        rows.close()
        return found

    def undelivered(
        self, now: float, taken: Collection[int], busy: Collection[str]
    ) -> tuple[DueDelivery | None, float]:
        """The first delivery that is due, and neither taken nor to a busy host.

        If there is none, when the first such one will be.
        """
        free = f"seq NOT IN ({_marks(taken)}) AND host NOT IN ({_marks(busy)})"
        query = f"SELECT seq, due, failures FROM outbox WHERE {free} ORDER BY due, seq LIMIT 1"
        while row := self._connection.execute(query, (*taken, *busy)).fetchone():
            place, due, failures = row
            if due > now:
                return None, due
            rows = self._connection.execute(f"{records.FULL} WHERE prediction.seq = ?", (place,))
            for stored in records.readable(rows.fetchall()):
                return DueDelivery(stored, due, failures), inf
            self.drop_delivery(place)  # what it would tell cannot be read
        return None, inf

    def page(
        self,
        status: Status | None,
        model: str | None,
        owner: str | None,
        before: str | None,
        now: float,
        limit: int,
    ) -> list[Prediction]:
        """Records without input and result, newest first, from before an id on."""
        wanted = {"status = ?": status and status.value, "model = ?": model}
        wanted |= {"owner = ?": owner, "id < ?": before}
        given = {term: value for term, value in wanted.items() if value is not None}
        given["(expires IS NULL OR expires > ?)"] = now  # type: ignore[assignment]
        rows = self._connection.execute(
            f"{records.BARE} WHERE {' AND '.join(given)} ORDER BY id DESC LIMIT ?",
            (*given.values(), limit),
        )
        return [stored.record for stored in records.readable(rows)]

    def queued_by_lane(self) -> list[LaneCount]:
        """How much waits, by model and lane."""
        rows = self._connection.execute(
            "SELECT model, priority, count(*), sum(size) FROM prediction "
            "WHERE status = 'queued' AND priority IN (0, 1, 2) GROUP BY model, priority"
        )
        return [
            LaneCount(model.decode(errors="replace"), Priority(lane), *counts)
            for model, lane, *counts in rows
        ]

    def queued_by_owner(self) -> dict[str, int]:
        """How much waits, by owner, of what has one."""
        rows = self._connection.execute(
            "SELECT owner, count(*) FROM prediction "
            "WHERE status = 'queued' AND owner IS NOT NULL GROUP BY owner"
        )
        return {owner.decode(errors="replace"): count for owner, count in rows}

    def last_place(self) -> int:
        """The highest place that is taken."""
        return int(self._value("SELECT ifnull(max(seq), 0) FROM prediction"))

    # Start and end.

    def give_back(self, now: float, limits: Limits) -> None:
        """Queue again what was running when the last server died.

        It died with all of them, as a worker does with what it runs.
        """
        rows = self._connection.execute(f"{records.BARE} WHERE status = 'processing'")
        running = list(records.readable(rows))
        together = lost_together(("", record) for record, _ in running)
        moves = []
        for (record, place), company in zip(running, together, strict=True):
            after = record.crashed(now, LOST, company=company, max_crashes=limits.max_crashes)
            if after.status.terminal:
                after = replace(after, expires=now + time_to_live(after, limits))
            entry = Entry(after, after, place=place, kept=True, waits=False, since=0.0)
            moves.append(Move(entry, record, after))
        self.write(moves)

    def rest(self) -> None:
        """Write all of the log back while there is nothing else to do.

        One of the usual length stays as long as it is, to be written over: that takes a disk less
        time than to make a file longer.
        """
        self._checkpoint("PASSIVE" if self._wal_size() <= _USUAL_LOG else "TRUNCATE")

    def backup(self, target: Path, between: Callable[[], None]) -> None:
        """Write a whole, consistent copy to a new file, some pages at a time.

        `between` is called after each step, and may write to this store: it will be in the copy.
        Raises `OSError` when the copy cannot be written.
        """
        try:
            copy_database(self._connection, target, between)
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def close(self, *, clean: bool) -> None:
        """Close the file; `clean` says that nothing is missing from it."""
        try:
            if clean:
                self._mark_clean()
        finally:
            self._connection.close()

    def _mark_clean(self) -> None:
        mark = "UPDATE file SET clean = 1"
        try:
            self._connection.execute(mark)
        except sqlite3.OperationalError:
            # The disk is full. Without the mark, the log that is removed at the end would be missed
            # at the next start; to empty it makes room for the mark.
            self._checkpoint("TRUNCATE")
            self._connection.execute(mark)

    def _checkpoint(self, mode: str) -> None:
        self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()

    def _wal_size(self) -> int:
        return self._wal.stat().st_size if self._wal.exists() else 0

    def _value(self, query: str) -> Any:
        return value(self._connection, query)


def copy_database(
    source: sqlite3.Connection, target: Path, between: Callable[[], None] = lambda: None
) -> None:
    """Copy an open queue to another file, some pages at a time."""
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")  # a commit need not wait until all is on the disk
        source.backup(copy, pages=_COPIED_PAGES, progress=lambda *_: between(), sleep=0)


def _independent(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """The moves in groups, in each of which no entry occurs twice."""
    group: dict[int, Move] = {}
    for move in moves:
        if move.entry.place in group:
            yield list(group.values())
            group = {}
        group[move.entry.place] = move
    yield list(group.values())


def _marks(values: Sized) -> str:
    """The placeholders for so many values."""
    return ", ".join("?" * len(values))
