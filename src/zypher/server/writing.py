"""What is written to a connection: answers as bytes, and few of them to a system call."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

# What is larger, in bytes, is sent by itself: to copy it would cost more than a system call.
_SMALL = 65_536

Field = tuple[bytes, bytes]

CLOSE: Field = (b"connection", b"close")


def lines(fields: Iterable[Field]) -> bytes:
    """Header fields as they are sent."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def head_of(response: Response, common: bytes, *, closes: bool) -> bytes:
    """The head of an answer; `common` are the lines that it has in common with all others."""
    close = lines([CLOSE]) if closes else b""
    own = lines(response.raw_headers)
    return b"".join((STATUS_LINE[response.status_code], common, own, close, b"\r\n"))


class CommonLines:
    """The lines that all answers have in common: made anew when the fields are, once a second.

    `always` are fields that stay as they are.
    """

    def __init__(self, always: Sequence[Field] = ()) -> None:
        self._always = always
        self._fields: list[Field] = []
        self._text = b""

    def of(self, fields: list[Field]) -> bytes:
        """The lines of these fields."""
        if fields is not self._fields:
            self._fields, self._text = fields, lines([*fields, *self._always])
        return self._text


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
        self.is_closing = transport.is_closing

    def write(self, piece: bytes) -> None:
        self.written += len(piece)
        if len(piece) > _SMALL:
            self._send()
            self._transport.write(piece)
            return
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(piece)

    def write_answer(self, head: bytes, body: bytes) -> None:
        """Send at once what is all there."""
        if self.is_closing():
            return
        if self._pieces or len(body) > _SMALL:
            self.write(head)
            self.write(body)
        else:
            answer = head + body
            self.written += len(answer)
            self._transport.write(answer)

    def write_eof(self) -> None:
        self._send()
        if not self.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
