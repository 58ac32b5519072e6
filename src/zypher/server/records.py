"""The record of a prediction as JSON, for those who ask for the whole of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from zypher.brokers.base import Event
from zypher.prediction import Prediction

# So many of the last lines of its log are in a record.
_LAST_LINES = 20


def summary(record: Prediction) -> dict[str, Any]:
    """What a listing shows: all but input and result, and nothing that is not there."""
    failure = record.failure
    members = {
        "prediction_id": record.id,
        "model": record.model,
        "status": record.status,
        "owner": record.owner,
        "priority": record.priority.name.lower(),
        "options": record.options,
        "attempt": record.attempt,
        "crashes": record.crashes,
        "retried": record.retried,
        "created": timestamp(record.created),
        "started": timestamp(record.started),
        "finished": timestamp(record.finished),
        "expires": timestamp(record.expires),
        "traceparent": record.traceparent,
        "retry_of": record.retry_of,
        "error": failure and failure.detail,
        "detail": failure and failure.detail,
        "code": failure and failure.code,
        "errors": failure and failure.errors,
    }
    return {name: value for name, value in members.items() if value is not None}


def full(record: Prediction, events: Sequence[tuple[int, Event]] = (), **more: Any) -> bytes:
    """All that is known of a prediction, with what it told last and what `more` there is."""
    members = summary(record) | {"input": msgspec.Raw(record.input)}
    if record.result is not None:
        members["result"] = msgspec.Raw(record.result)
    if record.failure is not None and record.failure.log is not None:
        members["log"] = record.failure.log
    if progress := _told(events, "progress"):
        members["progress"] = progress[-1]
    if logs := _told(events, "log"):
        members["logs"] = logs[-_LAST_LINES:]
    return msgspec.json.encode(members | more)


def _told(events: Sequence[tuple[int, Event]], type: str) -> list[msgspec.Raw]:
    return [msgspec.Raw(event.data) for _, event in events if event.type == type]


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339, in UTC."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
