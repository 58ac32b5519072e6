"""One connection: HTTP/1.1 as RFC 9112 has it, with bounds, and refusals that are problems."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from zypher.errors import HeaderTooLarge, MalformedRequest, PredictionError, URITooLong
from zypher.server.problems import problem_of

# What is read of one request before its body, in bytes and in fields.
MOST_HEAD = 32_768
MOST_FIELDS = 100

# So many requests may wait on one connection for the answer to the one before them.
MOST_PIPELINED = 16

# How much of what a client still sends is thrown away, so that it gets to read why.
_MOST_DISCARDED = 4_000_000

# How long one who has just come may take, once the server ends, to ask for something. In seconds.
_FIRST_BYTES = 0.5

# What is larger, in bytes, is sent by itself: to copy it would cost more than a system call.
_SMALL = 65_536


class Protocol(HttpToolsProtocol):
    """One connection. What is malformed, ambiguous or too much is refused, and the last of it.

    `choose_app` says once, at its beginning, which application answers.
    """

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        choose_app: Callable[[], Any],
    ) -> None:
        super().__init__(config, state, app_state)
        self._choose_app = choose_app
        self.made = self.loop.time()
        self.received = 0  # bytes
        self.is_over = False  # its last answer is sent, and what still comes is thrown away
        self.deadline: float | None = None  # of its client, which `Connections` keeps
        self._running: RequestResponseCycle | None = None
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
        self.app = self._choose_app()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # The newest request knows that now; another one may be answered, and those between never.
        self.pipeline.clear()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._is_deaf:
            self._throw_away()
            return
        self._unset_keepalive_if_required()
        self._has_come_on = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # what follows is of another protocol
            self._is_deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self.refuse(_reason(error))
        else:
            if not self._is_whole and not self._has_come_on:  # a field, or trailer, can be endless
                self._field += len(data)
                if self._field > MOST_HEAD:
                    self.refuse(_too_large())

    def shutdown(self) -> None:
        if not self.cycle:  # a new connection: what it was made for is on its way
            self.loop.call_later(_FIRST_BYTES, super().shutdown)
        else:
            super().shutdown()

    # From the parser. It stops at what is raised.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.deadline = None
        self._is_whole = False
        self._is_in_head = True
        self._head = self._field = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MOST_HEAD:
            raise URITooLong(f"The request's path is longer than {MOST_HEAD} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:
            self._has_come_on = True
            self._field = 0
            return  # trailers, which nobody asks for
        super().on_header(name, value)
        self._field = 0
        self._head += len(name) + len(value)
        if self._head > MOST_HEAD:
            raise _too_large()
        if len(self.headers) > MOST_FIELDS:
            raise HeaderTooLarge(f"The request has more than {MOST_FIELDS} header fields.")

    def on_body(self, body: bytes) -> None:
        self._has_come_on = True
        self._field = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._has_come_on = True
        if len(self.pipeline) >= MOST_PIPELINED:
            raise MalformedRequest("Too many requests were sent before an answer was there.")
        self._require_one_meaning()
        super().on_headers_complete()
        self._is_in_head = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        self._is_whole = True
        self.deadline = None
        super().on_message_complete()

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

    # Inside.

    def _require_one_meaning(self) -> None:
        """Refuse what another reader of the same bytes could understand in another way.

        The parser itself refuses what is wrong in the framing of a message (RFC 9112 §11.2).
        """
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise MalformedRequest("This server speaks HTTP/1.1 alone.")
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
                raise MalformedRequest("Transfer-Encoding can be chunked alone, in HTTP/1.1.")
        if hosts > 1 or (not hosts and version == "1.1"):
            raise MalformedRequest("A request names one Host.")  # RFC 9112 §3.2
        if not self.url.startswith(b"/") and self.url != b"*":
            self._take_host_from_target()

    def _take_host_from_target(self) -> None:
        """`GET http://HOST/PATH` is for that host, whatever `Host` says (RFC 9112 §3.2.2)."""
        target = httptools.parse_url(self.url)
        if not target.host or target.userinfo:
            raise MalformedRequest("The request's target is no path.")
        host = b"[%b]" % target.host if b":" in target.host else target.host
        named = [(b"host", b"%b:%d" % (host, target.port) if target.port else host)]
        self.headers[:] = named + [field for field in self.headers if field[0] != b"host"]
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")

    def _end_with(self, error: PredictionError) -> None:
        """Answer, and close once the client has read that, or had the time to."""
        if not self._is_whole and not self._is_in_head:
            self.cycle.disconnected = True  # its endpoint waits for the rest of the body
            self.cycle.message_event.set()
        response = problem_of(error)
        fields = [*self.server_state.default_headers, *response.raw_headers]
        fields.append((b"connection", b"close"))
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[response.status_code] + head + b"\r\n" + response.body)
        self.transport.write_eof()  # to close now could destroy the answer on its way
        self.is_over = True
        self.deadline = None
        self.received = 0

    def _throw_away(self) -> None:
        if self.is_over and self.received > _MOST_DISCARDED:
            self.transport.abort()


class OneWrite:
    """A transport that gathers what is written in one turn of the loop.

    A small answer is written in two pieces, head and body: to send both at once saves a system
    call here, and often the client one.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.written = 0  # bytes
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self.written += len(piece)
        if len(piece) > _SMALL:
            self._send()
            self._transport.write(piece)
            return
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(piece)

    def write_eof(self) -> None:
        self._send()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _reason(error: httptools.HttpParserError) -> PredictionError:
    """What was raised here while the parser called, or what it found itself."""
    if isinstance(error.__context__, PredictionError):
        return error.__context__
    return MalformedRequest("The request is not HTTP/1.1 as it has to be (RFC 9112).")


def _too_large() -> PredictionError:
    return HeaderTooLarge(f"The request's header is larger than {MOST_HEAD} bytes.")
