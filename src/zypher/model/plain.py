"""The engine for plain types: msgspec.

msgspec alone would ignore unknown members of dataclasses and take bytes as base64 only. So it
decodes into twins of the annotated types, in which a dataclass is a closed struct and `bytes`
is `Binary`, and converts the structs to the dataclasses where there are any.
"""

import dataclasses
from collections.abc import Mapping, Set
from typing import Annotated, Any, NotRequired, Required, TypedDict, get_args, get_origin

import msgspec
from msgspec import UNSET

from zypher.model import arrays, binary
from zypher.model.annotations import (
    is_namedtuple,
    is_plain_dataclass,
    is_typeddict,
    map_arguments,
    members,
    unwrap_alias,
)
from zypher.model.refusals import from_msgspec

_BAD_INPUT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NotPlain(Exception):
    """No fault: a type that msgspec cannot express to the letter, so that pydantic takes it."""


class Plain:
    """The input type of a plain annotation.

    Raises NotPlain for any other, and TypeError for an array of what JSON cannot carry.
    """

    def __init__(self, annotation: Any) -> None:
        twins = _Twins()
        self._decoder = _Decoder(twins.of(annotation))
        self._annotation = annotation if twins.has_structs else None
        self.schema = self._decoder.schema

    def decode(self, raw: bytes) -> Any:
        value = self._decoder.decode(raw)
        return value if self._annotation is None else _real(value, self._annotation)


class PlainObject:
    """An object of exactly these members, of which those in `optional` may be absent.

    Raises as `Plain` does.
    """

    def __init__(self, members: Mapping[str, Any], optional: Set[str]) -> None:
        structs: dict[type, type] = {}
        twins = {name: _Twins(structs) for name in members}
        fields = [
            (name, twins[name].of(annotation), _absent(name in optional))
            for name, annotation in members.items()
        ]
        struct = msgspec.defstruct("Input", fields, forbid_unknown_fields=True, kw_only=True)
        self._decoder = _Decoder(struct)
        self._annotations = {
            name: annotation for name, annotation in members.items() if twins[name].has_structs
        }
        self.schema = self._decoder.schema

    def decode(self, raw: bytes) -> dict[str, Any]:
        values = msgspec.structs.asdict(self._decoder.decode(raw))
        present = {name: value for name, value in values.items() if value is not UNSET}
        for name in present.keys() & self._annotations:
            present[name] = _real(present[name], self._annotations[name], name)
        return present


class _Decoder:
    """msgspec's decoder of `twin`, with arrays and bytes, and refusals of our own form."""

    def __init__(self, twin: Any) -> None:
        self._twin = twin
        try:
            self._decoder = msgspec.json.Decoder(twin, dec_hook=_from_json)
            (schema,), definitions = msgspec.json.schema_components(
                [twin], ref_template="#/$defs/{name}"
            )
        except TypeError as error:
            raise NotPlain from error
        self.schema = arrays.resolved(_inlined(schema, definitions))

    def decode(self, raw: bytes) -> Any:
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError:
            return self._decode_numbers(raw)
        except _BAD_INPUT as error:
            raise from_msgspec(error) from None

    def _decode_numbers(self, raw: bytes) -> Any:
        """Decode once more, as JSON Schema sees numbers: 5.0 is an integer. msgspec objects."""
        try:
            value = _with_integers(msgspec.json.decode(raw))
            return msgspec.convert(value, self._twin, dec_hook=_from_json, str_keys=True)
        except _BAD_INPUT as error:
            raise from_msgspec(error) from None


