"""Results and records as text."""

import codecs
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zypher.cli.text import put_line
from zypher.cli.times import timestamp

if TYPE_CHECKING:
    from zypher.client import Record


def put_result(result: Any, *, as_json: bool) -> None:
    """Print a result: a text as it is, else JSON for people; or JSON for programs, in one line."""
    if as_json:
        put_json(result)
    else:
        put_line(result if isinstance(result, str) else json_text(result, indent=2))


def put_id(id: str, *, as_json: bool) -> None:
    """Print the id of a prediction, and nothing else."""
    if as_json:
        put_json({"prediction_id": id})
    else:
        put_line(id)


def put_json(value: Any) -> None:
    """Print a value as one JSON document, in one line."""
    put_line(json_text(value))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that the output's encoding can carry."""
    encoding = sys.stdout.encoding if sys.stdout else "utf-8"
    is_narrow = codecs.lookup(encoding).name != "utf-8"
    return json.dumps(value, ensure_ascii=is_narrow, indent=indent)


def as_document(record: "Record", *, is_whole: bool) -> dict[str, Any]:
    """The record as the HTTP API has it: only the members that there are.

    What is listed is not whole: it has neither input nor result.
    """
    from msgspec import to_builtins

    members: dict[str, Any] = to_builtins(record, builtin_types=(datetime,))
    payload = {"input"} | ({"result"} if record.status == "completed" else set())
    return {
        name: timestamp(value) if isinstance(value, datetime) else value
        for name, value in members.items()
        if value not in (None, []) or (is_whole and name in payload)
    }
