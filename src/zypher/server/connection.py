"""Whether the caller is still there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive

# Seconds before it is looked whether the caller has hung up: most waits are over by then, and
# cost nothing more than a timer.
_SOON = 0.02


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Raise `ClientDisconnect` out of the block as soon as the caller has hung up.

    The body of the request has to be read before.
    """
    loop = asyncio.get_running_loop()
    listening: list[asyncio.Task[None]] = []

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        block.reschedule(loop.time())

    timer = loop.call_later(_SOON, lambda: listening.append(loop.create_task(listen())))
    try:
        async with asyncio.timeout(None) as block:
            yield
    except TimeoutError:
        raise ClientDisconnect from None
    finally:
        timer.cancel()
        for task in listening:
            task.cancel()
