"""Predictions as rows, and moves as statements that take many at once.

One statement for many rows, because sqlite3 gives up Python's lock at every step of a
statement, and a busy event loop may take its time to give it back.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import inf
from typing import Any, NamedTuple, TypeVar

import msgspec

from zypher.brokers.outbox import host_of, is_to_be_delivered
from zypher.brokers.queue import Move
from zypher.prediction import NO_OPTIONS, Failure, Options, Prediction, Priority, Status

log = logging.getLogger("zypher.broker")

T = TypeVar("T")

_COLUMNS = (
    *("seq", "id", "model", "priority", "status", "attempt", "crashes", "company", "size"),
    *("created", "started", "finished", "expires", "failure", "owner", "options"),
    *("traceparent", "retry_of", "idempotency_key", "fingerprint"),
    *("retried", "not_before", "signature", "misfits", "due"),
)

_QUALIFIED = ", ".join(f"prediction.{column}" for column in _COLUMNS)

# A record without its input and result; one with both; one with its input, which has no result.
BARE = f"SELECT {', '.join(_COLUMNS)} FROM prediction"
FULL = (
    f"SELECT {_QUALIFIED}, input.body, result.body "
    "FROM prediction JOIN input USING (seq) LEFT JOIN result USING (seq)"
)
UNENDED = f"SELECT {_QUALIFIED}, input.body, NULL FROM prediction JOIN input USING (seq)"

# By what is in the file: text comes as bytes, see `Store`.
_STATUS = {status.value.encode(): status for status in Status}
_PRIORITY = {priority.value: priority for priority in Priority}

_INSERT = """
    INSERT INTO prediction SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL
    ON CONFLICT (id) DO NOTHING
"""
_UPDATE = """
    UPDATE prediction SET status = column4, attempt = column5, crashes = column6,
        company = column7, started = column8, finished = column9, expires = column10,
        failure = column11, retried = column12, not_before = column13, misfits = column14,
        due = column15
    FROM (VALUES {})
    WHERE seq = column1 AND status = column2 AND attempt = column3
