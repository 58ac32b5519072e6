"""What a model returned, as JSON text; whatever JSON cannot carry is refused by its place."""

import dataclasses
import datetime
import decimal
import enum
import math
import sys
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import msgspec

from zypher.errors import InvalidOutput
from zypher.model.binary import to_data_url

MAX_DEPTH = 200

_CONSTANTS = frozenset({type(None), bool, int})
_AS_MSGSPEC_DOES = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    decimal.Decimal,
)

# Where a value is: the place of what holds it, and its member or index. None: the result itself.
_Place = tuple[Any, str | int] | None


def encode_result(value: Any, *, part: int | None = None) -> bytes:
    """The JSON text of what a model returned; or of one part, if it is a list that comes in parts.

    Beside JSON's own types: tuples, sets, dataclasses, msgspec structs, pydantic models, enums,
    dates and times, UUIDs, Decimals, paths, NumPy arrays and scalars, and bytes (as a data URL).

    Raises InvalidOutput, whose sentence names the place, for what JSON cannot carry: NaN and
    infinities, other objects, other keys than text and integers, and values that contain
    themselves or are nested deeper than `MAX_DEPTH`.
    """
    place = None if part is None else (None, part)
    try:
        plain = value if type(value) in _CONSTANTS else _plain(value, place, 0)
        return bytes(plain) if type(plain) is msgspec.Raw else msgspec.json.encode(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidOutput(
            f"The model returned a value that JSON cannot carry: {error}."
        ) from error


def _plain(value: Any, place: _Place, depth: int) -> Any:
    """`value` in types that msgspec writes without loss."""
    kind = type(value)
    if kind in _CONSTANTS:
        return value
    if kind is float:
        return _finite(value, place)
    if kind is str:
        return _text(value, place)
    if depth > MAX_DEPTH:
        raise InvalidOutput(
            f"The model returned a value that contains itself or is nested more than "
            f"{MAX_DEPTH} levels deep, which JSON cannot carry."
        )
    if kind is list:
        return _items(value, place, depth)
    if kind is dict:
        return _members(value, place, depth)
    return _other(value, place, depth)


def _finite(value: float, place: _Place) -> float:
    if math.isfinite(value):
        return value
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    raise _refusal(f"a float {name}", place)


def _text(value: str, place: _Place) -> str:
    if not value.isascii():  # free of charge, and true of most text
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _refusal("text with a lone surrogate", place) from None
    return value


def _items(values: Collection[Any], place: _Place, depth: int) -> list[Any] | msgspec.Raw:
    # Long lists of one scalar type are the usual case; they are looked at in C.
    kinds = set(map(type, values))
    if kinds == {float} and (text := _finite_floats([*values])):
        return msgspec.Raw(text)
    if kinds <= _CONSTANTS or (kinds == {str} and all(map(str.isascii, values))):
        return list(values)
    return [_plain(value, (place, index), depth + 1) for index, value in enumerate(values)]


def _finite_floats(values: list[float]) -> bytes | None:
    """Their text, unless one of them is NaN or an infinity: that is null in it."""
    text = msgspec.json.encode(values)
    return None if b"n" in text else text


def _members(values: Mapping[Any, Any], place: _Place, depth: int) -> dict[str, Any]:
    return {
        (name := _key(key, place)): _plain(value, (place, name), depth + 1)
        for key, value in values.items()
    }


def _key(key: Any, place: _Place) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return _text(str.__str__(key), place)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(int(key))
    raise _refusal(f"a dict with a key of type {type(key).__name__}", place)


def _other(value: Any, place: _Place, depth: int) -> Any:
    """A value of none of JSON's own types: in the terms of those, or refused."""
    for known, convert in _CONVERSIONS:
        if isinstance(value, known):
            return _plain(convert(value), place, depth + 1)
    if isinstance(value, _AS_MSGSPEC_DOES):
        return value
    if isinstance(value, Mapping):
        return _members(value, place, depth)
    if isinstance(value, (Sequence, Set)):
        return _items(value, place, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return _members({f.name: getattr(value, f.name) for f in fields}, place, depth)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _array(numpy, numpy.asarray(value), place, depth)
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return _plain(value.model_dump(by_alias=True), place, depth + 1)
    if type(value).__module__.startswith("pydantic") and not isinstance(
        value, type
    ):  # URLs, secrets: text by their own rule
        return str(value)
    raise _refusal(f"an object of type {type(value).__name__}", place)


def _array(numpy: Any, array: Any, place: _Place, depth: int) -> Any:
    """A NumPy array, or a scalar as one without dimensions, as nested lists."""
    kind = array.dtype.kind
    if kind in "biu":
        return array.tolist()
    if kind == "f":
        array = array.astype(numpy.float64)
        finite = numpy.isfinite(array)
        if not finite.all():
            where = numpy.argwhere(~finite)[0].tolist()
            for index in where:
                place = (place, index)
            _finite(array[tuple(where)].item(), place)
        return array.tolist()
    if kind in "USO":
        return _plain(array.tolist(), place, depth + 1)
    raise _refusal(f"a NumPy value of dtype {array.dtype}", place)


def _struct(value: msgspec.Struct) -> dict[str, Any]:
    """Its members under the names and with the tag that msgspec would write."""
    members = {
        encoded: getattr(value, name)
        for name, encoded in zip(
            value.__struct_fields__, value.__struct_encode_fields__, strict=True
        )
    }
    config = value.__struct_config__
    if config.tag_field is not None:
        members[config.tag_field] = config.tag
    return {name: member for name, member in members.items() if member is not msgspec.UNSET}


# In this order: an enum's member may be text or a number as well, and NumPy's float64 is a float.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda member: member.value),
    (str, str.__str__),
    (int, int),
    (float, float),
    ((bytes, bytearray, memoryview), to_data_url),
    (msgspec.Struct, _struct),
    (PurePath, str),
)


def _refusal(what: str, place: _Place) -> InvalidOutput:
    return InvalidOutput(f"The model returned {what} at {_path(place)}, which JSON cannot carry.")


def _path(place: _Place) -> str:
    if place is None:
        return "result"
    parent, step = place
    named = isinstance(step, str) and step.isidentifier()
    return _path(parent) + (f".{step}" if named else f"[{step!r}]")
