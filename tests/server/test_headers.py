"""Headers of a prediction request."""

import pytest
from starlette.datastructures import Headers

from zypher.errors import NotAcceptable
from zypher.server.headers import prefers_events


def prefers(accept: str) -> bool:
    return prefers_events(Headers({"accept": accept}))


@pytest.mark.parametrize(
    "accept",
    [
        "text/event-stream",
        "TEXT/Event-Stream; charset=utf-8",
        "text/event-stream, */*",
        "text/*",
        "application/json;q=0.5, text/event-stream",
        "text/event-stream;q=0.1, application/json;q=0",
    ],
)
def test_events_are_what_is_named_or_liked_better(accept: str) -> None:
    assert prefers(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "application/*",
        "text/html, application/xhtml+xml, */*;q=0.8",
        "application/json, text/event-stream",
        "text/event-stream;q=0.5, application/json",
        "text/event-stream;q=0, */*",
        "nonsense",
        "application/json;q=high",
    ],
)
def test_what_is_left_open_is_json(accept: str) -> None:
    assert not prefers(accept)


@pytest.mark.parametrize(
    "accept", ["text/html", "application/xml, image/*", "*/*;q=0", "application/json;q=0, a/b"]
)
def test_neither_is_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        prefers(accept)
