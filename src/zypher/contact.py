"""Contact with the broker: how the parts of a node bear that it is away for a while."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from zypher.errors import Unavailable

log = logging.getLogger("zypher")

T = TypeVar("T")

# Between two questions, in seconds. The longest is also how late its return may be noticed.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Contact:
    """What the parts of a node share, so that the log says once that the broker is away.

    And once that it is back: when all that was asked in vain has been answered.
    """

    def __init__(self) -> None:
        self._unanswered = 0

    async def insist(
        self, ask: Callable[[], Awaitable[T]], *, gate: asyncio.Event | None = None
    ) -> T:
        """What the broker answers, however long that takes.

        `gate` is closed while it is asked in vain.
        """
        try:
            return await ask()
        except Unavailable as error:
            refusal = error
        with self._break(refusal), _closed(gate or asyncio.Event()):
            return await _asked_again(ask)

    async def wait(self, ask: Callable[[float], Awaitable[T]], timeout: float) -> T:
        """What the broker answers to a question that waits for so many seconds.

        After a break it is what there is at once: that the broker is back must not wait.
        """
        try:
            return await ask(timeout)
        except Unavailable as error:
            refusal = error
        with self._break(refusal):
            return await _asked_again(partial(ask, 0.0))

    @contextmanager
    def _break(self, refusal: Unavailable) -> Iterator[None]:
        if not self._unanswered:
            log.warning("The broker is away, and is asked until it answers: %s", refusal)
        self._unanswered += 1
        try:
            yield
        finally:
            self._unanswered -= 1
        if not self._unanswered:
            log.warning("The broker is back.")


@contextmanager
def _closed(gate: asyncio.Event) -> Iterator[None]:
    gate.clear()
    try:
        yield
    finally:
        gate.set()


async def _asked_again(ask: Callable[[], Awaitable[T]]) -> T:
    pauses = _pauses()
    while True:
        await asyncio.sleep(next(pauses))
        try:
            return await ask()
        except Unavailable:
            pass


def _pauses() -> Iterator[float]:
    """Growing ones, and never the same: all nodes lose a broker at once, and then ask again."""
    longest = _FIRST_PAUSE
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        longest = min(2 * longest, _LONGEST_PAUSE)
