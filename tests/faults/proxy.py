"""The network between a client and a server on this machine, which can fail in many ways."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from typing import Self

from tests.harness import steady_port

_CHUNK = 65_536
# Closing then throws away what was not sent, and resets the connection.
_NO_LINGERING = struct.pack("ii", 1, 0)

_Connection = asyncio.Task[None] | None


class Proxy:
    """Takes connections on `port` and passes them on to a server, for the `async with` block.

    All that is done to it is done to the connections of that moment and of later ones, until
    `heal`. What breaks a connection for good says so.
    """

    def __init__(self, server_port: int) -> None:
        self.port = steady_port()
        self.delay = 0.0  # seconds, of everything in both directions
        self._server_port = server_port
        self._connections: set[asyncio.Task[None]] = set()
        self._forgotten: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._replies = asyncio.Event()
        self._fatal: bytes | None = None
        self._has_reset = asyncio.Event()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def heal(self) -> None:
        """Pass everything on again, beginning with what a stall has held back."""
        self.delay = 0.0
        self._flows.set()
        self._replies.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Reset the connections that there are, and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self.reset()

    async def reset(self) -> None:
        """Reset the connections that there are, once."""
        ending = list(self._connections)
        for connection in ending:
            connection.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def reset_next_reply(self, part: bytes = b"") -> asyncio.Event:
        """Reset the next connection that gets a reply with this in it, in the middle of it.

        The event tells that it has happened.
        """
        self._fatal, self._has_reset = part, asyncio.Event()
        return self._has_reset

    def stall(self) -> None:
        """Hold everything back, as a network does that loses all packets: TCP sends them again."""
        self._flows.clear()

    def hold_replies(self) -> None:
        """Hold back what the server answers, and only that."""
        self._replies.clear()

    def forget(self) -> None:
        """Half-open: the connections of now pass nothing any more, for good. New ones do."""
        self._forgotten |= self._connections

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, client: StreamReader, to_client: StreamWriter) -> None:
        """One client's way to the server and back, until one of them hangs up."""
        connection = asyncio.current_task()
        ends = [to_client]
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            ends.append(to_server)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(connection, client, to_server))
                ways.create_task(self._reply(connection, server, to_client))
        except* OSError:  # there is no server, or one of them has hung up
            pass
        finally:
            for end in ends:
                _reset(end)

    async def _pass(self, connection: _Connection, source: StreamReader, to: StreamWriter) -> None:
        """Pass on what the client sends."""
        while True:
            to.write(await self._read(connection, source))

    async def _reply(self, connection: _Connection, source: StreamReader, to: StreamWriter) -> None:
        """Pass on what the server answers."""
        while True:
            chunk = await self._read(connection, source)
            await self._replies.wait()
            fatal = self._fatal
            if fatal is not None and fatal in chunk:
                self._fatal = None
                self._has_reset.set()
                to.write(chunk[: chunk.index(fatal) if fatal else len(chunk) // 2])
                raise ConnectionResetError
            to.write(chunk)

    async def _read(self, connection: _Connection, source: StreamReader) -> bytes:
        """What is to be passed on next. Raises `ConnectionError` if there is nothing more."""
        chunk = await source.read(_CHUNK)
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flows.wait()
        if connection in self._forgotten:
            await asyncio.Event().wait()
        if not chunk:
            raise ConnectionResetError
        return chunk


def _reset(end: StreamWriter) -> None:
    if not end.transport.is_closing():
        sock: socket.socket = end.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    end.transport.abort()
