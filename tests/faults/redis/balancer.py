"""A plain load balancer: it passes connections on, to servers that say they are ready."""

import asyncio
from asyncio import StreamReader, StreamWriter
from typing import Self
from urllib.parse import urlsplit

import httpx2

from tests.harness import PATIENCE, free_port

# How often it asks each server, and how long an answer may take, in seconds.
INTERVAL = 0.1
_TIMEOUT = 1.0

_CHUNK = 65_536


class Balancer:
    """Leads each new connection to the next server whose `/readyz` was 200 when asked last.

    What a connection has begun it goes on with: only its ends can end it.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._ready: list[str] = []  # urls, the one whose turn it is first
        self._has_changed = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        tasks = [*self._probes.values(), *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def add(self, url: str) -> None:
        """Lead connections to this server, too; returns once it was found ready."""
        self._probes[url] = asyncio.create_task(self._probe(url))
        async with asyncio.timeout(PATIENCE), self._has_changed:
            await self._has_changed.wait_for(lambda: url in self._ready)

    async def remove(self, url: str) -> None:
        """Forget a server that has ended."""
        probe = self._probes.pop(url)
        probe.cancel()
        await asyncio.wait([probe])
        await self._note(url, is_ready=False)

    async def _probe(self, url: str) -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT) as client:
            while True:
                try:
                    is_ready = (await client.get("/readyz")).status_code == 200
                except httpx2.TransportError:
                    is_ready = False
                await self._note(url, is_ready=is_ready)
                await asyncio.sleep(INTERVAL)

    async def _note(self, url: str, *, is_ready: bool) -> None:
        if is_ready is (url in self._ready):
            return
        async with self._has_changed:
            self._ready.append(url) if is_ready else self._ready.remove(url)
            self._has_changed.notify_all()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, client: StreamReader, to_client: StreamWriter) -> None:
        """One client's way to a server and back, until one of them hangs up."""
        try:
            self._ready.append(url := self._ready.pop(0))
            server = urlsplit(url)
            from_server, to_server = await asyncio.open_connection(server.hostname, server.port)
            await asyncio.gather(_pass(client, to_server), _pass(from_server, to_client))
        except (IndexError, OSError):  # none is ready, or this one is gone
            pass
        finally:
            to_client.close()


async def _pass(source: StreamReader, to: StreamWriter) -> None:
    """Pass on what comes from one end, and at last that there is no more."""
    try:
        while chunk := await source.read(_CHUNK):
            to.write(chunk)
            await to.drain()
    finally:
        to.close()
