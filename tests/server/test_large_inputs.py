"""Large inputs are read at little cost, and mean what small ones do."""

import gc
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from zypher.brokers.base import ModelInfo
from zypher.errors import InvalidInput, MalformedJSON, PredictionError
from zypher.server.door import MAX_DEPTH, Door
from zypher.server.nesting import is_deeper, opens_more

ANYTHING = ModelInfo(name="m", description="", input_schema={})
NUMBERS = b"[" + b",".join([b"0.5"] * 10_000) + b"]"
OBJECT = b'{"a": %b, "b": {}}' % NUMBERS


@pytest.fixture
def door() -> Door:
    return Door(1_000_000)


@pytest.mark.parametrize("input", [NUMBERS, OBJECT, b'["]}", %b]' % NUMBERS])
@pytest.mark.parametrize("frame", [b'{"input":%b}', b'\r\n{ "input" :\t%b\n} \n'])
def test_an_input_by_itself_is_found_in_its_body(door: Door, input: bytes, frame: bytes) -> None:
    asked, text = door.admit(frame % input, ANYTHING)
    assert text == bytes(asked.input) == input
    assert asked.asked == {}


@pytest.mark.parametrize(
    "frame",
    [
        b'{"input":%b,"retries":3}',
        b'{"retries":3,"input":%b}',
        b'{"input":%b,"retries":3 }\n',
        b'{"inp\\u0075t":%b,"retries":3}',
    ],
)
def test_options_are_found_beside_an_input(door: Door, frame: bytes) -> None:
    asked, text = door.admit(frame % NUMBERS, ANYTHING)
    assert text == NUMBERS
    assert asked.asked == {"retries": 3}


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (b'{"input":%b]}', MalformedJSON),
        (b'{"input":%b}}', MalformedJSON),
        (b'{"input":%b', MalformedJSON),
        (b'{"input":%b}\x0b', MalformedJSON),
        (b'{"input":\x0b%b}', MalformedJSON),
        (b'{"input":[%b,NaN]}', MalformedJSON),
        (b'{"input":["\xff",%b]}', MalformedJSON),
        (b'{"input":[1e400,%b]}', InvalidInput),
        (b'{"input":%b,"more":[]}', InvalidInput),
        (b'{"inputs":%b}', InvalidInput),
        (b"[%b]", InvalidInput),
        (b'{"input":[%b,' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]}", InvalidInput),
        (b'{"input":[%b,' + b"[" * 5000 + b"]" * 5000 + b"]}", InvalidInput),
    ],
)
def test_what_is_no_request_is_refused_however_large(
    door: Door, frame: bytes, error: type[PredictionError]
) -> None:
    with pytest.raises(error):
        door.admit(frame % NUMBERS, ANYTHING)


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        (1, 0),
        ([], 1),
        ([[0.5] * 100] * 100, 2),
        ([1, {"a": 1, "b": [{}]}], 4),
        ({"a": {"b": {"c": None}}, "d": [1]}, 3),
        (["[[[["], 1),
    ],
)
def test_how_deep_a_value_is_nested_is_known(value: Any, depth: int) -> None:
    assert not is_deeper(value, depth)
    assert depth == 0 or is_deeper(value, depth - 1)
    assert not opens_more(msgspec.json.encode(value), 10_000)


def test_a_text_in_which_few_lists_and_objects_begin_is_told_from_others() -> None:
    assert not opens_more(b'[{"a": [1]}, {}]', 4)
    assert opens_more(b'[{"a": [1]}, {}]', 3)
    assert opens_more(b"[", 0)
    assert not opens_more(b"1", 0)


LISTS = b"[" + b",".join([b"[1]"] * 50_000) + b"]"


@pytest.mark.parametrize("body", [LISTS, LISTS + b',"retries":3', LISTS + b',"no":3', LISTS + b"]"])
@pytest.mark.parametrize("is_enabled", [True, False])
def test_no_garbage_is_looked_for_while_a_large_body_is_read(
    door: Door, body: bytes, is_enabled: bool
) -> None:
    looked: list[str] = []

    def note(phase: str, _: object) -> None:
        looked.append(phase)

    gc.collect()
    gc.callbacks.append(note)
    try:
        if not is_enabled:
            gc.disable()
        with suppress(PredictionError):
            door.admit(b'{"input":%b}' % body, ANYTHING)
        assert looked.count("start") <= 1  # once it has been read
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
        gc.callbacks.remove(note)
