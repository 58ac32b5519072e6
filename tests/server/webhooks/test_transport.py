"""Connections to webhooks that fail."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from zypher.server.webhooks.targets import Targets
from zypher.server.webhooks.transport import CheckedTransport

pytestmark = pytest.mark.anyio

# So many connections are made, since it is a race whether one is lost as it is made.
CONNECTIONS = 200
# To close is to reset (socket(7), SO_LINGER).
RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def resetting() -> Iterator[str]:
    """The URL of a receiver that resets every connection as soon as it has it."""

    def reset_all() -> None:
        for _ in range(CONNECTIONS):
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()

    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    with listener, ThreadPoolExecutor(1) as thread:
        done = thread.submit(reset_all)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.result()


async def test_a_connection_that_is_reset_at_once_is_an_error_of_the_transport() -> None:
    transport = CheckedTransport(Targets(allow_private=True))
    with resetting() as url:
        calls = (
            transport.handle_async_request(httpx2.Request("POST", url, content=b"{}"))
            for _ in range(CONNECTIONS)
        )
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [o for o in outcomes if not isinstance(o, httpx2.TransportError)] == []
