"""A server at a socket in this process, and clients that see every byte of it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.server.service import PATIENCE, Service
from zypher.prediction import Prediction
from zypher.server.app import Application
from zypher.server.uvicorn import Uvicorn

INPUT = b'{"input":"x"}'
JSON = "Content-Type: application/json"


class Answer(NamedTuple):
    """What a client reads; header names as they come."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def names(self) -> dict[str, str]:
        return dict(self.headers)

    @property
    def timeless(self) -> tuple[object, ...]:
        """What is the same in the answers to one and the same request."""
        ids = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
        headers = [(n, ids.sub("ID", v)) for n, v in self.headers if n != "date"]
        return self.status, headers, ids.sub("ID", self.body.decode())


class Client:
    """One connection to a server, on which bytes are sent and answers read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> Answer:
        """The next answer; that a request may go on is none."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            lines = (line.partition(": ") for line in head[1:-2])
            headers = [(name, value) for name, _, value in lines]
            status = int(head[0].split()[1])
            if status == 100:
                return await self.answer()
            body = await self._reader.readexactly(int(dict(headers)["content-length"]))
        return Answer(status, headers, body)

    async def is_closed(self) -> bool:
        """Wait until the server says something or closes; True if it closes."""
        async with asyncio.timeout(PATIENCE):
            return not await self._reader.read(1)

    def hang_up(self) -> None:
        self._writer.transport.abort()


def post(
    body: bytes = INPUT, *fields: str, path: str = "/predict", host: str = "127.0.0.1"
) -> bytes:
    """A request to predict, with a content type unless one is given."""
    given = fields if any(f.startswith("Content-Type") for f in fields) else (JSON, *fields)
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", *given, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, *fields: str, host: str = "127.0.0.1") -> bytes:
    """A request for what is found at a path."""
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()


class Site:
    """A service behind a server at a socket; `is_direct` says if calls can go the direct way."""

    def __init__(self, service: Service, *, is_direct: bool = True) -> None:
        self.service = service
        self.server = Uvicorn(service.app, service.state.settings)
        assert isinstance(service.app, Application)
        self.direct_way = service.app.direct_way
        if not is_direct:
            self.server._direct_way = None
        self._clients: list[Client] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()
            running = asyncio.create_task(self.server.serve([listener]))
            try:
                yield
            finally:
                for client in self._clients:
                    client.hang_up()
                self.server.should_exit = True
                await running

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection(*self.address)))
        return self._clients[-1]

    async def calling(self) -> tuple[Client, Prediction]:
        """A client that waits for a call which went the direct way, and its run."""
        client = await self.client()
        client.send(post())
        claimed = await self.service.claim()
        assert len(self.direct_way.outcomes()) == 1
        return client, claimed
