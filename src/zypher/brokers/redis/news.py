"""What nodes tell each other over Redis. It may get lost: who waits looks again once a second."""

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from redis.asyncio.client import PubSub
from redis.exceptions import NoPermissionError

from zypher.brokers.queue import resolve
from zypher.brokers.redis.calls import LOST
from zypher.brokers.redis.link import Link
from zypher.brokers.refusals import shutting_down
from zypher.errors import ConfigurationError

log = logging.getLogger("zypher.redis")

# A node hears itself once a second; when it has heard nothing for so long, it does not hear.
_SILENCE = 3.0

_PAUSE = 1.0


class Hearing:
    """Hears what is told to a node, and listens again when its connection is lost."""

    def __init__(self, link: Link, node: str, heard: Callable[[Sequence[bytes]], None]) -> None:
        self._link = link
        self._channel = f"zypher:node:{node}"
        self._heard = heard
        self._listening: asyncio.Task[None] | None = None
        self._hears = asyncio.Event()  # or will never hear
        self._is_refused = False

    async def start(self) -> None:
        """Begin to listen. Raises `ConfigurationError` if that is not allowed."""
        self._listening = asyncio.create_task(self._listen())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE):
                await self._hears.wait()
        if self._is_refused:
            raise ConfigurationError(
                "Redis does not allow this user to listen: allow it the channels &zypher:*."
            )

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        while True:
            try:
                async with self._link.listener() as listener:
                    await self._hear(listener)
            except NoPermissionError:
                self._is_refused = True
                self._hears.set()
            except LOST as error:
                log.debug("not listening: %s", error)
            except Exception:
                log.exception("not listening")
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.0))  # noqa: S311

    async def _hear(self, listener: PubSub) -> None:
        """Hear until there is silence."""
        async with asyncio.timeout(_SILENCE):
            await listener.subscribe(self._channel)
        await listener.get_message(timeout=_SILENCE)  # that it was subscribed
        self._hears.set()
        while message := await listener.get_message(timeout=_SILENCE):
            self._heard(_words(message["data"]))


class Claimers:
    """Those at this node who wait for something to claim, by room.

    A room is for a model, or for what of it is no suspect.
    """

    def __init__(self) -> None:
        self.rings = 0
        self._waiting: dict[str, deque[asyncio.Future[bool]]] = {}
        self._asleep: Counter[str] = Counter()
        self._exhausted: set[str] = set()

    @property
    def rooms(self) -> list[str]:
        """The rooms in which somebody waits."""
        return [room for room, waiting in self._waiting.items() if waiting]

    def others_sleep(self, room: str) -> bool:
        """True if one who asks is not the only one who needs to be woken."""
        return self._asleep[room] > 0

    def is_exhausted(self, room: str) -> bool:
        """True if it was found that nothing can be claimed, and nobody has rung since."""
        return room in self._exhausted

    def note_exhausted(self, room: str, rings: int) -> None:
        """Nothing could be claimed any more when a bell had rung so many times."""
        if rings == self.rings:
            self._exhausted.add(room)

    @contextmanager
    def asleep(self, room: str) -> Iterator[None]:
        """Somebody waits for a bell, and has asked whether there is something."""
        self._asleep[room] += 1
        try:
            yield
        finally:
            self._asleep[room] -= 1

    @contextmanager
    def one(self, room: str) -> Iterator[asyncio.Future[bool]]:
        """A future that is resolved by one ring."""
        bell: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(room, deque())
        waiting.append(bell)
        try:
            yield bell
        finally:
            with contextlib.suppress(ValueError):
                waiting.remove(bell)

    def ring(self, room: str) -> bool:
        """Wake one; False if nobody waits."""
        self.rings += 1
        self._exhausted.discard(room)
        waiting = self._waiting.get(room)
        while waiting:
            if resolve(waiting.popleft(), True):
                return True
        return False

    def close(self) -> None:
        """Nothing will arrive any more."""
        for waiting in self._waiting.values():
            for bell in waiting:
                if not bell.done():
                    bell.set_exception(shutting_down())
                    bell.exception()


def _words(news: bytes) -> Sequence[bytes]:
    """The netstrings that something consists of (https://cr.yp.to/proto/netstrings.txt)."""
    words: list[bytes] = []
    at = 0
    while at < len(news):
        begin = news.index(b":", at) + 1
        end = begin + int(news[at : begin - 1])
        words.append(news[begin:end])
        at = end + 1
    return words


def was_rung(bell: asyncio.Future[bool]) -> bool:
    """True for a bell that has rung."""
    return bell.done() and not bell.cancelled() and bell.exception() is None
