"""A broker that goes away and comes back, as one on another machine does."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from zypher.brokers.base import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.clock import Clock
from zypher.errors import Unavailable

VERBS = {
    name
    for name in Broker.__abstractmethods__ - {"start", "aclose"}
    if asyncio.iscoroutinefunction(getattr(Broker, name))
}


class LeavingBroker(MemoryBroker):
    """A memory broker of which some verbs, or all, are unavailable from `leave` to `come_back`.

    Those that wait are interrupted. `asked` counts how often each was asked, `once_asked` waits.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        super().__init__(limits, clock)
        self.asked: Counter[str] = Counter()
        self._away: set[str] = set()
        self._has_changed = asyncio.Condition()

    async def leave(self, *verbs: str) -> None:
        """Be unavailable for these verbs, or for all."""
        await self._change(set(verbs) or VERBS)

    async def come_back(self) -> None:
        """Be there again."""
        await self._change(set())

    async def once_asked(self, verb: str, times: int = 1) -> None:
        """Wait until a verb was asked so often, from now on."""
        least = self.asked[verb] + times
        async with self._has_changed:
            await self._has_changed.wait_for(lambda: self.asked[verb] >= least)

    async def _change(self, away: set[str]) -> None:
        async with self._has_changed:
            self._away = away
            self._has_changed.notify_all()

    async def _ask(self, verb: str, do: Callable[[], Awaitable[Any]]) -> Any:
        async with self._has_changed:
            self.asked[verb] += 1
            self._has_changed.notify_all()
        if verb in self._away:
            raise Unavailable("The broker cannot be reached.")
        doing = asyncio.ensure_future(do())
        leaving = asyncio.create_task(self._gone(verb))
        try:
            await asyncio.wait([leaving, doing], return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise Unavailable("The broker cannot be reached.")
            return await doing
        finally:
            leaving.cancel()
            doing.cancel()

    async def _gone(self, verb: str) -> None:
        async with self._has_changed:
            await self._has_changed.wait_for(lambda: verb in self._away)


def _leaving(name: str) -> Any:
    async def verb(self: LeavingBroker, *values: Any, **named: Any) -> Any:
        return await self._ask(name, lambda: getattr(MemoryBroker, name)(self, *values, **named))

    return verb


for _name in VERBS:
    setattr(LeavingBroker, _name, _leaving(_name))
