"""Clients that submit, and watch what becomes of it, whatever happens to the server."""

import asyncio
import itertools
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

import httpx2

from tests.faults.clients import client_of
from tests.faults.history import History, Rebuff, Seen, Submit
from tests.harness import ASYNC, PATIENCE

# How long clients wait before they ask a server again that is not there.
_PAUSE = 0.02
# How long one long-poll lasts.
_LONG_POLL = {"Prefer": "wait=5"}

_NUMBERS = itertools.count()

Outcome = Literal["ok", "fail", "unknown"]


class Load:
    """Clients that submit again and again until the `async with` block ends.

    `work` makes the input for a token; `pause` is the time between two submits of a client.
    Every id that gets a 202 is watched by long-polls until it has ended; at the end of the block
    all of them have, or `patience` (seconds) is over.
    """

    def __init__(
        self,
        url: str,
        history: History,
        work: Callable[[str], Any],
        *,
        clients: int = 8,
        pause: float = 0.0,
        patience: float = PATIENCE,
    ) -> None:
        self._history = history
        self._work = work
        self._client = client_of(url)
        self._clients = clients
        self._pause = pause
        self._patience = patience
        self._going_on = True
        self._submitters: list[asyncio.Task[None]] = []
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._ended = 0
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._submitters = [asyncio.create_task(self._submit()) for _ in range(self._clients)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._going_on = False
        await asyncio.gather(*self._submitters)
        if error is None:
            await self._settle()
        for watcher in self._watchers.values():
            watcher.cancel()
        await self._client.aclose()

    async def accepts(self, more: int) -> None:
        """Wait until so many more submits have been accepted."""
        goal = len(self._watchers) + more
        await self._until(lambda: len(self._watchers) >= goal)

    async def ends(self, more: int) -> None:
        """Wait until so many more of what was accepted have ended."""
        goal = self._ended + more
        await self._until(lambda: self._ended >= goal)

    async def refuses(self) -> None:
        """Wait until a submit from now on has been refused with a 503."""
        answered = len(self._history.submits)
        await self._until(lambda: any(s.status == 503 for s in self._history.submits[answered:]))

    async def submit(self, token: str, work: Any) -> Submit:
        """Submit once, and watch it if it was accepted."""
        submit = await self._ask(token, work)
        self._history.submits.append(submit)
        if submit.outcome == "ok":
            self._watchers[submit.id] = asyncio.create_task(self._watch(submit.id))
        await self._tell()
        return submit

    async def _watch(self, id: str) -> None:
        await self._until_final(id)
        self._ended += 1
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(condition)

    async def _submit(self) -> None:
        while self._going_on:
            token = f"t{next(_NUMBERS)}"
            submit = await self.submit(token, self._work(token))
            await asyncio.sleep(self._pause if submit.outcome == "ok" else _PAUSE)

    async def _ask(self, token: str, work: Any) -> Submit:
        asked = time.monotonic()
        try:
            response = await self._client.post("/predict", json={"input": work}, headers=ASYNC)
        except httpx2.ConnectError:  # it never arrived
            return Submit(token, asked, time.monotonic(), "fail")
        except httpx2.TransportError:
            return Submit(token, asked, time.monotonic(), "unknown")
        outcome: Outcome = "ok" if response.status_code == 202 else "fail"
        id = response.json().get("prediction_id", "")
        return Submit(token, asked, time.monotonic(), outcome, id, response.status_code)

    async def _until_final(self, id: str) -> None:
        while True:
            seen = await look(self._client, self._history, id, _LONG_POLL)
            if seen and (seen.final or seen.status == "missing"):
                return
            if seen is None:
                await asyncio.sleep(_PAUSE)

    async def _settle(self) -> None:
        """Wait until all that was accepted has ended, or should have."""
        if self._watchers:
            await asyncio.wait(self._watchers.values(), timeout=self._patience)
        self._history.overdue += [id for id, task in self._watchers.items() if not task.done()]


async def look(
    client: httpx2.AsyncClient, history: History, id: str, headers: dict[str, str]
) -> Seen | None:
    """Poll an id, and note what was told; None if that was nothing."""
    asked = time.monotonic()
    try:
        response = await client.get(f"/predict/{id}", headers=headers)
    except httpx2.TransportError as error:
        is_down = isinstance(error, httpx2.ConnectError)
        history.rebuffs.append(Rebuff(id, "no connection" if is_down else "cut off"))
        return None
    return history.saw(id, asked, response.status_code, response.json())
