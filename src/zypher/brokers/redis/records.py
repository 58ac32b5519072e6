"""Records as Redis hashes: a field for everything that a prediction has."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from zypher.prediction import NO_OPTIONS, Failure, Options, Prediction, Priority, Status

# The names of all fields, in the order in which `from_values` takes their values.
FIELDS = tuple(name for name in Prediction.__struct_fields__ if name != "id")
# What a listing shows.
LISTED = tuple(name for name in FIELDS if name not in ("input", "result"))

# What a worker is shown of what it claims: all that can be set while it is queued.
CLAIMED = tuple(
    name
    for name in FIELDS
    if name not in ("model", "status", "result", "failure", "started", "finished", "expires")
)

_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("created", "not_before", "started", "finished", "expires"), float),
    **dict.fromkeys(("attempt", "crashes", "company", "retried", "misfits"), int),
    **dict.fromkeys(("model", "signature", "owner", "traceparent", "retry_of"), bytes.decode),
    **dict.fromkeys(("input", "result", "fingerprint"), bytes),
    "idempotency_key": bytes.decode,
    "options": msgspec.json.Decoder(Options).decode,
    "failure": msgspec.json.Decoder(Failure).decode,
    "status": {status.encode(): status for status in Status}.__getitem__,
    "priority": {b"%d" % priority: priority for priority in Priority}.__getitem__,
}
_OF_HASH = {name.encode(): (name, _DECODERS[name]) for name in FIELDS}

# What a move can change.
_MOVING = (
    *("status", "result", "failure", "attempt", "crashes", "company", "retried", "not_before"),
    *("misfits", "started", "finished"),
)

# Fields that are left out of a hash when they have these values.
_DEFAULTS = {"options": NO_OPTIONS, "crashes": 0, "retried": 0, "misfits": 0}
_WRITTEN = [(name, _DEFAULTS.get(name)) for name in FIELDS]


def to_hash(record: Prediction) -> list[msgspec.Raw | str]:
    """The fields of a record that are set, and their values, in turns, for MessagePack."""
    hash: list[msgspec.Raw | str] = []
    for name, default in _WRITTEN:
        value = getattr(record, name)
        if value is not None and value != default:
            hash += (name, _text(value))
    return hash


def changes(before: Prediction, after: Prediction) -> list[msgspec.Raw | str]:
    """The fields in which two records differ, and what they are in the second, in turns."""
    changed: list[msgspec.Raw | str] = []
    for name in _MOVING:
        value = getattr(after, name)
        if getattr(before, name) != value:
            changed += (name, _text(value))
    return changed


def from_hash(id: str, hash: Sequence[bytes]) -> Prediction:
    """The record that a hash holds; its fields and values follow each other."""
    words = iter(hash)
    return from_pairs(id, zip(words, words, strict=True))


def dict_of(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Names and values that follow each other, as a dict."""
    pairs = iter(flat)
    return dict(zip(pairs, pairs, strict=True))


def from_pairs(id: str, pairs: Iterable[tuple[bytes, bytes]]) -> Prediction:
    """The record that has these fields and values, among others."""
    given: dict[str, Any] = {"input": b""}
    for field, value in pairs:
        if field in _OF_HASH:
            name, decode = _OF_HASH[field]
            given[name] = decode(value)
    return Prediction(id=id, **given)


def from_values(
    id: str, names: Iterable[str], values: Iterable[bytes | None], **given: Any
) -> Prediction:
    """The record with these values, and those `given`; what has none is as it is by default."""
    for name, value in zip(names, values, strict=True):
        if value is not None:
            given[name] = _DECODERS[name](value)
    given.setdefault("input", b"")
    return Prediction(id=id, **given)


def string_of(value: bytes) -> msgspec.Raw:
    """Bytes as MessagePack that Redis can read: as a string (str 32), since it knows no bin."""
    return msgspec.Raw(b"\xdb" + len(value).to_bytes(4) + value)


def _text(value: Any) -> msgspec.Raw | str:
    if value is None or value is NO_OPTIONS:
        return ""
    if isinstance(value, Options | Failure):
        return string_of(msgspec.json.encode(value))
    if isinstance(value, bytes):
        return string_of(value)
    return repr(value) if isinstance(value, float) else str(value)
