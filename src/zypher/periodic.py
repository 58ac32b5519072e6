"""The one way to do something again and again in the background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("zypher")


async def every(interval: float, turn: Callable[[], Awaitable[object]]) -> None:
    """Await `turn` every `interval` seconds until cancelled; one that fails is logged."""
    while True:
        await asyncio.sleep(interval)
        try:
            await turn()
        except Exception:
            log.exception("%s failed; next try in %g s", turn, interval)
