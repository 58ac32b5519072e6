"""The signature of a predict function: the schema of its input, and how to call it with one."""

import contextlib
import functools
import inspect
from collections import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from types import GenericAlias, UnionType
from typing import Any, NamedTuple, Self, Union, get_args, get_origin

import msgspec

from zypher.errors import InvalidOutput, ModelLoadError
from zypher.model.annotations import hints
from zypher.model.author import ItemError, JoinedText, batch_options
from zypher.model.codec import encode_result
from zypher.model.guests.options import guest_options
from zypher.model.types import InputType, input_type, object_type, output_schema

_LISTS = (list, abc.Sequence)
_GENERATORS = (
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
)


class Arguments(NamedTuple):
    """What to call predict with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a predict function takes and returns, both as JSON Schema 2020-12.

    One parameter: the input is its value. Several or none, or a guest's: it is an object of them.
    For a batched predict both schemas are those of one item. `output_schema` is None when the
    results have no known schema. `joined`: the parts of a generator are put together as text.
    """

    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    batched: bool
    joined: bool
    _parameters: tuple[Parameter, ...]
    _positional: tuple[Parameter, ...]
    _named: bool
    _type: InputType

    @classmethod
    def of(cls, predict: Callable[..., Any], *, target: str) -> Self:
        """The signature of `predict`, a function or a bound method, which belongs to `target`.

        Raises ModelLoadError when its types do not make a schema.
        """
        reader = _Reader(predict, target)
        type_ = reader.input_type()
        return cls(
            input_schema=type_.schema,
            output_schema=reader.output_schema(),
            batched=reader.batched,
            joined=reader.joined,
            _parameters=reader.parameters,
            _positional=_positional_only(reader.parameters),
            _named=reader.named,
            _type=type_,
        )

    def decode(self, raw: bytes) -> Any:
        """`Arguments` from an input, a JSON text; for a batched predict, one item of its list.

        Raises InvalidInput when the input does not match the types.
        """
        value = self._type.decode(raw)
        if self.batched:
            return value
        if len(self._parameters) == 1 and not self._named:
            value = {self._parameters[0].name: value}
        return _arguments(self._positional, value) if self._positional else Arguments((), value)


def _arguments(positional: Sequence[Parameter], values: dict[str, Any]) -> Arguments:
    """The values by keyword, except where a parameter takes its value by position only."""
    args = tuple(values.pop(parameter.name, parameter.default) for parameter in positional)
    return Arguments(args, values)


