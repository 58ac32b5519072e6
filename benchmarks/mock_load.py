"""Thousands of mock predictions at once: are they all completed, how soon, at what cost?

    .venv/bin/python benchmarks/mock_load.py

Starts `zypher serve` with the mock (8 to 15 s each) and then, each on a quiet server:

1. 5,000 asynchronous predictions submitted as fast as 64 connections can; all are polled
   (long-polls) until they have ended.
2. 1,000 synchronous predictions, each on a connection of its own.

Meanwhile another client asks `GET /livez` and runs a prediction of a model that answers at
once, again and again: the latency of others. Memory is the PSS of all processes (on Linux).
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import psutil
import uvloop

ZYPHER = Path(sys.executable).with_name("zypher")
ECHO = Path(__file__).with_name("echo.py")


class Connection:
    """A keep-alive HTTP/1.1 connection: just enough of a client to be out of the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, bytes]:
        """The status and the body of the answer."""
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        return int(head[9:12]), await self._reader.readexactly(int(length[1]))

    def close(self) -> None:
        self._writer.close()


class Observer:
    """Measures, while something else goes on, memory and the latency of others."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid, self._port = pid, port
        self.latencies: dict[str, list[float]] = {"GET /livez": [], "POST echo": []}
        self.most_memory = 0

    async def __aenter__(self) -> Self:
        self._connection = await Connection.open(self._port)
        self._task = asyncio.create_task(self._observe())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._connection.close()

    async def _observe(self) -> None:
        while True:
            await self._time("GET /livez", "GET", "/livez", b"")
            await self._time("POST echo", "POST", "/models/echo/predict", b'{"input":1}')
            self.most_memory = max(self.most_memory, await asyncio.to_thread(memory, self._pid))
            await asyncio.sleep(0.1)

    async def _time(self, name: str, method: str, path: str, body: bytes) -> None:
        started = time.perf_counter()
        status, _ = await self._connection.request(method, path, body)
        assert status == 200
        self.latencies[name].append(time.perf_counter() - started)

    def report(self) -> None:
        for name, values in self.latencies.items():
            ordered = sorted(values)
            p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
            print(
                f"  {name:12} p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
                f"slowest {ordered[-1] * 1e3:.0f} ms ({len(ordered)} requests)"
            )
        print(f"  memory, all processes: {self.most_memory / 1e6:.0f} MB at most")


def memory(pid: int) -> int:
    """PSS in bytes of a process and its children."""
    server = psutil.Process(pid)
    return sum(process.memory_full_info().pss for process in [server, *server.children()])


async def in_parallel(
    port: int, count: int, connections: int, one: Callable[[Connection, int], Awaitable[None]]
) -> None:
    """Do `one` for each of `count` numbers, over so many connections."""
    numbers = iter(range(count))

    async def lane() -> None:
        connection = await Connection.open(port)
        for number in numbers:
            await one(connection, number)
        connection.close()

    await asyncio.gather(*(lane() for _ in range(connections)))


async def asynchronous(port: int, count: int) -> None:
    """Submit all, then wait for all."""
    ids: dict[int, str] = {}
    ended: Counter[str] = Counter()

    async def submit(connection: Connection, number: int) -> None:
        status, body = await connection.request(
            "POST", "/predict", b'{"input":%d}' % number, "Async-Mode: true\r\n"
        )
        assert status == 202, body
        ids[number] = json.loads(body)["prediction_id"]

    async def wait(connection: Connection, number: int) -> None:
        status = 202
        while status == 202:
            status, body = await connection.request(
                "GET", f"/predict/{ids[number]}", headers="Prefer: wait=30\r\n"
            )
        record: dict[str, Any] = json.loads(body)
        assert record["output"]["input"] == number
        ended[record["status"]] += 1

    started = time.perf_counter()
    await in_parallel(port, count, 64, submit)
    submitted = time.perf_counter()
    await in_parallel(port, count, 64, wait)
    finished = time.perf_counter()
    print(f"  accepted in {submitted - started:.2f} s ({count / (submitted - started):.0f}/s)")
    print(f"  ended {finished - submitted:.1f} s after the last submit: {dict(ended)}")


async def synchronous(port: int, count: int) -> None:
    """All at once, each on a connection of its own."""
    ended: Counter[int] = Counter()

    async def call(connection: Connection, number: int) -> None:
        status, body = await connection.request("POST", "/predict", b'{"input":%d}' % number)
        assert json.loads(body)["input"] == number
        ended[status] += 1

    started = time.perf_counter()
    await in_parallel(port, count, count, call)
    print(f"  answered in {time.perf_counter() - started:.1f} s, by status: {dict(ended)}")


async def measure(title: str, work: Callable[[int, int], Awaitable[None]], count: int) -> None:
    """One server, one kind of load."""
    started = time.perf_counter()
    directory = tempfile.TemporaryDirectory()
    server = subprocess.Popen(
        [ZYPHER, "serve", "mock", f"echo={ECHO}:echo", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory.name,
    )
    assert server.stderr is not None
    line = next(line for line in server.stderr if line.startswith("Serving"))
    address = re.search(r":(\d+) ", line)
    assert address is not None
    ready = time.perf_counter() - started
    port = int(address[1])
    print(f"{title}\n  ready in {ready:.2f} s, memory {memory(server.pid) / 1e6:.0f} MB")
    try:
        async with Observer(server.pid, port) as observer:
            await work(port, count)
        observer.report()
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()
        directory.cleanup()


async def main() -> None:
    await measure("5,000 asynchronous predictions", asynchronous, 5_000)
    await measure("1,000 synchronous predictions", synchronous, 1_000)


if __name__ == "__main__":
    uvloop.run(main())
