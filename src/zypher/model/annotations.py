"""Taking type annotations apart and putting them together again."""

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

# ReadOnly is there from Python 3.13.
_QUALIFIERS = (Required, NotRequired, getattr(typing, "ReadOnly", Required))


def map_arguments(annotation: Any, visit: Callable[[Any], Any]) -> Any:
    """`annotation` with `visit` applied to the types inside it; itself if that changes none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or origin is Literal or not arguments:
        return annotation
    if origin is Annotated:
        inner, *metadata = arguments
        return Annotated[(visit(inner), *metadata)]
    visited = tuple(map(visit, arguments))
    if all(new is old for new, old in zip(visited, arguments, strict=True)):
        return annotation
    if origin in (Union, types.UnionType):
        return Union[visited]  # noqa: UP007 - there is no operator for a tuple of types
    return origin[visited]


def unwrap_alias(annotation: Any) -> Any:
    """What a `NewType` or a `type` statement stands for; itself if it is neither."""
    if isinstance(annotation, typing.NewType):
        return unwrap_alias(annotation.__supertype__)
    if _is_type_alias(annotation):
        return unwrap_alias(annotation.__value__)
    if _is_type_alias(origin := get_origin(annotation)):
        return unwrap_alias(origin.__value__[get_args(annotation)])
    return annotation


def _is_type_alias(annotation: Any) -> bool:
    return type(annotation).__name__ == "TypeAliasType"  # in `typing` from Python 3.12


def hints(of: Any) -> dict[str, Any]:
    """The type hints of a class or function. Raises NameError for a name that is not defined."""
    return typing.get_type_hints(of, include_extras=True)


def members(of: Any) -> dict[str, Any]:
    """The types of a TypedDict's keys or a dataclass's fields.

    Raises NameError for a name that is not defined.
    """
    types_of = hints(of)
    if dataclasses.is_dataclass(of):
        return {field.name: types_of[field.name] for field in dataclasses.fields(of)}
    return {name: _unqualified(hint) for name, hint in types_of.items()}


def _unqualified(hint: Any) -> Any:
    while get_origin(hint) in _QUALIFIERS:
        (hint,) = get_args(hint)
    return hint


def is_plain_dataclass(annotation: type) -> bool:
    """True for a dataclass whose fields, all of them, are what its instances are made from."""
    return (
        dataclasses.is_dataclass(annotation)
        and not any(name.startswith("__pydantic") for name in vars(annotation))
        and all(field.init for field in dataclasses.fields(annotation))
        and not any(isinstance(h, dataclasses.InitVar) for h in hints(annotation).values())
    )


def is_typeddict(annotation: Any) -> bool:
    """True for a TypedDict, also for one of typing_extensions, which `typing` does not know."""
    return (
        isinstance(annotation, type)
        and issubclass(annotation, dict)
        and hasattr(annotation, "__required_keys__")
    )


def is_namedtuple(annotation: Any) -> bool:
    return (
        isinstance(annotation, type)
        and issubclass(annotation, tuple)
        and hasattr(annotation, "_fields")
    )