def _positional_only(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    return tuple(p for p in parameters if p.kind is Parameter.POSITIONAL_ONLY)


class _Reader:
    """Reads a signature; what it cannot read it says in one sentence."""

    def __init__(self, predict: Callable[..., Any], target: str) -> None:
        self._predict = predict
        self.batched = batch_options(predict) is not None
        self.named = guest_options(predict) is not None
        function = function_of(predict)
        name = getattr(function, "__name__", "predict")
        self._subject = f"{name}() of {target}"
        self._hints = resolved_hints(function, self._subject)
        self.joined = self._hints.get("return") == JoinedText
        self.parameters = self._read_parameters()
        self._subject = f"{name}({', '.join(p.name for p in self.parameters)}) of {target}"

    def input_type(self) -> InputType:
        annotations = {p.name: self._annotation(p) for p in self.parameters}
        if self.batched:
            return self._made("items", input_type, self._item(annotations))
        # Each by itself first, even of several: so that the one without a schema is named.
        types_ = [self._made(f"'{name}'", input_type, of) for name, of in annotations.items()]
        if len(types_) == 1 and not self.named:
            return types_[0]
        defaults = {p.name: p.default for p in self.parameters if p.default is not Parameter.empty}
        type_ = self._made("arguments", object_type, annotations, defaults.keys())
        _note_defaults(type_.schema["properties"], defaults)
        return type_

    def output_schema(self) -> dict[str, Any] | None:
        """The schema of the results, as far as the return annotation tells."""
        annotation = self._hints.get("return", Parameter.empty)
        origin, arguments = get_origin(annotation), get_args(annotation)
        if annotation is Parameter.empty:
            return None
        if self.joined:
            return output_schema(str)
        if self.batched:
            item = _without_item_error(arguments[0]) if origin in _LISTS and arguments else None
            return output_schema(item) if item is not None else None
        if is_generator(self._predict):
            parts = GenericAlias(list, arguments[:1])
            return output_schema(parts) if origin in _GENERATORS and arguments else None
        return output_schema(annotation)

    def _made(self, what: str, make: Callable[..., InputType], *of: Any) -> InputType:
        try:
            return make(*of)
        except TypeError as error:
            raise ModelLoadError(
                f"{self._subject} takes {what} of a type that has no JSON Schema: {error}."
            ) from error
        except NameError as error:
            raise _undefined(error, self._subject) from error
        except Exception as error:
            raise ModelLoadError(
                f"{self._subject} takes {what} of a type that no schema can be made of: {error!r}."
            ) from error

    def _annotation(self, parameter: Parameter) -> Any:
        name = parameter.name
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise ModelLoadError(
                f"{self._subject} takes any number of arguments ('{name}'), which have no "
                f"schema. Name each one that it takes, with its type."
            )
        if name not in self._hints:
            raise ModelLoadError(
                f"{self._subject} has no type hint for '{name}'. Add one, for example "
                f"`{name}: str`: the types are the schema of the input."
            )
        return self._hints[name]

    def _item(self, annotations: dict[str, Any]) -> Any:
        """The type of one item of a batched predict's only parameter."""
        if is_generator(self._predict):
            raise ModelLoadError(f"{self._subject} is batched; it must return a list, not yield.")
        for annotation in annotations.values():
            arguments = get_args(annotation)
            if len(annotations) == 1 and get_origin(annotation) in _LISTS and arguments:
                return arguments[0]
        raise ModelLoadError(
            f"{self._subject} is batched; it must take exactly one parameter, a list of the "
            f"inputs, for example `inputs: list[str]`."
        )

    def _read_parameters(self) -> tuple[Parameter, ...]:
        if _lacks_self(self._predict):
            raise ModelLoadError(
                f"{self._subject} has no `self`: the first parameter of a method is the object. "
                "Write `def predict(self, ...)`, or make it a @staticmethod."
            )
        try:
            return tuple(inspect.signature(self._predict).parameters.values())
        except ValueError as error:
            raise ModelLoadError(
                f"{self._subject} has no signature that Python can read. Wrap it in a function "
                f"with type hints."
            ) from error


def resolved_hints(function: Callable[..., Any], subject: str) -> dict[str, Any]:
    """The type hints of a function, which `subject` names. Raises ModelLoadError."""
    try:
        return hints(function)
    except NameError as error:
        raise _undefined(error, subject) from error
    except Exception as error:
        raise ModelLoadError(f"The type hints of {subject} cannot be read: {error!r}.") from error


def _undefined(error: NameError, subject: str) -> ModelLoadError:
    return ModelLoadError(
        f"A type hint of {subject} names '{error.name}', which is not defined there. "
        f"Import it or define it before, outside of `if TYPE_CHECKING`."
    )


def _without_item_error(result: Any) -> Any:
    """The type of the results of a batch; an error that stands in a result's place is none."""
    if get_origin(result) not in (Union, UnionType):
        return result
    return Union[tuple(kind for kind in get_args(result) if kind is not ItemError)]  # noqa: UP007


def is_generator(predict: Callable[..., Any]) -> bool:
    """True when `predict` yields the parts of its result, blocking or not."""
    return inspect.isgeneratorfunction(predict) or inspect.isasyncgenfunction(predict)


def _lacks_self(predict: Callable[..., Any]) -> bool:
    """True for a method whose first parameter has a type hint: it was meant for the input."""
    if not inspect.ismethod(predict):
        return False
    first = next(iter(inspect.signature(predict.__func__).parameters.values()), None)
    return first is not None and first.annotation is not Parameter.empty and first.name != "self"


def function_of(predict: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a bound method, a decorator or a `functools.partial`."""
    while isinstance(predict, functools.partial):
        predict = predict.func
    function: Callable[..., Any] = inspect.unwrap(predict)
    return getattr(function, "__func__", function)


def _note_defaults(properties: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Show in a schema the defaults that JSON can carry."""
    for name, default in defaults.items():
        with contextlib.suppress(InvalidOutput):
            value = msgspec.json.decode(encode_result(default))
            properties[name] = {**properties[name], "default": value}
