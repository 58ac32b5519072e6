"""Records as Redis hashes: a field for everything that a prediction has."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from zypher.prediction import NO_OPTIONS, Failure, Options, Prediction, Priority, Status

# The names of all fields, in the order in which `from_values` takes their values.
FIELDS = tuple(name for name in Prediction.__struct_fields__ if name != "id")
# What a listing shows.
LISTED = tuple(name for name in FIELDS if name not in ("input", "result"))

_NUMBERS = ("created", "not_before", "started", "finished", "expires")
_COUNTS = ("attempt", "crashes", "company", "retried")
_TEXTS = ("model", "owner", "traceparent", "retry_of", "idempotency_key")


def to_hash(record: Prediction) -> list[bytes | str]:
    """The fields of a record that are set, and their values, which follow each other."""
    hash: list[bytes | str] = []
    for name in FIELDS:
        if (value := _text(getattr(record, name))) != "":
            hash += (name, value)
    return hash


def changes(before: Prediction, after: Prediction) -> list[tuple[str, bytes | str]]:
    """The fields in which two records differ, with the values of the second."""
    return [
        (name, _text(getattr(after, name)))
        for name in FIELDS
        if getattr(before, name) != getattr(after, name)
    ]


def from_hash(id: str, hash: Sequence[bytes]) -> Prediction:
    """The record that a hash holds; its fields and values follow each other."""
    pairs = iter(hash)
    return _record(id, {name.decode(): value for name, value in zip(pairs, pairs, strict=True)})


def from_values(id: str, names: Iterable[str], values: Iterable[bytes | None]) -> Prediction:
    """The record with these values; what has none is as it is by default."""
    pairs = zip(names, values, strict=True)
    return _record(id, {name: value for name, value in pairs if value is not None})


def _record(id: str, values: dict[str, bytes]) -> Prediction:
    given: dict[str, Any] = {name: float(values[name]) for name in _NUMBERS if name in values}
    given |= {name: int(values[name]) for name in _COUNTS if name in values}
    given |= {name: values[name].decode() for name in _TEXTS if name in values}
    given |= {name: values[name] for name in ("result", "fingerprint") if name in values}
    if "options" in values:
        given["options"] = msgspec.json.decode(values["options"], type=Options)
    if "failure" in values:
        given["failure"] = msgspec.json.decode(values["failure"], type=Failure)
    return Prediction(
        id=id,
        input=values.get("input", b""),
        status=Status(values["status"].decode()),
        priority=Priority(int(values["priority"])),
        **given,
    )


def _text(value: Any) -> bytes | str:
    if value is None or value is NO_OPTIONS:
        return ""
    if isinstance(value, Options | Failure):
        return msgspec.json.encode(value)
    if isinstance(value, bytes):
        return value
    return repr(value) if isinstance(value, float) else str(value)
