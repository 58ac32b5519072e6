"""The reference: an ASGI application that does nothing but answer."""

import asyncio
from typing import Any

_NAP = 0.05
_BODY = b'{"result":1}'


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads a request and sends the same answer to each; under `/nap` after 50 ms."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/nap":
        await asyncio.sleep(_NAP)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(_BODY)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": _BODY})
