"""Bodies and results of every size, and clients that read slowly."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from tests.faults.clients import client_of
from tests.faults.models import long_text
from tests.faults.report import Report, Size, percentile
from tests.faults.rig import Rig, target
from tests.harness import ASYNC, JSON

_EMPTY = b'{"input":""}'
# Seconds that are not missed, whatever they are a multiple of.
_UNFELT = 0.01
# A slow reader takes so much at a time, and pauses so many seconds in between.
_SIP, _PAUSE = 65_536, 0.005


async def payloads(size: Size, directory: Path) -> Report:
    """Bodies of every size around the largest allowed, large results, and slow readers."""
    cap, large = size.of((1_000_000, 5_000_000), (16_000_000, 50_000_000))
    limits = ("--max-body-size", str(cap))
    async with (
        Rig(directory, "echo", target("long_text"), *limits) as rig,
        client_of(rig.url, JSON) as client,
    ):
        wrong = [
            *[sentence async for sentence in _wrong_bodies(client, cap)],
            *[sentence async for sentence in _wrong_results(client, large)],
        ]
        alone = await _latencies(client)
        async with _slow_readers(rig, large):
            beside = await _latencies(client)
        if percentile(beside, 0.5) > max(2 * percentile(alone, 0.5), _UNFELT):
            wrong.append("Slow readers make others wait more than twice as long.")
        remark = (
            f"others wait {_spread(alone)} ms, {_spread(beside)} ms beside slow readers of results "
            f"of {large / 1e6:.0f} MB (p50 / p99)"
        )
        return await rig.report("payloads", *wrong, remarks=[remark])


def _spread(latencies: Sequence[float]) -> str:
    return " / ".join(f"{percentile(latencies, part) * 1e3:.1f}" for part in (0.5, 0.99))


async def _wrong_bodies(client: httpx2.AsyncClient, cap: int) -> AsyncIterator[str]:
    """What was not answered as bodies of their size are to be."""
    for length, status in _expected(cap).items():
        body = _body(length)
        for content in (body, _pieces(body)):
            response = await client.post("/predict", content=content)
            if response.status_code != status:
                yield f"A body of {length} bytes was answered {response.status_code}."
            elif status == 200 and response.content != body[:-1] + b',"result":' + body[9:]:
                yield f"A body of {length} bytes did not come back as it was."
            elif status != 200 and "X-Prediction-Id" in response.headers:
                yield f"A body of {length} bytes was queued before it was refused."


def _expected(cap: int) -> dict[int, int]:
    """The status for bodies of so many bytes: no JSON, no object, an empty text, and so on."""
    empty = len(_EMPTY)
    return {0: 400, 1: 422, empty: 200, empty + 1: 200, cap: 200, cap + 1: 413}


def _body(length: int) -> bytes:
    """A body of this length, whose input is a text where it is long enough for one."""
    if length < len(_EMPTY):
        return b"1" * length
    return b'{"input":"%b"}' % long_text(length - len(_EMPTY)).encode()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body that does not say beforehand how long it is."""
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


async def _wrong_results(client: httpx2.AsyncClient, length: int) -> AsyncIterator[str]:
    """What did not come as the model returned it."""
    path, body = "/models/long_text/predict", {"input": length}
    at_once = (await client.post(path, json=body)).json()
    accepted = (await client.post(path, json=body, headers=ASYNC)).json()
    later = await client.get(f"/predict/{accepted['prediction_id']}", headers={"Prefer": "wait=30"})
    for mode, answer in (("synchronous", at_once), ("asynchronous", later.json()["output"])):
        if answer["result"] != long_text(length):
            yield f"The {mode} result of {length} bytes is not what the model returned."


async def _latencies(client: httpx2.AsyncClient) -> list[float]:
    """How long small predictions take now."""
    latencies = []
    for _ in range(300):
        started = time.perf_counter()
        response = await client.post("/predict", json={"input": "hi"})
        latencies.append(time.perf_counter() - started)
        assert response.status_code == 200
    return latencies


@asynccontextmanager
async def _slow_readers(rig: Rig, length: int) -> AsyncIterator[None]:
    """Some clients that fetch a large result a little at a time, as long as the block lasts."""
    readers = [asyncio.create_task(_read_slowly(rig, length)) for _ in range(3)]
    try:
        yield
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _read_slowly(rig: Rig, length: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=_SIP)
        try:
            body = b'{"input":%d}' % length
            writer.write(
                b"POST /models/long_text/predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            while await reader.read(_SIP):
                await asyncio.sleep(_PAUSE)
        finally:
            writer.transport.abort()
