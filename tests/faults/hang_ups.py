"""Clients that hang up, anywhere."""

import asyncio
import contextlib
import json
import random
import time
from pathlib import Path
from typing import Any

import psutil

from tests.faults.report import Report, Size
from tests.faults.rig import Rig
from tests.harness import PATIENCE

# So many clients are connected at once.
_CLIENTS = 50


async def hang_ups(size: Size, directory: Path) -> Report:
    """Clients that hang up at any point of their request or of the wait for its answer."""
    tokens = iter(range(size.of(1_000, 10_000)))
    async with Rig(directory, "work", "--concurrency", "20") as rig:

        async def clients() -> list[str]:
            return [fault for token in tokens if (fault := await _visit(rig, f"v{token}"))]

        async with rig.load(clients=2):
            faults = await asyncio.gather(*(clients() for _ in range(_CLIENTS)))
        left = await _connections_left(rig)
        shocked = "Traceback" in "".join(rig.running.lines)
        return await rig.report(
            "clients that hang up",
            *(sentence for of_client in faults for sentence in of_client),
            *([f"{left} connections of clients that have gone are still open."] if left else []),
            *(["A client that hung up made a traceback."] if shocked else []),
            remarks=[f"{size.of('1,000', '10,000')} of them"],
        )


async def _visit(rig: Rig, token: str) -> str | None:
    """One request, of which a client may lose interest anywhere; what is wrong, if anything."""
    request = _request(rig.work(token, seconds=0.02), asynchronous=random.random() < 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    try:
        match random.choice(("sending", "waiting", "staying")):
            case "sending":
                writer.write(request[: random.randrange(len(request))])
                await writer.drain()
            case "waiting":
                writer.write(request)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), random.uniform(0, 0.1))
            case "staying":
                writer.write(request)
                answer = await asyncio.wait_for(reader.read(), PATIENCE)
                return _cross_talk(token, answer)
    finally:
        writer.transport.abort()
    return None


def _request(work: dict[str, Any], *, asynchronous: bool) -> bytes:
    body = json.dumps({"input": work}).encode()
    mode = b"Async-Mode: true\r\n" if asynchronous else b""
    return (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
    ) % (mode, len(body), body)


def _cross_talk(token: str, answer: bytes) -> str | None:
    """What is wrong with the answer to a request of this token, if anything."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 202"):
        return None
    if head.startswith(b"HTTP/1.1 200") and json.loads(body)["result"]["token"] == token:
        return None
    return f"The request of {token} was answered: {answer[:200]!r}."


async def _connections_left(rig: Rig) -> int:
    """The connections to clients that the server still has, all of whom have gone."""
    server = psutil.Process(rig.running.process.pid)
    deadline = time.monotonic() + PATIENCE
    while True:
        left = sum(c.status != psutil.CONN_LISTEN for c in server.net_connections("tcp"))
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.05)
