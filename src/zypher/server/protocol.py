"""One connection: HTTP/1.1 as RFC 9112 has it, with bounds, and refusals that are problems."""

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from zypher.errors import HeaderTooLarge, MalformedRequest, PredictionError, URITooLong
from zypher.server.direct_way import DirectWay, PlainCall, PlainPoll
from zypher.server.exchange import Exchange
from zypher.server.framing import require_one_meaning
from zypher.server.gate import CALLER, Caller
from zypher.server.problems import problem_of
from zypher.server.writing import OneWrite, head_of, lines

# What is read of one request before its body, in bytes and in fields.
MOST_HEAD = 32_768
MOST_FIELDS = 100

# So many requests may wait on one connection for the answer to the one before them.
MOST_PIPELINED = 16

# How much of what a client still sends is thrown away, so that it gets to read why.
_MOST_DISCARDED = 4_000_000

_CONTINUE = (b"expect", b"100-continue")

# How long one who has just come may take, once the server ends, to ask for something. In seconds.
_FIRST_BYTES = 0.5


class Protocol(HttpToolsProtocol):
    """One connection. What is malformed, ambiguous or too much is refused, and the last of it.

    `choose` says once, at its beginning, which application answers, and by which direct way it can
    be called.
    """

    # Ten thousand may wait at once. Python keeps the attributes of an object at little cost if they
    # are no more than thirty, and uvicorn has nearly so many.
    __slots__ = (
        *("_body", "_call", "_choose", "_direct_way", "_exchange", "_goes_usual_way", "_let_in"),
        *("_field", "_has_come_on", "_head", "_is_deaf", "_is_in_head", "_is_whole", "_running"),
        *("_taken", "_writer", "deadline", "is_over", "made", "received"),
    )

    cycle: Any  # of uvicorn's, or the exchange

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        choose: Callable[[], tuple[Any, DirectWay | None]],
    ) -> None:
        super().__init__(config, state, app_state)
        self._choose = choose
        self.made = self.loop.time()
        self.received = 0  # bytes
        self.is_over = False  # its last answer is sent, and what still comes is thrown away
        self.deadline: float | None = None  # of its client, which `Connections` keeps
        self._running: RequestResponseCycle | None = None
        self._direct_way: DirectWay | None = None
        self._exchange: Exchange | None = None
        # Of the request that is under way, as long as it may be a plain call.
        self._call: PlainCall | PlainPoll | None = None
        self._body = b""
        self._taken: PlainCall | PlainPoll | None = None  # directly, by what was read last
        self._goes_usual_way = False
        self._let_in: Caller | None = None  # whose request was, before it turned to that way
        self._is_deaf = False  # what comes is no request any more
        self._is_in_head = False
        self._is_whole = True  # no request is under way
        self._head = 0  # bytes of the fields that are there
        self._field = 0  # bytes of the one that is not
        self._has_come_on = False  # by what came last, a field or the body

    # What its client is to do.

    @property
    def sent(self) -> int:
        """The bytes that the kernel has taken."""
        return self._writer.written - self.unsent

    @property
    def written(self) -> int:
        """The bytes that there were to be sent."""
        return self._writer.written

    @property
    def unsent(self) -> int:
        """The bytes that it has not taken, because the client does not read them."""
        return int(self.transport.get_write_buffer_size())

    @property
    def is_answering(self) -> bool:
        """True while a request is not answered to its end."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_receiving(self) -> bool:
        """True while a request is not there to its end, and more of it is wanted."""
        return not self._is_whole and not self.flow.read_paused

    @property
    def is_unfit(self) -> bool:
        """True while what comes is the rest of a request that is answered already."""
        return not self._is_whole and not self._is_in_head and not self.is_answering

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._writer = OneWrite(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._writer))
        self.flow = Flow(self.transport)
        self.app, self._direct_way = self._choose()
        if self._direct_way is not None:
            answered = self.on_response_complete
            self._exchange = Exchange(self._direct_way, self._writer, self.server_state, answered)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # The newest request knows that now; another one may be answered, and those between never.
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        if self._exchange is not None:
            self._exchange.hang_up()
            if self.cycle is self._exchange:
                self.cycle = None
            self._exchange = None  # it holds on to this connection, and what is unsent there

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._is_deaf:
            self._throw_away()
            return
        is_beginning = self._is_whole
        if is_beginning and self._is_known(data):
            return
        self._has_come_on = False
        self._taken = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # what follows is of another protocol
            self._is_deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self.refuse(_reason(error))
        else:
            self._note_progress(data, is_beginning=is_beginning)

    def shutdown(self) -> None:
        if not self.cycle:  # a new connection: what it was made for is on its way
            self.loop.call_later(_FIRST_BYTES, super().shutdown)
        else:
            super().shutdown()

    # From the parser. It stops at what is raised.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.deadline = None
        self._is_whole = False
        self._is_in_head = True
        self._head = self._field = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MOST_HEAD:
            raise URITooLong(f"The request's path is longer than {MOST_HEAD} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field = 0
        self._head += len(name) + len(value)
        if self._head > MOST_HEAD:
            raise _too_large()
        if not self._is_in_head:
            self._has_come_on = True
            return  # a trailer, which nobody asks for
        self.headers.append((name.lower(), value))
        if len(self.headers) > MOST_FIELDS:
            raise HeaderTooLarge(f"The request has more than {MOST_FIELDS} header fields.")

    def on_body(self, body: bytes) -> None:
        self._has_come_on = True
        self._field = 0
        if self._call is None:
            super().on_body(body)
        else:
            self._body += body

    def on_headers_complete(self) -> None:
        self._has_come_on = True
        if len(self.pipeline) >= MOST_PIPELINED:
            raise MalformedRequest("Too many requests were sent before an answer was there.")
        version = self.parser.get_http_version()
        self.url = require_one_meaning(version, self.url, self.headers)
        self._call = self._plain_call()
        if self._call is None:
            self._begin_cycle()
        self._is_in_head = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        self._is_whole = True
        self.deadline = None
        if self._call is not None:
            if self._is_taken_in(self._call, self._body):
                self._taken, self._call, self._body = self._call, None, b""
                return
            self._turn_to_usual_way()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request. No timer is set: `Connections` ends those that are idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def refuse(self, error: PredictionError) -> None:
        """Take nothing more in, and say why, if it is this request's turn to be answered.

        Else those before it are answered, as the last ones.
        """
        self._is_deaf = True
        is_in_body = not self._is_whole and not self._is_in_head
        if is_in_body and (self.pipeline or self.cycle.response_started):
            self.transport.abort()
        elif is_in_body or not self.is_answering:
            self._end_with(error)
        else:
            self.cycle.keep_alive = False

    # The direct way, and the usual one.

    def _is_known(self, data: bytes) -> bool:
        """True if this is a call whose head is known, and it was taken in."""
        if self._direct_way is None or self.is_answering or self.flow.write_paused:
            return False
        known = self._direct_way.known(data)
        return known is not None and self._is_taken_in(*known)

    def _plain_call(self) -> PlainCall | PlainPoll | None:
        """The call that this may be, once its body is there."""
        way, parser = self._direct_way, self.parser
        if way is None or self._goes_usual_way or self.is_answering or self.flow.write_paused:
            return None
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return None
        match parser.get_method():
            case b"POST":
                return way.plain_call(self.url, self.headers)
            case b"GET":
                return way.plain_poll(self.url, self.headers)
        return None

    def _is_taken_in(self, call: PlainCall | PlainPoll, body: bytes) -> bool:
        """True if a call was taken in directly."""
        assert self._direct_way is not None
        assert self._exchange is not None
        if self._direct_way.lets_in(call):
            if self._exchange.begin(call, body):
                self.cycle = self._exchange
                self.deadline = None
                return True
            self._let_in = call.caller
        self._goes_usual_way = True
        return False

    def _turn_to_usual_way(self) -> None:
        """Begin to answer what was thought to be a plain call."""
        body, self._call, self._body = self._body, None, b""
        self._begin_cycle()
        super().on_body(body)

    def _begin_cycle(self) -> None:
        """Have the application answer."""
        target, fields = self.url, self.headers
        super().on_message_begin()  # makes the scope
        self.url = target
        self.headers += fields
        self.expect_100_continue = _CONTINUE in [(name, value.lower()) for name, value in fields]
        if self._let_in is not None:
            cast("dict[str, Any]", self.scope)[CALLER] = self._let_in
        self._goes_usual_way, self._let_in = False, None
        super().on_headers_complete()
        if self._exchange is not None and not self._exchange.response_complete:
            self.flow.resume_reading()  # uvicorn would not hear of a hanging up behind this one

    # Inside.

    def _note_progress(self, data: bytes, *, is_beginning: bool) -> None:
        """This was read, at the beginning of a request or further on in it."""
        if self._call is not None:
            self._turn_to_usual_way()  # the rest of its body has yet to come
        elif self._taken is not None and self._direct_way is not None and is_beginning:
            self._direct_way.learn(data, self._taken)
        if not self._is_whole and not self._has_come_on:  # a field, or trailer, can be endless
            self._field += len(data)
            if self._field > MOST_HEAD:
                self.refuse(_too_large())

    def _end_with(self, error: PredictionError) -> None:
        """Answer, and close once the client has read that, or had the time to."""
        if not self._is_whole and not self._is_in_head:
            self.cycle.disconnected = True  # its endpoint waits for the rest of the body
            self.cycle.message_event.set()
        response = problem_of(error)
        common = lines(self.server_state.default_headers)
        self._writer.write_answer(head_of(response, common, closes=True), bytes(response.body))
        self.transport.write_eof()  # to close now could destroy the answer on its way
        self.is_over = True
        self.deadline = None
        self.received = 0

    def _throw_away(self) -> None:
        if self.is_over and self.received > _MOST_DISCARDED:
            self.transport.abort()


class Flow(FlowControl):
    """When to write and to read on. Few ever have to wait: the event for that is made then."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False

    @cached_property
    def _is_writable_event(self) -> asyncio.Event:  # type: ignore[override]
        event = asyncio.Event()
        if not self.write_paused:
            event.set()
        return event


def _reason(error: httptools.HttpParserError) -> PredictionError:
    """What was raised here while the parser called, or what it found itself."""
    if isinstance(error.__context__, PredictionError):
        return error.__context__
    return MalformedRequest("The request is not HTTP/1.1 as it has to be (RFC 9112).")


def _too_large() -> PredictionError:
    return HeaderTooLarge(f"The request's header is larger than {MOST_HEAD} bytes.")
