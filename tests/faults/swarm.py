"""Very many predictions, by clients that leave the machine to the servers."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

from tests.faults.history import History, Submit
from tests.harness import ASYNC, PATIENCE

# Asking again when it has not ended yet.
_LONG_POLL = {"Prefer": "wait=5"}

_NUMBERS = itertools.count()


class Swarm:
    """Clients in threads. Each submits one, waits until it has ended, and goes on with the next.

    `work` makes the input for a token.
    """

    def __init__(
        self, url: str, history: History, work: Callable[[str], Any], *, clients: int
    ) -> None:
        self.ended: list[str] = []  # ids
        self._host = urlsplit(url).netloc
        self._history = history
        self._work = work
        self._clients = clients
        self._going_on = True

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        """They go on until the block ends; then each sees its last one through.

        And all that was accepted is looked at once more.
        """
        with ThreadPoolExecutor(self._clients) as threads:
            going_on = [threads.submit(self._go_on) for _ in range(self._clients)]
            try:
                yield
            finally:
                self._going_on = False
            await _all(going_on)
            ids = iter([*self._history.accepted])  # one for all threads
            await _all(threads.submit(self._look_at, ids) for _ in range(self._clients))

    def _go_on(self) -> None:
        with _Connection(self._host) as connection:
            while self._going_on:
                submit = self._submit(connection, f"s{next(_NUMBERS)}")
                self._history.submits.append(submit)
                if submit.outcome == "ok":
                    self._see_through(connection, submit.id)

    def _submit(self, connection: "_Connection", token: str) -> Submit:
        asked = time.monotonic()
        body = json.dumps({"input": self._work(token)})
        try:
            status, answer = connection.ask("POST", "/predict", body, ASYNC)
        except (HTTPException, OSError):
            return Submit(token, asked, time.monotonic(), "unknown")
        id = answer.get("prediction_id", "")
        return Submit(token, asked, time.monotonic(), "ok" if status == 202 else "fail", id, status)

    def _see_through(self, connection: "_Connection", id: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            seen = self._look(connection, id, _LONG_POLL)
            if seen is not None and (seen.final or seen.status == "missing"):
                self.ended.append(id)
                return
        self._history.overdue.append(id)

    def _look_at(self, ids: Iterable[str]) -> None:
        with _Connection(self._host) as connection:
            for id in ids:
                self._look(connection, id, {})

    def _look(self, connection: "_Connection", id: str, headers: Mapping[str, str]) -> Any:
        asked = time.monotonic()
        status, answer = connection.ask("GET", f"/predict/{id}", None, headers)
        return self._history.saw(id, asked, status, answer)


class _Connection:
    """A connection that stays open."""

    def __init__(self, host: str) -> None:
        self._connection = HTTPConnection(host, timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer."""
        content = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body, {**headers, **content})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


async def _all(futures: Iterable[Future[None]]) -> None:
    await asyncio.gather(*map(asyncio.wrap_future, futures))
