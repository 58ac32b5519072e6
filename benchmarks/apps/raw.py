"""The reference: an ASGI application that does nothing but answer."""

import asyncio
import json
import os
from typing import Any

MODEL = os.environ["MODEL"]
_NAP = 0.05
_BEFORE_INPUT = len(b'{"input":')


def _constant() -> bytes | None:
    """What some models answer to everything."""
    if MODEL == "floats_out":
        from benchmarks.payloads import FLOATS

        return b'{"result":%b}' % json.dumps(FLOATS, separators=(",", ":")).encode()
    return {"document": b'{"result":0}', "floats_in": b'{"result":1}'}.get(MODEL)


_CONSTANT = _constant()
_sleeping: set[int] = set()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads a request and answers with its input, or with what is always the answer."""
    message = await receive()
    body = message["body"]
    if message["more_body"]:
        chunks = [body]
        while message["more_body"]:
            message = await receive()
            chunks.append(message["body"])
        body = b"".join(chunks)
    if MODEL == "nap":
        await asyncio.sleep(_NAP)
    elif MODEL == "sleep" and scope["path"] == "/predict":
        _sleeping.add(id(scope))
        await asyncio.sleep(float(body[_BEFORE_INPUT:-1]))
        _sleeping.remove(id(scope))
    answer = _CONSTANT or b'{"result":%b' % body[_BEFORE_INPUT:]
    if scope["path"] == "/stats":
        answer = b'{"models":{"sleep":{"processing":%d}}}' % len(_sleeping)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(answer)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer})
