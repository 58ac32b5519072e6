"""Clients that call and wait for the answer, and check that it is theirs."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import httpx2

from tests.faults.clients import client_of

# How long a client waits before it calls again when its call failed.
_PAUSE = 0.02

# How long a call may take, in seconds: longer than `sync-timeout`, when its 202 comes.
_PATIENCE = 40.0

_NUMBERS = itertools.count()


class Call(NamedTuple):
    """One call; `status` is None if no answer came, `told` the token that the answer named."""

    token: str
    asked: float
    answered: float
    status: int | None
    told: str = ""

    @property
    def seconds(self) -> float:
        return self.answered - self.asked


class Callers:
    """Clients that call without pause until the `async with` block ends.

    `work` makes the input for a token.
    """

    def __init__(self, url: str, work: Callable[[str], Any], *, clients: int) -> None:
        self.calls: list[Call] = []
        self._work = work
        self._client = client_of(url, patience=_PATIENCE)
        self._clients = clients
        self._going_on = True
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._go_on()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going_on = False
        await asyncio.gather(*self._tasks)
        await self._client.aclose()

    def wrong(self) -> Iterator[str]:
        """A sentence for every call that got no answer, or another's."""
        for call in self.calls:
            if call.status is None:
                yield f"The call of {call.token} had no answer after {call.seconds:.1f} s."
            elif call.status == 200 and call.told != call.token:
                yield f"The call of {call.token} was answered with the result of {call.told}."

    def refused(self) -> Sequence[Call]:
        """The calls that were answered with an error."""
        return [call for call in self.calls if call.status not in (None, 200)]

    async def _go_on(self) -> None:
        while self._going_on:
            call = await self._call(f"c{next(_NUMBERS)}")
            self.calls.append(call)
            if call.status != 200:
                await asyncio.sleep(_PAUSE)

    async def _call(self, token: str) -> Call:
        asked = time.monotonic()
        try:
            response = await self._client.post("/predict", json={"input": self._work(token)})
        except httpx2.TransportError:
            return Call(token, asked, time.monotonic(), None)
        told = response.json().get("result", {}).get("token", "")
        return Call(token, asked, time.monotonic(), response.status_code, told)
