"""How connections are looked at for clients that keep the server waiting."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from tests.server.service import Service
from zypher.server.uvicorn import Uvicorn

pytestmark = pytest.mark.anyio

NUMBER = 200
TICKS = 10  # in a round


@pytest.fixture
async def server(service: Service) -> AsyncIterator[Uvicorn]:
    """A server with so many connections on which nothing is asked."""
    server = Uvicorn(service.app, service.state.settings)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        for _ in range(NUMBER):
            ours, _ = map(stack.enter_context, socket.socketpair())
            await loop.connect_accepted_socket(server._protocol, ours)
        yield server
        for connection in list(server.server_state.connections):
            connection.transport.abort()


async def test_a_share_of_the_connections_is_looked_at_in_each_tick_and_all_in_a_round(
    server: Uvicorn,
) -> None:
    open = server._connections._open
    for tick in range(1, TICKS + 1):
        await server._connections.look()
        seen = sum(connection.deadline is not None for connection in open)
        assert seen == tick * NUMBER // TICKS


async def test_a_connection_has_so_few_attributes_that_they_cost_little_memory(
    server: Uvicorn,
) -> None:
    connection = next(iter(server._connections._open))
    assert len(vars(connection)) <= 30
