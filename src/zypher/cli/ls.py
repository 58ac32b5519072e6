"""`zypher ls`."""

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zypher.cli.documents import as_document, put_json
from zypher.cli.options import HERE, AsJson, ModelName, Url, connect
from zypher.cli.text import complain, put, put_line
from zypher.cli.times import short_span, timestamp

if TYPE_CHECKING:
    from zypher.client import Record

_HEADING = ("prediction", "status", "model", "created", "took")
_GAP = "  "


def ls(
    status: Annotated[
        Literal["queued", "processing", "completed", "failed", "canceled"] | None,
        typer.Option(
            metavar="STATUS", help="Only those queued, processing, completed, failed or canceled."
        ),
    ] = None,
    model: ModelName = None,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="How many at most.")] = 50,
    as_json: AsJson = False,
    url: Url = HERE,
) -> None:
    """List predictions, the newest first.

    Into a pipe: columns with tabs between them, and no heading.
    """
    with connect(url) as client:
        found = client.list(status=status, model=model, limit=limit + 1)
        records = list(islice(found, limit))
        is_more = next(found, None) is not None
    if as_json:
        put_json([as_document(record, is_whole=False) for record in records])
    elif sys.stdout is not None and sys.stdout.isatty():
        _put_table(records)
    else:
        put("".join(map(_line, records)))
    if is_more:
        complain(f"There are more than these {limit}: --limit shows them.")


def _line(record: "Record") -> str:
    created = timestamp(record.created)
    return "\t".join([record.id, record.model, record.status, created, record.code or ""]) + "\n"


def _put_table(records: Sequence["Record"]) -> None:
    """Print a table that fits the terminal: in a narrow one, the last columns are left out."""
    rows = [_HEADING, *map(_cells, records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns
    shown = max(1, sum(end <= room for end in accumulate(width + len(_GAP) for width in widths)))
    for row in rows:
        cells = zip(row[:shown], widths, strict=False)
        put_line(_GAP.join(cell.ljust(width) for cell, width in cells).rstrip())


def _cells(record: "Record") -> tuple[str, ...]:
    status = record.status if record.code is None else f"{record.status}: {record.code}"
    age = (datetime.now(UTC) - record.created).total_seconds()
    took = ""
    if record.started is not None and record.finished is not None:
        took = short_span((record.finished - record.started).total_seconds())
    return record.id, status, record.model, f"{short_span(max(age, 0))} ago", took