class _Twins:
    """Makes the types that msgspec decodes into; `has_structs` if they stand for dataclasses.

    A dataclass has one struct, however often it occurs, also in others that share `structs`:
    msgspec tells the types of a schema apart by name.
    """

    def __init__(self, structs: dict[type, type] | None = None) -> None:
        self.has_structs = False
        self._structs: dict[type, type] = {} if structs is None else structs
        self._within: list[Any] = []

    def of(self, annotation: Any) -> Any:
        if annotation in self._within:
            raise NotPlain  # it contains itself
        self._within.append(annotation)
        twin = self._of(unwrap_alias(annotation))
        self._within.pop()
        return twin

    def _of(self, annotation: Any) -> Any:
        if annotation is object:
            return Any
        if annotation is bytes:
            return _with_schema(binary.Binary, binary.SCHEMA)
        if arrays.is_array(annotation):
            return _with_schema(annotation, arrays.array_schema(annotation))
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated and not all(isinstance(m, msgspec.Meta) for m in arguments[1:]):
            raise NotPlain
        if is_namedtuple(annotation) or dataclasses.is_dataclass(origin) or is_typeddict(origin):
            raise NotPlain
        if is_typeddict(annotation):
            return self._typeddict(annotation)
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            self.has_structs = True
            if annotation not in self._structs:
                self._structs[annotation] = self._struct(annotation)
            return self._structs[annotation]
        return map_arguments(annotation, self.of)

    def _typeddict(self, annotation: Any) -> Any:
        required = annotation.__required_keys__
        keys = {
            name: (Required if name in required else NotRequired)[twin]
            for name, twin in self._members(annotation).items()
        }
        return TypedDict(annotation.__name__, keys)  # type: ignore[operator]

    def _struct(self, annotation: Any) -> type:
        if not is_plain_dataclass(annotation):
            raise NotPlain
        twins = self._members(annotation)
        fields = dataclasses.fields(annotation)
        doc = annotation.__doc__ or ""
        return msgspec.defstruct(
            annotation.__name__,
            [(field.name, twins[field.name], _default(annotation, field)) for field in fields],
            module=annotation.__module__,
            namespace={} if doc.startswith(f"{annotation.__name__}(") else {"__doc__": doc},
            forbid_unknown_fields=True,
            kw_only=True,
        )

    def _members(self, annotation: type) -> dict[str, Any]:
        return {name: self.of(hint) for name, hint in members(annotation).items()}


def _default(annotation: Any, field: dataclasses.Field[Any]) -> Any:
    """What a twin's field is when it is absent: as in the dataclass."""
    if field.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=field.default_factory)
    if field.default is dataclasses.MISSING:
        return msgspec.NODEFAULT
    try:
        _convert(field.default, members(annotation)[field.name])
    except msgspec.ValidationError:
        raise NotPlain from None  # like `x: int = None`, which a conversion would refuse
    return msgspec.field(default=field.default)


def _absent(optional: bool) -> Any:
    # A factory, because the schema would show a plain default.
    return msgspec.field(default_factory=lambda: UNSET) if optional else msgspec.NODEFAULT


def _real(value: Any, annotation: Any, *within: str) -> Any:
    """`value` with dataclasses in place of their twins. Their __post_init__ may refuse."""
    try:
        return _convert(value, annotation)
    except msgspec.ValidationError as error:
        raise from_msgspec(error, *within) from None


def _convert(value: Any, annotation: Any) -> Any:
    return msgspec.convert(value, annotation, from_attributes=True, dec_hook=_from_json)


def _from_json(kind: Any, value: Any) -> Any:
    """msgspec's `dec_hook`: a value of a type that it does not know."""
    if kind is binary.Binary:
        return binary.to_bytes(value)
    if not arrays.is_array(kind):
        raise NotImplementedError(kind)
    # An array comes back when the twin that it was decoded into becomes a dataclass.
    return value if arrays.is_array(type(value)) else arrays.to_array(kind, value)


def _with_schema(kind: Any, schema: dict[str, Any]) -> Any:
    return Annotated[kind, msgspec.Meta(extra_json_schema=schema)]


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One schema that carries its definitions; an object's own is at the top, not referred to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    top = definitions.pop(name) if name else schema
    return {**top, "$defs": definitions} if definitions else top


def _with_integers(value: Any) -> Any:
    """`value` with 5.0 as 5, wherever a float is exactly an integer."""
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value
