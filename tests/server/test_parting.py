"""How the HTTP server parts from its clients: with an answer, and never in the middle of one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from zypher.server.uvicorn import Uvicorn
from zypher.settings import load_settings

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
REQUEST = b"GET /quick HTTP/1.1\r\nHost: here\r\n\r\n"


class Site:
    """An application behind the server: `/quick` answers at once, `/slow` once it may."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        app = FastAPI()
        app.add_api_route("/quick", self._quick)
        app.add_api_route("/slow", self._slow)
        self.server = Uvicorn(app, load_settings())
        self.client = httpx2.AsyncClient(timeout=PATIENCE)

    async def _quick(self) -> str:
        return "quick"

    async def _slow(self) -> str:
        self.is_asked.set()
        await self.may_answer.wait()
        return "slow"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[socket.socket]:
        """A socket at which it serves for the block."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            running = asyncio.create_task(self.server.serve([listener]))
            try:
                async with self.client:
                    yield listener
            finally:
                self.server.should_exit = True
                await running


async def test_from_the_moment_that_it_turns_clients_away_each_answer_ends_its_connection() -> None:
    site = Site()
    async with site.serving():
        assert "connection" not in (await site.client.get("/quick")).headers
        slow = asyncio.create_task(site.client.get("/slow"))
        await site.is_asked.wait()
        site.server.turn_away()
        site.may_answer.set()
        for asked in (slow, site.client.get("/quick")):
            assert (await asked).headers["connection"] == "close"
        await site.server.on_tick(0)  # which makes the headers of the next second
        assert (await site.client.get("/quick")).headers["connection"] == "close"


async def test_it_knows_when_all_that_was_asked_has_been_answered() -> None:
    site = Site()
    async with site.serving():
        await site.server.answered()
        slow = asyncio.create_task(site.client.get("/slow"))
        await site.is_asked.wait()
        answered = asyncio.create_task(site.server.answered())
        await site.client.get("/quick")
        assert not answered.done()
        site.may_answer.set()
        await answered
        assert (await slow).json() == "slow"


async def test_who_has_just_come_when_it_stops_is_answered() -> None:
    site = Site()
    async with site.serving() as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        site.server.turn_away()
        site.server.should_exit = True
        async with asyncio.timeout(PATIENCE):
            while listener.fileno() != -1:
                await asyncio.sleep(0)
            writer.write(REQUEST)
            assert b"200 OK" in await reader.read()
        writer.close()


async def test_who_has_come_and_says_nothing_does_not_hold_it_up() -> None:
    site = Site()
    async with asyncio.timeout(PATIENCE):
        async with site.serving() as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            site.server.should_exit = True
        assert await reader.read() == b""
        writer.close()
