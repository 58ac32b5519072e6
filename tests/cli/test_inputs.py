"""What a word of the command line is, for each kind of schema."""

import re
from pathlib import Path
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
def whole(value: int) -> None: ...
def flag(value: bool) -> None: ...
def numbers(value: list[int]) -> None: ...
def number_or_table(value: float | dict[str, int]) -> None: ...


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
    with pytest.raises(ConfigurationError, match=r"takes a JSON object, and .* is none"):
        read(table, value)


@pytest.mark.parametrize(
    ("model", "word", "sentence"),
    [
        (whole, "one", "takes a whole number, and 'one' is none."),
        (maybe_number, "NaN", "takes a number, and 'NaN' is none."),
        (flag, "yes", "takes true or false, and 'yes' is none."),
        (numbers, "[1,\n2", "takes a JSON array, and '[1,\\n2' is none from line 2, column 2 on."),
        (
            table,
            '{"a": NaN}',
            """takes a JSON object, and '{"a": NaN}' is none: NaN is not JSON.""",
        ),
        (numbers, "[" * 100_000, "is none: it is nested too deeply."),
        (number_or_table, "x", "takes JSON, and 'x' is none."),
        (several, "options=x", "The parameter options takes a JSON object, and 'x' is none."),
    ],
)
def test_a_sentence_says_what_the_type_asks_for(model: Any, word: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        read(model, word)


def test_a_file_for_what_has_to_be_a_data_url_is_one(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all")
    schema = {"properties": {"document": {"type": "string", "pattern": "^data:"}}}
    document = read_input([f"document=@{tmp_path}/letter.txt"], "predictor", schema)
    assert document == {"document": "data:text/plain;base64,RGVhciBhbGw="}
