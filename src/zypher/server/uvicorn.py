"""uvicorn, as the node needs it: it neither starts nor stops anything by itself."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zypher.server.acceptor import Acceptor

# How long a client may take, at the end, to receive what it was answered. In seconds.
_LAST_BYTES = 5

# How long one who has just come may take, at the end, to ask for something. In seconds.
_FIRST_BYTES = 0.5

# What is larger, in bytes, is sent by itself: to copy it would cost more than a system call.
_SMALL = 65_536


class Uvicorn(uvicorn.Server):
    """Answers for an application, and leaves signals to the program."""

    def __init__(self, app: FastAPI, root_path: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="off",  # the node starts and stops around it
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # nothing here depends on where a request came from
                server_header=False,
                root_path=root_path,
                timeout_graceful_shutdown=_LAST_BYTES,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._acceptors = [Acceptor(listener, self._protocol) for listener in sockets or ()]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            await acceptor.close()
        await super().shutdown(sockets)

    def turn_away(self) -> None:
        """From now on every answer ends its connection.

        Its client comes back on a new one, which a balancer leads to another server. A connection
        that stayed would be closed at the end, perhaps while the next request is on its way.
        """
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # from which they are made anew each second
        self.server_state.default_headers = [*self.server_state.default_headers, close]
        for connection in self.server_state.connections:
            if (cycle := cast("HttpToolsProtocol", connection).cycle) is not None:
                cycle.keep_alive = False

    async def answered(self) -> None:
        """Wait until all that is asked at this moment has been answered."""
        if tasks := [*self.server_state.tasks]:
            await asyncio.wait(tasks)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: when to stop is decided by the program."""
        yield


class Protocol(HttpToolsProtocol):
    """One connection; what it writes in one turn of the loop is sent together."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", OneWrite(transport, self.loop)))

    def shutdown(self) -> None:
        if not self.cycle:  # a new connection: what it was made for is on its way
            self.loop.call_later(_FIRST_BYTES, super().shutdown)
        else:
            super().shutdown()


class OneWrite:
    """A transport that gathers what is written in one turn of the loop.

    A small answer is written in two pieces, head and body: to send both at once saves a system
    call here, and often the client one.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        if len(piece) > _SMALL:
            self._send()
            self._transport.write(piece)
            return
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(piece)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