"""
_INSERT_INTO = {
    table: f"INSERT INTO {table} SELECT * FROM (VALUES {{}}) WHERE column1 IS NOT NULL"
    for table in ("input", "result", "outbox")
}

# Statements are made for these numbers of rows, so that few different ones have to be parsed. What
# is missing from them is filled up with rows of nothing, which all statements pass over.
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_MOST = _SIZES[-1]


class Stored(NamedTuple):
    """A record from the disk, and its place in the queue."""

    record: Prediction
    place: int


class DuePlace(NamedTuple):
    """Where a queued record is in the order in which their clocks run out."""

    due: float
    place: int


# Before the first of them.
START = DuePlace(-inf, 0)


class Unreadable(Exception):
    """A row is not what was written; the message says in what way."""


class LostUpdate(Exception):
    """A row was not as this process had left it."""


def insert(connection: sqlite3.Connection, moves: Sequence[Move]) -> set[int]:
    """Write new records; returns the places of those whose id is known already.

    These change nothing.
    """
    written = _execute(connection, _INSERT, [_row(move) for move in moves])
    known = set() if written == len(moves) else _unwritten(connection, moves)
    new = [move for move in moves if move.entry.place not in known]
    _execute(connection, _INSERT_INTO["input"], [(m.entry.place, m.after.input) for m in new])
    _insert_ends(connection, new)
    return known


def update(connection: sqlite3.Connection, moves: Sequence[Move]) -> None:
    """Write moves of known records, each of another one: compare-and-set.

    Raises `LostUpdate` if one is not in the state from which it was moved.
    """
    if _execute(connection, _UPDATE, [_change(move) for move in moves]) != len(moves):
        raise LostUpdate
    _insert_ends(connection, moves)


def due_place(row: Sequence[Any]) -> DuePlace:
    """Where a row that has a clock is in that order."""
    return DuePlace(row[_COLUMNS.index("due")], row[0])


def stored(row: Sequence[Any]) -> Stored:
    """The record of a row of any of the three. Raises `Unreadable`."""
    try:
        return _stored(row)
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise Unreadable(f"row {row[0]} of the table prediction: {error!r}") from error


def readable(rows: Iterable[Sequence[Any]]) -> Iterator[Stored]:
    """The records of rows, passing over those that cannot be read."""
    for row in rows:
        try:
            yield stored(row)
        except Unreadable as error:
            log.error("%s. It is left as it is.", error)


def _stored(row: Sequence[Any]) -> Stored:
    (seq, id, model, priority, status, attempt, crashes, company, _size, *rest) = row
    (created, started, finished, expires, failure, owner, options, *rest) = rest
    (traceparent, retry_of, idempotency_key, fingerprint, *rest) = rest
    (retried, not_before, signature, misfits, _due, *bodies) = rest
    input, result = bodies or (b"", None)
    record = Prediction(
        id=id.decode(),
        model=model.decode(),
        input=input,
        created=created,
        owner=owner and owner.decode(),
        options=NO_OPTIONS if options == b"{}" else msgspec.json.decode(options, type=Options),
        status=_STATUS[status],
        result=result,
        failure=failure and msgspec.json.decode(failure, type=Failure),
        attempt=attempt,
        crashes=crashes,
        company=company,
        started=started,
        finished=finished,
        expires=expires,
        priority=_PRIORITY[priority],
        traceparent=traceparent and traceparent.decode(),
        retry_of=retry_of and retry_of.decode(),
        idempotency_key=idempotency_key and idempotency_key.decode(),
        fingerprint=fingerprint,
        retried=retried,
        not_before=not_before,
        signature=signature and signature.decode(),
        misfits=misfits,
    )
    return Stored(record, seq)


def _row(move: Move) -> tuple[Any, ...]:
    record = move.after
    return (
        *(move.entry.place, record.id, record.model, int(record.priority), record.status.value),
        *(record.attempt, record.crashes, record.company, record.size, record.created),
        *(record.started, record.finished, record.expires, _failure(record), record.owner),
        *(_options(record.options), record.traceparent, record.retry_of),
        *(record.idempotency_key, record.fingerprint),
        *(record.retried, record.not_before, record.signature, record.misfits, _due(record)),
    )


def _change(move: Move) -> tuple[Any, ...]:
    before, after = move.before, move.after
    assert before is not None
    return (
        *(move.entry.place, before.status.value, before.attempt),
        *(after.status.value, after.attempt, after.crashes, after.company),
        *(after.started, after.finished, after.expires, _failure(after)),
        *(after.retried, after.not_before, after.misfits, _due(after)),
    )


def _due(record: Prediction) -> float | None:
    """When something has to be done about a queued record that nobody claims."""
    return record.due.at if record.status is Status.QUEUED and record.due else None


def _options(options: Options) -> bytes:
    return b"{}" if options is NO_OPTIONS else msgspec.json.encode(options)


def _failure(record: Prediction) -> str | None:
    return None if record.failure is None else msgspec.json.encode(record.failure).decode()


def _insert_ends(connection: sqlite3.Connection, moves: Sequence[Move]) -> None:
    """Write the results of what has ended, and what webhooks have to be told of it."""
    results = [(m.entry.place, m.after.result) for m in moves if m.after.result is not None]
    _execute(connection, _INSERT_INTO["result"], results)
    deliveries = [
        (m.entry.place, m.after.finished, host_of(m.after), 0)
        for m in moves
        if is_to_be_delivered(m.after)
    ]
    _execute(connection, _INSERT_INTO["outbox"], deliveries)


def _unwritten(connection: sqlite3.Connection, moves: Iterable[Move]) -> set[int]:
    """The places of those whose id belongs to another row."""
    query = "SELECT 1 FROM prediction WHERE seq = ? AND id = ?"
    places = {move.entry.place: move.after.id for move in moves}
    return {
        seq for seq, id in places.items() if not connection.execute(query, (seq, id)).fetchone()
    }


def _execute(connection: sqlite3.Connection, template: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Execute a statement with all these rows; how many of them it has written."""
    written = 0
    for start in range(0, len(rows), _MOST):
        some = rows[start : start + _MOST]
        columns = len(some[0])
        size = next(size for size in _SIZES if size >= len(some))
        values = [value for row in some for value in row]
        values += [None] * (size * columns - len(values))
        written += connection.execute(_statement(template, size, columns), values).rowcount
    return written


@cache
def _statement(template: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return template.format(", ".join([row] * rows))
