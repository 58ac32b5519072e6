"""One stream of server-sent events for everybody who follows it."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi.sse import format_sse_event


class Broadcast:
    """The latest event of each name. All who follow are sent the same bytes.

    Nothing is held for a single one: who reads slowly misses events, and gets the latest.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._number = 0
        self._shown: dict[str, tuple[int, bytes, bytes]] = {}
        self._has_news = asyncio.Event()

    def open(self) -> None:
        """Go on after a close."""
        self.is_closed = False

    def clear(self) -> None:
        """Nothing is shown any more."""
        self._shown.clear()

    def show(self, name: str, event: bytes, *, first: bytes | None = None) -> None:
        """Send an event to all. `first`: what those get in its place who come later."""
        self._number += 1
        self._shown[name] = self._number, event, first or event
        self._wake()

    def hide(self, *names: str) -> None:
        """What was shown under these names is true no more: those who come later do not get it."""
        for name in names:
            self._shown.pop(name, None)

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        self._wake()

    async def follow(self) -> AsyncGenerator[bytes]:
        """What is shown now, and then what is new, until it is closed."""
        seen = 0
        while not self.is_closed:
            news = [shown for shown in self._shown.values() if shown[0] > seen]
            if not news:
                await self._has_news.wait()
                continue
            last = max(number for number, *_ in news)
            for _, event, first in news:
                yield event if seen else first
            seen = last

    def _wake(self) -> None:
        self._has_news.set()
        self._has_news = asyncio.Event()


class Broadcasts:
    """A broadcast to those who see all, and one to each owner of whom somebody follows."""

    def __init__(self) -> None:
        self.is_closed = False
        self._by_owner: dict[str | None, Broadcast] = {}

    def to(self, owner: str | None) -> Broadcast:
        """That to an owner; None: to those who see all."""
        broadcast = self._by_owner.setdefault(owner, Broadcast())
        broadcast.is_closed = self.is_closed
        return broadcast

    def open(self) -> None:
        """Go on after a close."""
        self.is_closed = False
        for broadcast in self._by_owner.values():
            broadcast.open()

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        for broadcast in self._by_owner.values():
            broadcast.close()


def event(name: str, data: bytes) -> bytes:
    """A server-sent event of JSON text."""
    return format_sse_event(event=name, data_str=data.decode())
