"""What is sent: what a caller gives, as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy
import pytest
from pydantic import BaseModel

from zypher.client.requests import encoded
from zypher.errors import InvalidInput


@dataclass
class Point:
    x: float


class Review(BaseModel):
    at: datetime


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, "a", None], b'[1, "a", null]'),
        ({"point": Point(1.5)}, b'{"point": {"x": 1.5}}'),
        (Review(at=datetime(2026, 1, 2, tzinfo=UTC)), b'{"at": "2026-01-02T00:00:00Z"}'),
        ({"image": numpy.array([[1, 2]], dtype="uint8")}, b'{"image": [[1, 2]]}'),
        (numpy.float32(0.5), b"0.5"),
        (b"hi", b'"aGk="'),
    ],
)
def test_an_input_is_sent_as_what_json_has_for_it(value: Any, text: bytes) -> None:
    assert encoded(value) == text


@pytest.mark.parametrize("value", [float("nan"), numpy.array([numpy.inf]), object()])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent as JSON"):
        encoded(value)
