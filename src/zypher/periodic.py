"""The one way to do something again and again in the background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("zypher")


async def every(
    interval: float, turn: Callable[[], Awaitable[object]], *, pause: float = 1.0
) -> None:
    """Await `turn` every `interval` seconds until cancelled.

    One that fails is logged, and the next is at least `pause` seconds later.
    """
    while True:
        await asyncio.sleep(interval)
        try:
            await turn()
        except Exception:
            log.exception("%s failed; next try in %g s", turn, max(interval, pause))
            await asyncio.sleep(max(0.0, pause - interval))
