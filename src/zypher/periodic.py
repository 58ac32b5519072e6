"""The ways to do something again and again: for ever, or until the broker can."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from zypher.errors import StorageFull, Unavailable

log = logging.getLogger("zypher")

T = TypeVar("T")

# Between two questions to a broker that is away, in seconds. The longest is also how late its
# return may be noticed.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


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
        except (Unavailable, StorageFull):  # as the broker says itself in the log
            await asyncio.sleep(max(0.0, pause - interval))
        except Exception:
            log.exception("%s failed; next try in %g s", turn, max(interval, pause))
            await asyncio.sleep(max(0.0, pause - interval))


async def insist(ask: Callable[[], Awaitable[T]], *, gate: asyncio.Event | None = None) -> T:
    """What the broker answers, however long that takes. It says itself in the log that it is away.

    `gate` is closed while it is asked in vain.
    """
    try:
        return await ask()
    except Unavailable:
        pass
    with _closed(gate or asyncio.Event()):
        return await _asked_again(ask)


async def _asked_again(ask: Callable[[], Awaitable[T]]) -> T:
    pauses = _pauses()
    while True:
        await asyncio.sleep(next(pauses))
        try:
            return await ask()
        except Unavailable:
            pass


@contextmanager
def _closed(gate: asyncio.Event) -> Iterator[None]:
    gate.clear()
    try:
        yield
    finally:
        gate.set()


def _pauses() -> Iterator[float]:
    """Growing ones, and never the same: all nodes lose a broker at once, and then ask again."""
    longest = _FIRST_PAUSE
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        longest = min(2 * longest, _LONGEST_PAUSE)
