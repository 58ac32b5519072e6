"""The acceptor: all connections that wait are taken in together."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import pytest

from zypher.server.acceptor import Acceptor

pytestmark = pytest.mark.anyio

CLIENTS = 300
PATIENCE = 10.0


class Greeting(asyncio.Protocol):
    """Says hello, and leaves when its client does."""

    made = 0
    lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        cast("asyncio.Transport", transport).write(b"hello")

    def connection_lost(self, exc: Exception | None) -> None:
        type(self).lost += 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    Greeting.made = Greeting.lost = 0
    with socket.create_server(("127.0.0.1", 0), backlog=2 * CLIENTS) as listener:
        yield listener


def client_of(listener: socket.socket) -> socket.socket:
    client = socket.create_connection(listener.getsockname())
    client.setblocking(False)
    return client


async def all_have_left() -> None:
    async with asyncio.timeout(PATIENCE):
        while Greeting.lost < Greeting.made:
            await asyncio.sleep(0)


async def said_to(client: socket.socket) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().sock_recv(client, 100)


async def test_clients_that_come_at_once_are_taken_in_in_few_turns_of_the_loop(
    listener: socket.socket,
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(client_of(listener)) for _ in range(CLIENTS)]
        acceptor = Acceptor(listener, Greeting)
        for _ in range(10):
            await asyncio.sleep(0)
        assert Greeting.made == CLIENTS
        assert {await said_to(client) for client in clients} == {b"hello"}
        await acceptor.close()
    await all_have_left()


async def test_a_process_without_room_for_connections_takes_them_in_once_it_has(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(listener) as client:
        acceptor = Acceptor(listener, Greeting)
        with no_more_files():
            while not caplog.records:
                await asyncio.sleep(0)
        assert Greeting.made == 0
        assert await said_to(client) == b"hello"
        await acceptor.close()
    await all_have_left()
    assert "No connection can be taken in now: Too many open files" in caplog.text


async def test_one_that_is_closed_takes_nothing_in(listener: socket.socket) -> None:
    address = listener.getsockname()
    await Acceptor(listener, Greeting).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_those_who_have_come_when_it_is_closed_are_taken_in(
    listener: socket.socket,
) -> None:
    acceptor = Acceptor(listener, Greeting)
    with ExitStack() as stack:
        clients = [stack.enter_context(client_of(listener)) for _ in range(CLIENTS)]
        await acceptor.close()
        assert Greeting.made == CLIENTS
        assert {await said_to(client) for client in clients} == {b"hello"}
    await all_have_left()


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process can open nothing for the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
