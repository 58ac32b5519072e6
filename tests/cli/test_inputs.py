"""What a word of the command line is, for each kind of schema."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from zypher.cli.inputs import read_input
from zypher.errors import ConfigurationError
from zypher.model.loading import model_of


class Options(BaseModel):
    """A parameter that is a model of its own."""

    mode: Literal["fast", "exact"] = "fast"
    tags: list[str] = []


def text(value: str) -> None: ...
def long_text(value: Annotated[str, Field(min_length=3)]) -> None: ...
def maybe_text(value: str | None) -> None: ...
def word(value: Literal["1", "2"]) -> None: ...
def number(value: Literal[1, 2]) -> None: ...
def mixed(value: int | str) -> None: ...
def maybe_number(value: float | None) -> None: ...
def anything(value: Any) -> None: ...
def raw(value: bytes | None) -> None: ...
def table(value: dict[str, int]) -> None: ...
def options(value: Options) -> None: ...
def several(options: Options, label: str | None = None, data: bytes = b"") -> None: ...
def nothing() -> None: ...


def read(model: Any, *words: str) -> Any:
    schema = model_of(model, f"models:{model.__name__}").signature.input_schema
    return read_input(words, model.__name__, schema)


@pytest.mark.parametrize(
    ("model", "word", "value"),
    [
        (text, "1", "1"),
        (long_text, "null", "null"),
        (maybe_text, "null", "null"),
        (maybe_text, "1", "1"),
        (word, "1", "1"),
        (number, "1", 1),
        (mixed, "1", 1),
        (mixed, '"1"', "1"),
        (mixed, "one", "one"),
        (maybe_number, "null", None),
        (maybe_number, "1e3", 1000.0),
        (anything, "[1]", [1]),
        (anything, "[1", "[1"),
        (raw, "aGk=", "aGk="),
        (table, '{"a": 1}', {"a": 1}),
        (options, '{"mode": "exact"}', {"mode": "exact"}),
    ],
)
def test_one_word_is_read_as_the_type_asks(model: Any, word: str, value: object) -> None:
    assert read(model, word) == value


def test_parameters_are_read_each_by_its_own_type() -> None:
    assert read(options, "mode=exact", 'tags=["a"]') == {"mode": "exact", "tags": ["a"]}
    words = ['options={"mode": "exact"}', "label=a=b", "data=aGk="]
    assert read(several, *words) == {"options": {"mode": "exact"}, "label": "a=b", "data": "aGk="}
    assert read(nothing) == {}


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="takes JSON"):
        read(table, value)
