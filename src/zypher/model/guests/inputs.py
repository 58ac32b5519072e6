"""The inputs of a predictor that was written for Cog: what `Input()` and the types say of them."""

import copy
import enum
import io
import os
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from zypher.errors import ModelLoadError
from zypher.model.annotations import map_arguments
from zypher.model.guests import files

# What the words of Input() are for.
_WORDS: tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...] = (
    (("ge", "le"), (int, float), "numbers"),
    (("min_length", "max_length", "regex"), (str,), "text"),
    (("choices",), (int, str), "text and whole numbers"),
)


def is_cogs(kind: Any, *names: str) -> bool:
    """True for a class of Cog's, installed or not; with `names`, only for one of those."""
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    return package == "cog" and (not names or getattr(kind, "__name__", "") in names)


def is_file(kind: Any) -> bool:
    """True for what is a data URL in the JSON: `cog.File`, `cog.Path` and any other path."""
    is_path = kind is os.PathLike or (isinstance(kind, type) and issubclass(kind, os.PathLike))
    return is_path or is_cogs(kind, "File")


def kinds_of(hint: Any) -> list[Any]:
    """The types that `hint` is made of, and what puts them together."""
    inner = [kind for part in get_args(hint) for kind in kinds_of(part)]
    return [get_origin(hint) or hint, *inner]


def map_type(hint: Any, visit: Callable[[Any], Any]) -> Any:
    """`hint` with `visit` applied to the types in it that are not made of others, as lists are."""
    if get_origin(hint) in (None, dict, Literal):
        return visit(hint)
    return map_arguments(hint, lambda part: map_type(part, visit))


class CogInput:
    """One parameter of a predictor.

    `annotation` says what its JSON must be; `default` is the value of one that is absent, or
    `Parameter.empty`. Raises ModelLoadError for what the type and `Input()` do not agree about.
    """

    def __init__(self, parameter: Parameter, hint: Any, subject: str) -> None:
        self.name = parameter.name
        self._hint = hint
        self._subject = f"'{self.name}' of {subject}"
        self._info = self._read(parameter.default)
        self._is_optional = NoneType in get_args(hint)
        self._require_kinds()
        self.default = self._default(parameter)
        self.annotation = self._annotation()
        self._require_valid_default()

    def received(self, values: dict[str, Any], folder: str) -> Any:
        """What the predictor gets for these values of the JSON; files are made in `folder`.

        Raises InvalidInput for a file that cannot be read.
        """
        value = values[self.name] if self.name in values else copy.deepcopy(self.default)
        return self._real(self._hint, value, folder)

    def _read(self, default: Any) -> Any:
        """What `Input()` made; None where it was not called."""
        if isinstance(default, FieldInfo):
            raise ModelLoadError(
                f"{self._subject} has the Input() of an old cog. Install a newer one, or none: "
                "Zypher then has what stands in for it."
            )
        return default if is_cogs(type(default), "FieldInfo") else None

    def _says(self, word: str) -> Any:
        return getattr(self._info, word, None)

    def _require_kinds(self) -> None:
        kinds = kinds_of(self._hint)
        for words, fitting, noun in _WORDS:
            for word in words:
                if self._says(word) is not None and not any(kind in fitting for kind in kinds):
                    raise ModelLoadError(
                        f"{self._subject} has Input({word}=...), which is for {noun} alone."
                    )

    def _default(self, parameter: Parameter) -> Any:
        if self._info is None:
            default = parameter.default
        elif getattr(self._info, "is_required", self._info.default is None):
            default = Parameter.empty
        else:
            default = self._info.default
        if default is Parameter.empty and self._is_optional:
            return None
        return default.value if isinstance(default, enum.Enum) else default

    def _annotation(self) -> Any:
        hint = map_type(self._hint, self._in_json)
        if self.default is None and not self._is_optional:
            hint = hint | None
        if self._says("deprecated"):
            hint = Annotated[hint, pydantic.Field(json_schema_extra={"deprecated": True})]
        return Annotated[hint, pydantic.Field(description=self._description())]

    def _description(self) -> str | None:
        text: str | None = self._says("description")
        if any(map(is_file, kinds_of(self._hint))):
            return f"{text or 'A file'} (a data URL; others are not fetched)"
        return text

    def _in_json(self, kind: Any) -> Any:
        """The type of the JSON for one of the types that the hint is made of."""
        if is_file(kind):
            # What a client names elsewhere is not fetched: a server that does so reaches, for its
            # client, what only the server can reach.
            return Annotated[
                str, pydantic.Field(pattern="^data:", json_schema_extra={"format": "uri"})
            ]
        if is_cogs(kind, "Secret"):
            return Annotated[
                str, pydantic.Field(json_schema_extra={"format": "password", "writeOnly": True})
            ]
        if kind in (int, str) and (choices := self._says("choices")) is not None:
            return Literal[tuple(c.value if isinstance(c, enum.Enum) else c for c in choices)]
        if kind in (int, float):
            return Annotated[kind, pydantic.Field(ge=self._says("ge"), le=self._says("le"))]
        if kind is str:
            regex = self._says("regex")
            return Annotated[
                str,
                pydantic.Field(
                    min_length=self._says("min_length"),
                    max_length=self._says("max_length"),
                    pattern=regex and f"^(?:{regex})",  # Cog looks at the beginning
                ),
            ]
        return kind

    def _require_valid_default(self) -> None:
        if self.default is Parameter.empty:
            return
        try:
            adapter = pydantic.TypeAdapter(self.annotation)
        except Exception:
            return  # no schema can be made of it, which is told where signatures are read
        try:
            self.default = adapter.validate_python(self.default)
        except pydantic.ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ModelLoadError(
                f"{self._subject} has the default {self.default!r}, which its type and Input() "
                f"do not allow: {reason}."
            ) from None

    def _real(self, hint: Any, value: Any, folder: str) -> Any:
        """A value of the JSON as the type that the predictor knows."""
        if value is None:
            return None
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._real(arguments[0], value, folder)
        if origin in (Union, UnionType):
            kinds = [kind for kind in arguments if kind is not NoneType]
            return self._real(kinds[0], value, folder) if len(kinds) == 1 else value
        if origin is list:
            return [self._real(arguments[0], item, folder) for item in value]
        if is_cogs(hint, "Secret"):
            return hint(value)
        if is_cogs(hint, "File"):
            return io.BytesIO(files.received(value, self.name)[0])
        if is_file(hint):
            path = files.written(*files.received(value, self.name), folder)
            return Path(path) if hint is os.PathLike else hint(path)
        return value
