"""Callers who wait, all for the same time, and one timer for all of them."""

import asyncio
from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

from zypher.prediction import Prediction


class Waiting(Protocol):
    """Somebody who waits for an outcome."""

    @property
    def outcome(self) -> asyncio.Future[Prediction | None]: ...

    def expire(self) -> None:
        """Their time is over."""


class Patient:
    """Those who wait, the one whose time is over first in front. `patience` is in seconds.

    To wait and to stop waiting happens in one loop, and costs no timer.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._deadlines: dict[Waiting, float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # asking for it is a system call, in Python 3.11

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._deadlines)

    def add(self, caller: Waiting) -> None:
        """They wait from now on."""
        self._deadlines[caller] = deadline = self._loop.time() + self._patience
        if self._alarm is None:
            self._alarm = self._loop.call_at(deadline, self._ring)

    def discard(self, caller: Waiting) -> None:
        """They wait no more. The timer stays: it is for whoever is the first when it rings."""
        self._deadlines.pop(caller, None)

    def _ring(self) -> None:
        self._alarm = None
        now = self._loop.time()
        late = []
        for caller, deadline in self._deadlines.items():
            if deadline > now:
                self._alarm = self._loop.call_at(deadline, self._ring)
                break
            late.append(caller)
        for caller in late:
            caller.expire()
