"""The results of a predictor that was written for Cog: files become data URLs."""

import dataclasses
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePath
from typing import Annotated, Any, TypedDict, get_origin

import pydantic

from zypher.model.annotations import hints
from zypher.model.author import JoinedText
from zypher.model.guests import files
from zypher.model.guests.inputs import is_cogs, is_file, map_type

_JOINED = ("ConcatenateIterator", "AsyncConcatenateIterator")


def is_iterator(hint: Any) -> bool:
    """True for the result of a predictor that gives its parts one by one."""
    return get_origin(hint) in (Iterator, AsyncIterator) or _is_joined(hint)


def json_type(hint: Any) -> Any:
    """The type of the JSON for a result of this type."""
    return JoinedText if _is_joined(hint) else map_type(hint, _in_json_type)


def in_json(value: Any, began: int) -> Any:
    """A result, or a part of one, with its files as data URLs, of a run that `began` then.

    Raises InvalidOutput.
    """
    if isinstance(value, PurePath | io.IOBase):
        return files.sent(value, began)
    if isinstance(value, list | tuple):
        return [in_json(item, began) for item in value]
    if isinstance(value, dict):
        return {name: in_json(member, began) for name, member in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: in_json(getattr(value, field.name), began) for field in fields}
    if isinstance(value, pydantic.BaseModel):
        return {name: in_json(member, began) for name, member in value}
    return value


def _is_joined(hint: Any) -> bool:
    return is_cogs(get_origin(hint) or hint, *_JOINED)


def _in_json_type(kind: Any) -> Any:
    if is_file(kind):
        return Annotated[str, pydantic.Field(json_schema_extra={"format": "uri"})]
    if isinstance(kind, type) and any(is_cogs(base, "BaseModel") for base in kind.__mro__):
        members = {name: json_type(hint) for name, hint in hints(kind).items()}
        return TypedDict(kind.__name__, members)  # type: ignore[operator]
    return kind
