"""Preferences: read as RFC 7240 says, in time that grows with their length and no faster."""

import pytest

from zypher.server.preferences import parse_prefer


@pytest.mark.parametrize(
    ("value", "preferences"),
    [
        ("respond-async", {"respond-async": ""}),
        ("respond-async, wait=10", {"respond-async": "", "wait": "10"}),
        ("Wait = 10 ; param=1 , Respond-Async;x", {"wait": "10", "respond-async": ""}),
        ('wait="5"', {"wait": "5"}),
        ("wait=1, wait=2", {"wait": "1"}),
        ('foo="a, respond-async; b", wait=3', {"foo": "a  respond-async  b", "wait": "3"}),
        ("x@respond-async", {"x@respond-async": ""}),
        (",, ,", {"": ""}),
    ],
)
def test_preferences_are_read_as_a_list(value: str, preferences: dict[str, str]) -> None:
    assert parse_prefer([value]) == preferences


@pytest.mark.timeout(5)
@pytest.mark.parametrize("part", [" ;b", "a;", " ", '"', '"\\', "a,", "=", ', "', "\t;"])
def test_no_header_takes_longer_than_its_length_explains(part: str) -> None:
    for value in (part * 200_000, "a" + part * 200_000 + "@"):
        parse_prefer([value])
