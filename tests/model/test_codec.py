import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from collections import deque, namedtuple
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zypher.errors import InvalidOutput
from zypher.model.codec import MAX_DEPTH, encode_result


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


@dataclasses.dataclass
class Score:
    label: str
    scores: Any


class Tagged(msgspec.Struct, tag="t", rename="upper"):
    a: int


class Box(pydantic.BaseModel):
    scores: list[float]
    link: pydantic.HttpUrl | None = None


Point = namedtuple("Point", "x y")

INTEGERS = st.integers(-(2**63), 2**63)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(JSON)
def test_round_trip(value: Any) -> None:
    """Whatever JSON can say comes back as it was."""
    assert json.loads(encode_result(value)) == value


def numbers(value: Any) -> list[Any]:
    """All numbers within nested lists."""
    if not isinstance(value, list):
        return [] if value is None else [value]
    return [number for item in value for number in numbers(item)]


@given(st.recursive(st.none() | INTEGERS | st.floats(), st.lists, max_leaves=20))
def test_a_number_that_json_does_not_have_is_refused_wherever_it_is(value: Any) -> None:
    if all(map(math.isfinite, numbers(value))):
        assert json.loads(encode_result(value)) == value
    else:
        with pytest.raises(InvalidOutput, match=r"a float (NaN|-?Infinity) at result"):
            encode_result(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2.5, "ü"), [1, 2.5, "ü"]),
        ({3}, [3]),
        (deque([1]), [1]),
        (Point(1, 2), [1, 2]),
        ({1: "a", Color.RED: "b", "c": None}, {"1": "a", "red": "b", "c": None}),
        (Score("a", [Color.RED, Size.BIG]), {"label": "a", "scores": ["red", 3]}),
        (Tagged(1), {"A": 1, "type": "t"}),
        (
            Box(scores=[1.5], link=pydantic.HttpUrl("http://a.example/")),
            {"scores": [1.5], "link": "http://a.example/"},
        ),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00Z"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (decimal.Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
        ([bytearray(b"hi")], ["data:application/octet-stream;base64,aGk="]),
        (b"%PDF-1.7", "data:application/pdf;base64,JVBERi0xLjc="),
        (memoryview(b"RIFF....WEBP"), "data:image/webp;base64,UklGRi4uLi5XRUJQ"),
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), [[1, 2], [3, 4]]),
        (np.array([0.5, 1], dtype=np.float16), [0.5, 1.0]),
        (np.array(["a", None], dtype=object), ["a", None]),
        ({"p": np.float32(0.5), "n": np.int64(3), "b": np.True_}, {"p": 0.5, "n": 3, "b": True}),
        (np.float64(0.25), 0.25),
        (np.longdouble(0.25), 0.25),
        (np.array(2.0), 2.0),
        (2**70, 2**70),
        ([1e308] * 3, [1e308] * 3),  # whose sum no float can hold
    ],
)
def test_python_values(value: Any, expected: Any) -> None:
    """Values of Python's and NumPy's usual types have their natural JSON form."""
    assert json.loads(encode_result(value)) == expected


def test_bytes_are_a_data_url() -> None:
    """The bytes in a data URL are those that the model returned."""
    header, _, data = json.loads(encode_result(b"\x00\xff")).partition(",")
    assert header == "data:application/octet-stream;base64"
    assert base64.b64decode(data) == b"\x00\xff"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (math.nan, "a float NaN at result,"),
        ([1.0, -math.inf], "a float -Infinity at result[1],"),
        ([1.0, msgspec.Raw(b"")], "an object of type Raw at result[1],"),
        ([math.inf, -math.inf], "a float Infinity at result[0],"),
        (Score("a", [1, 2, 3, math.nan]), "a float NaN at result.scores[3],"),
        ({"a b": {"c": (math.inf,)}}, "a float Infinity at result['a b'].c[0],"),
        (Box(scores=[math.nan]), "a float NaN at result.scores[0],"),
        ({"x": np.array([[0.0, 1.0], [2.0, np.nan]])}, "a float NaN at result.x[1][1],"),
        (np.float32("nan"), "a float NaN at result,"),
        (np.array([1j]), "a NumPy value of dtype complex128 at result,"),
        ([None, object()], "an object of type object at result[1],"),
        ({(1, 2): 3}, "a dict with a key of type tuple at result,"),
        ({"a": {None: 1}}, "a dict with a key of type NoneType at result.a,"),
        ({1.5: 1}, "a dict with a key of type float at result,"),
        ({"t": ["ok", "\ud800"]}, "text with a lone surrogate at result.t[1],"),
    ],
)
def test_refusals(value: Any, sentence: str) -> None:
    """What JSON cannot carry is refused with its place, never made a null."""
    with pytest.raises(InvalidOutput) as caught:
        encode_result(value)
    assert str(caught.value) == f"The model returned {sentence} which JSON cannot carry."


def test_circular() -> None:
    """A value that contains itself is refused, as is one that is nested too deep."""
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = {"a": deep}
    for value in (circle, {"a": deep}):
        with pytest.raises(InvalidOutput, match="contains itself or is nested more than"):
            encode_result(value)
    assert encode_result(deep).count(b"{") == MAX_DEPTH + 1
