"""What a request costs, in calls of functions: a number that is the same on every machine."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import zypher
from tests.server.service import Service
from tests.server.site import Client, Site, post
from zypher.prediction import Outcome

pytestmark = pytest.mark.anyio

TOGETHER = 50
ROUNDS = 3
GOOD = Outcome(b'"done"')

SOURCE = str(Path(zypher.__file__).parent)

# Of our functions, and by them of C's, with the claim and the end of the run: from what a
# connection has read to what it writes, and from the application to its answer. They may become
# less; more needs a reason.
MOST_CALLS = 142
MOST_CALLS_OF_THE_APPLICATION = 221


async def test_a_synchronous_call_takes_no_more_calls_of_functions_than_it_did(
    service: Service,
) -> None:
    site = Site(service)
    async with site.serving():
        clients = [await site.client() for _ in range(TOGETHER)]

        def ask() -> list[Awaitable[bytes]]:
            for client in clients:
                client.send(post())
            return [body_of(client) for client in clients]

        assert await cost_of(service, ask) <= MOST_CALLS


async def test_nor_does_one_that_comes_through_asgi(service: Service) -> None:
    def ask() -> list[Awaitable[bytes]]:
        return [asyncio.create_task(answer(service)) for _ in range(TOGETHER)]

    assert await cost_of(service, ask) <= MOST_CALLS_OF_THE_APPLICATION


async def cost_of(service: Service, ask: Callable[[], list[Awaitable[bytes]]]) -> float:
    """The calls of functions for one of the requests that `ask` makes.

    The least of several rounds: into any of them may fall what is done once a second.
    """
    await served(service, ask())  # what is done once has been done
    return min([await calls_of(service, ask()) for _ in range(ROUNDS)]) / TOGETHER


async def calls_of(service: Service, requests: list[Awaitable[bytes]]) -> int:
    """The calls of functions for these requests."""
    calls = 0

    def count(frame: FrameType, event: str, function: object) -> None:
        nonlocal calls
        is_ours = frame.f_code.co_filename.startswith(SOURCE)
        calls += is_ours and event in ("call", "c_call")

    sys.setprofile(count)
    try:
        bodies = await served(service, requests)
    finally:
        sys.setprofile(None)
    assert bodies == [b'{"input":"x","result":"done"}'] * TOGETHER
    return calls


async def served(service: Service, requests: list[Awaitable[bytes]]) -> list[bytes]:
    """The answers to requests that come together."""
    claimed = 0
    while claimed < TOGETHER:
        batch = await service.broker.claim("w", "m", limit=TOGETHER, timeout=10)
        claimed += len(batch)
        await service.broker.finish([(prediction.claim, GOOD) for prediction in batch])
    return await asyncio.gather(*requests)


async def body_of(client: Client) -> bytes:
    return (await client.answer()).body


async def answer(service: Service) -> bytes:
    """The body of the answer to one call, of which the server sees what it sees of any."""
    body = b'{"input":"x"}'
    names = {"host": "127.0.0.1", "content-type": "application/json"}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "root_path": "",
        "query_string": b"",
        "headers": [
            (name.encode(), value.encode())
            for name, value in (names | {"content-length": str(len(body))}).items()
        ],
    }
    sent: list[Any] = []

    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        return await asyncio.Event().wait()  # the caller stays, and says no more

    async def send(message: Any) -> None:
        sent.append(message)

    await service.app(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent)
