"""Events as they happen: server-sent events (text/event-stream) about one prediction.

What a run tells has the id `attempt-sequence`, and a client that comes back with it as
`Last-Event-ID` goes on behind it. Of the events `status` only the last has an id, which stands
behind all of the last attempt: `attempt + 1`-`0`. A client that comes back with that has seen
the end.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress

import msgspec
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from zypher.brokers.base import News, Seen
from zypher.errors import Unavailable
from zypher.prediction import Prediction
from zypher.server.answers import PRIVATE
from zypher.server.connection import while_connected
from zypher.server.problems import problem_of
from zypher.server.quota import Quota
from zypher.server.records import full
from zypher.server.state import Phase, ServerState

# Seconds without news after which a comment is sent, so that proxies keep the connection.
HEARTBEAT = 15.0

# The pause before the broker is asked again when it cannot tell.
_TROUBLE = 1.0

_EVENT_ID = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)
_HEADERS = PRIVATE | {"X-Accel-Buffering": "no"}


def last_seen(headers: Headers) -> Seen:
    """How far the client has followed already, by its `Last-Event-ID`; not at all without one."""
    match = _EVENT_ID.fullmatch(headers.get("last-event-id", ""))
    return Seen(None, int(match[1]), int(match[2])) if match else Seen()


def has_seen_the_end(seen: Seen, record: Prediction) -> bool:
    """True for a client that comes back although it was told how the prediction ended."""
    return record.status.terminal and seen.attempt > record.attempt


async def _nothing() -> None:
    """What there is to do at the end of most streams."""


class EventStream(EventSourceResponse):
    """An answer that goes on until the prediction has ended, or the caller hangs up.

    It is sent as fast as it is read: what is not read yet stays with the broker, which is bounded.
    """

    def __init__(
        self,
        quota: Quota,
        events: AsyncGenerator[bytes],
        *,
        delivered: Callable[[], Awaitable[None]] = _nothing,
        hung_up: Callable[[], Awaitable[None]] = _nothing,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(events, headers=_HEADERS | (headers or {}))
        self._quota = quota
        self._events = events
        self._delivered = delivered
        self._hung_up = hung_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._quota.require_room()  # others may have come since it was asked for
        except Unavailable as error:
            await self._hung_up()
            await problem_of(error)(scope, receive, send)
            return
        try:
            async with aclosing(self._events):
                with self._quota.one_more(), while_connected(receive):
                    await self.stream_response(send)
        except (ClientDisconnect, OSError):
            with suppress(Unavailable):  # its run goes on, then, for nobody
                await self._hung_up()
        else:
            await self._delivered()


async def follow(
    state: ServerState, news: News, seen: Seen, heartbeat: float = HEARTBEAT
) -> AsyncGenerator[bytes]:
    """The events of a prediction, beginning with these news to somebody who has seen so much.

    Ends with the prediction, or when it is forgotten or the server stops. While the broker is
    away it goes on without news.
    """
    id = news.record.id
    while True:
        for event in _told(news, seen):
            yield event
        if news.record.status.terminal:
            return
        seen = _seen_with(news, seen)
        try:
            more = await state.broker.watch(id, seen, timeout=heartbeat)
        except Unavailable:
            if state.phase is Phase.CLOSED:
                return
            yield KEEPALIVE_COMMENT
            await asyncio.sleep(_TROUBLE)
            continue
        if more is None:
            return
        news = more
        if not news.events and _is_as_seen(news.record, seen):
            yield KEEPALIVE_COMMENT


def _told(news: News, seen: Seen) -> Iterator[bytes]:
    """What is sent of these news, in order."""
    record, attempt = news.record, news.record.attempt
    if news.has_gap or (seen.attempt and seen.attempt != attempt):
        yield _event("reset", msgspec.json.encode({"attempt": attempt}))
    if not record.status.terminal and not _is_as_seen(record, seen):
        status = {"status": record.status, "attempt": attempt}
        yield _event("status", msgspec.json.encode(status))
    for sequence, event in news.events:
        yield _event(event.type, event.data, id=f"{attempt}-{sequence}")
    if record.status.terminal:
        yield _event("status", full(record), id=f"{attempt + 1}-0")


def _seen_with(news: News, seen: Seen) -> Seen:
    """How much somebody has seen once they were told these news."""
    record = news.record
    goes_on = seen.attempt == record.attempt and not news.has_gap
    sequence = news.events[-1][0] if news.events else seen.sequence if goes_on else 0
    return Seen(record.status, record.attempt, sequence)


def _is_as_seen(record: Prediction, seen: Seen) -> bool:
    return (record.status, record.attempt) == (seen.status, seen.attempt)


def _event(type: str, data: bytes, id: str | None = None) -> bytes:
    return format_sse_event(event=type, data_str=data.decode(), id=id)
