"""Requests of which each is another, over connections that stay open: what wrk cannot do.

A connection sends its next request in the same call in which the last answer came: no task, no
future, and no parser of HTTP but for what an answer of JSON has. It asks about as fast as a server
that does nothing can answer; so what it measures is compared with `raw`, asked by it as well.
"""

import asyncio
import gc
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Self, cast

import uvloop

_LENGTH = b"content-length: "


class Answer(NamedTuple):
    """What came: the status, or 0 if the connection broke; and after how many seconds."""

    status: int
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Exchange(NamedTuple):
    """The answers in the order of their requests, and how long all of it took."""

    answers: list[Answer]
    seconds: float


_BROKEN = Answer(0, b"", 0.0)


def post(path: str, input: Any, headers: str = "") -> bytes:
    """A request for a prediction."""
    body = json.dumps({"input": input}).encode()
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode() + body


def get(path: str, headers: str = "") -> bytes:
    """A request for what is there."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


class Caller:
    """One connection that waits for each of its answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, request: bytes) -> Answer:
        """What one request is answered with."""
        started = time.perf_counter()
        self._socket.sendall(request)
        received, body = bytearray(), None
        while body is None:
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise ConnectionError("The server has closed the connection.")
            received += chunk
            status, body = _parsed(received)
        return Answer(status, body, time.perf_counter() - started)


def exchange(port: int, requests: Iterable[bytes], connections: int) -> Exchange:
    """Send them, one at a time over each connection."""
    return uvloop.run(_exchange(port, requests, connections))


async def _exchange(port: int, requests: Iterable[bytes], connections: int) -> Exchange:
    pending = enumerate(requests)
    answers: dict[int, Answer] = {}
    loop = asyncio.get_running_loop()
    lanes = [_Lane(pending, answers.__setitem__) for _ in range(connections)]
    for lane in lanes:
        await loop.create_connection(lane.protocol, "127.0.0.1", port)
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    await asyncio.gather(*(lane.run() for lane in lanes))
    took = time.perf_counter() - started
    gc.enable()
    answers |= dict.fromkeys((number for number, _ in pending), _BROKEN)
    return Exchange([answers[number] for number in sorted(answers)], took)


class _Lane(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, pending: Iterator[tuple[int, bytes]], answered: Callable[[int, Answer], None]
    ) -> None:
        self._pending, self._answered = pending, answered
        self._received = b""
        self._number = -1
        self._sent = 0.0
        self._done = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport

    def protocol(self) -> Self:
        """For who connects it."""
        return self

    async def run(self) -> None:
        """Ask until nothing is left to ask for."""
        self._next()
        await self._done
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        status, body = _parsed(received)
        if body is None:
            self._received = received
            return
        self._received = b""
        self._answered(self._number, Answer(status, body, time.perf_counter() - self._sent))
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._answered(self._number, _BROKEN)
            self._done.set_result(None)

    def _next(self) -> None:
        number, request = next(self._pending, (0, None))
        if request is None:
            self._done.set_result(None)
            return
        self._number, self._sent = number, time.perf_counter()
        self._transport.write(request)


def _parsed(received: bytes | bytearray) -> tuple[int, bytes | None]:
    """Status and body of an answer that has come whole; else no body."""
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return 0, None
    head = received[:end].lower()
    start = head.index(_LENGTH) + len(_LENGTH)
    if len(received) < end + int(head[start : head.index(b"\r", start)]):
        return 0, None
    return int(head[9:12]), bytes(received[end:])
