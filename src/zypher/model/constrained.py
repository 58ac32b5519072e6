"""The engine for every other type: pydantic. Imported only when a model's types need it."""

import dataclasses
from collections.abc import Mapping, Set
from typing import Annotated, Any, NotRequired, Required

import pydantic
import typing_extensions

from zypher.model import arrays, binary
from zypher.model.annotations import (
    is_plain_dataclass,
    is_typeddict,
    map_arguments,
    members,
    unwrap_alias,
)
from zypher.model.refusals import invalid_input


class Constrained:
    """The input type of any annotation that pydantic knows. Raises TypeError for any other.

    In pydantic models, `bytes` and unknown members are as the model's own config says.
    """

    def __init__(self, annotation: Any, *, output: bool = False) -> None:
        try:
            self._adapter = pydantic.TypeAdapter(_Twins().of(annotation))
            schema = self._adapter.json_schema(mode="serialization" if output else "validation")
        except pydantic.errors.PydanticUserError as error:
            raise TypeError(str(error).partition(". ")[0]) from error
        self.schema = arrays.resolved(schema)

    def decode(self, raw: bytes) -> Any:
        try:
            return self._adapter.validate_json(raw)
        except pydantic.ValidationError as error:
            raise invalid_input(
                [
                    {
                        "loc": ["input", *fault["loc"]],
                        "msg": fault["msg"].removeprefix("Value error, "),
                        "type": fault["type"],
                    }
                    for fault in error.errors(
                        include_url=False, include_context=False, include_input=False
                    )
                ]
            ) from None


def closed_object(annotations: Mapping[str, Any], optional: Set[str]) -> Any:
    """The annotation of an object of exactly these members."""
    twins = _Twins()
    return _closed("Input", {name: twins.of(hint) for name, hint in annotations.items()}, optional)


class _Twins:
    """Makes the types that pydantic decodes into.

    pydantic alone would know neither arrays nor data URLs, and ignore unknown members of
    dataclasses. What contains itself is left to it.
    """

    def __init__(self) -> None:
        self._within: list[Any] = []

    def of(self, annotation: Any) -> Any:
        if unwrap_alias(annotation) is bytes:
            return _Binary
        if arrays.is_array(annotation):
            return _array(annotation)
        if annotation in self._within or hasattr(annotation, "__pydantic_config__"):
            return annotation
        if is_typeddict(annotation):
            optional = annotation.__optional_keys__
            twin = _typeddict(annotation.__name__, self._members(annotation), optional)
            twin.__pydantic_config__ = pydantic.ConfigDict()  # else that of what is around it
            return twin
        if isinstance(annotation, type) and is_plain_dataclass(annotation):
            return self._of_dataclass(annotation)
        return map_arguments(annotation, self.of)

    def _of_dataclass(self, annotation: Any) -> Any:
        def make(values: dict[str, Any]) -> Any:
            return annotation(**values)

        optional = {
            field.name
            for field in dataclasses.fields(annotation)
            if not field.default is field.default_factory is dataclasses.MISSING
        }
        values = _closed(annotation.__name__, self._members(annotation), optional)
        return Annotated[values, pydantic.AfterValidator(make)]

    def _members(self, annotation: Any) -> dict[str, Any]:
        self._within.append(annotation)
        twins = {name: self.of(hint) for name, hint in members(annotation).items()}
        self._within.pop()
        return twins


_Binary = Annotated[
    Any, pydantic.PlainValidator(binary.to_bytes), pydantic.WithJsonSchema(binary.SCHEMA)
]


def _array(annotation: Any) -> Any:
    return Annotated[
        Any,
        pydantic.PlainValidator(lambda value: arrays.to_array(annotation, value)),
        pydantic.WithJsonSchema(arrays.array_schema(annotation)),
    ]


def _closed(name: str, keys: Mapping[str, Any], optional: Set[str]) -> Any:
    annotation = _typeddict(name, keys, optional)
    annotation.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
    return annotation


def _typeddict(name: str, keys: Mapping[str, Any], optional: Set[str]) -> Any:
    # The one of typing_extensions: pydantic refuses typing's before Python 3.12.
    return typing_extensions.TypedDict(  # type: ignore[operator]
        name,
        {
            key: (NotRequired if key in optional else Required)[annotation]
            for key, annotation in keys.items()
        },
    )
