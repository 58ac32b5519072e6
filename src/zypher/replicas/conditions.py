"""Waiting until something holds, of what changes often and is waited for by few."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

Condition = Callable[[], bool]


class _Waiter(NamedTuple):
    """Somebody who waits until a condition holds."""

    condition: Condition
    bell: asyncio.Future[None]


class Conditions:
    """Those who wait. Nothing is kept up to date for those who do not."""

    def __init__(self) -> None:
        self._waiters: list[_Waiter] = []

    async def until(self, condition: Condition) -> None:
        """Wait until it holds."""
        while not condition():
            waiter = _Waiter(condition, asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            try:
                await waiter.bell
            finally:
                self._waiters.remove(waiter)

    def look(self) -> None:
        """Something has changed: wake those whose condition holds now."""
        for condition, bell in self._waiters:
            if not bell.done() and condition():
                bell.set_result(None)
