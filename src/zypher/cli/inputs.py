"""What a person writes on the command line, as the input that the model's schema asks for."""

import base64
import difflib
import json
import mimetypes
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from zypher.errors import ConfigurationError

_FILE, _STDIN = "@", "-"


class _Form(Enum):
    """How a value of a schema is written."""

    TEXT = "text, as it is"
    BYTES = "bytes: @FILE, base64 or a data URL"
    JSON = "JSON"
    EITHER = "JSON, else text"


_TYPES = {
    "array": "a JSON array",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a JSON object",
}


class _Source(NamedTuple):
    """Something that was written, and what to call it in a sentence."""

    data: bytes
    name: str


def read_input(words: Sequence[str], model: str, schema: Mapping[str, Any]) -> Any:
    """The input that these words are for a model: text, @FILE, - or nothing, or name=value.

    Raises ConfigurationError, one sentence, when they are none.
    """
    fields = _fields(schema)
    if not words:
        return _read_nothing(model, schema, fields)
    if fields and not words[0].startswith(("{", _FILE)) and words[0] != _STDIN:
        return dict(_pairs(words, model, schema, fields))
    if len(words) > 1:
        raise ConfigurationError(
            f"The model {model} takes one input, and there are {len(words)}: put it in quotes."
        )
    return _value(words[0], schema, schema, f"The model {model}", takes_stdin=True)


def _read_nothing(model: str, schema: Mapping[str, Any], fields: Mapping[str, Any] | None) -> Any:
    if fields == {}:
        return {}
    form = _form(schema, schema)
    is_there = sys.stdin is not None and not sys.stdin.isatty()
    source = _read_stdin(form) if is_there else None
    if source is None or (form is _Form.JSON and not source.data):
        raise ConfigurationError(
            f"The input is missing: the model {model} takes {_summary(schema, fields)}"
        )
    return _decode(source, form, f"The model {model} takes {_description(schema, schema)}")


def _summary(schema: Mapping[str, Any], fields: Mapping[str, Any] | None) -> str:
    if fields:
        return " ".join(f"{name}=..." for name in fields)
    return _description(schema, schema)


def _pairs(
    words: Iterable[str], model: str, root: Mapping[str, Any], fields: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The parameters, each read by its own schema."""
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigurationError(
                f"The model {model} takes several parameters: write {_summary(root, fields)}, "
                f"or one JSON object; {word!r} is neither."
            )
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(fields)}."
            raise ConfigurationError(f"The model {model} has no parameter {name!r}. {hint}")
        yield name, _value(text, fields[name], root, f"The parameter {name}")


def _value(
    word: str,
    schema: Mapping[str, Any],
    root: Mapping[str, Any],
    taker: str,
    *,
    takes_stdin: bool = False,
) -> Any:
    form = _form(schema, root)
    takes = f"{taker} takes {_description(schema, root)}"
    if takes_stdin and word == _STDIN:
        return _decode(_read_stdin(form), form, takes)
    if word.startswith(_FILE):
        return _decode(_read_file(word.removeprefix(_FILE)), form, takes)
    written = _Source(os.fsencode(word), repr(word))
    return _decode(written, _Form.TEXT if form is _Form.BYTES else form, takes)


def _read_stdin(form: _Form) -> _Source:
    data = sys.stdin.buffer.read() if sys.stdin else b""
    # `echo` and editors end a line that is not meant to be part of the text.
    return _Source(data if form is _Form.BYTES else data.removesuffix(b"\n"), "standard input")


def _read_file(name: str) -> _Source:
    try:
        return _Source(Path(name).expanduser().read_bytes(), name)
    except OSError as error:
        raise ConfigurationError(
            f"The file {name!r} cannot be read: {error.strerror}. "
            "(A text that begins with @ can be given on standard input.)"
        ) from None


def _decode(source: _Source, form: _Form, takes: str) -> Any:
    """What was written, in the form that is asked for. `takes` says what that is."""
    if form is _Form.BYTES:
        return _as_data_url(source)
    try:
        text = source.data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{takes}, and {source.name} is not text in UTF-8.") from None
    if form is _Form.TEXT:
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        if form is _Form.EITHER:
            return text
        raise ConfigurationError(
            f"{takes}, and {source.name} is none{_why(error, text)}."
        ) from None


def _why(error: Exception, text: str) -> str:
    """Why a text is no JSON that has begun as if it were some."""
    if not text.lstrip().startswith(("{", "[")):
        return ""
    if isinstance(error, json.JSONDecodeError):
        return f" from line {error.lineno}, column {error.colno} on"
    return ": it is nested too deeply" if isinstance(error, RecursionError) else f": {error}"


def _as_data_url(source: _Source) -> str:
    kind, _ = mimetypes.guess_type(source.name)
    content = base64.b64encode(source.data).decode()
    return f"data:{kind or 'application/octet-stream'};base64,{content}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# What a schema says of itself.


def _form(schema: Mapping[str, Any], root: Mapping[str, Any]) -> _Form:
    """How a value of this schema is written. `root` has the definitions that it refers to."""
    schema = _resolved(schema, root)
    forms = {_form(variant, root) for variant in _variants(schema, root)}
    if not forms:
        return _form_of_one(schema)
    if forms == {_Form.TEXT, _Form.BYTES}:
        return _Form.TEXT
    return forms.pop() if len(forms) == 1 else _Form.EITHER


def _description(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What to write for this schema, in words."""
    form = _form(schema, root)
    return _description_of_json(schema, root) if form is _Form.JSON else form.value


def _description_of_json(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    schema = _resolved(schema, root)
    variants = {_description_of_json(variant, root) for variant in _variants(schema, root)}
    if not variants:
        return _TYPES.get(str(schema.get("type")), _Form.JSON.value)
    return variants.pop() if len(variants) == 1 else _Form.JSON.value


def _form_of_one(schema: Mapping[str, Any]) -> _Form:
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if schema.get("type") == "string" or (values and all(isinstance(v, str) for v in values)):
        is_data_url = str(schema.get("pattern", "")).startswith("^data:")  # as for Cog's paths
        is_file = is_data_url or schema.get("contentEncoding") == "base64"
        return _Form.BYTES if is_file else _Form.TEXT
    if "type" in schema and "string" not in schema["type"]:
        return _Form.JSON
    return _Form.EITHER


def _variants(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The members of a union, but not null: who wants that leaves the value out."""
    members = schema.get("anyOf") or schema.get("oneOf") or []
    return [member for member in members if _resolved(member, root).get("type") != "null"]


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The parameters by name; None if the input is no object whose members are known."""
    fields: Mapping[str, Any] | None = _resolved(schema, schema).get("properties")
    return fields


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema
