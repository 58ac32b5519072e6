"""Clients who use all of the API, at a steady pace, and check what they are answered."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self

import httpx2

from tests.faults.clients import client_of
from tests.harness import ASYNC, PATIENCE
from tests.receiver import Receiver

# How long each client pauses between two of its deeds, in seconds.
_PAUSE = 0.25

_PAYLOAD = 300_000

# How long that takes which is canceled, should nobody come to cancel it. In seconds.
_LONG = 5.0

# How long the last webhooks may take, in seconds: a server that was killed had taken some.
_PATIENCE_WITH_WEBHOOKS = 120.0

_NUMBERS = itertools.count()


class Interrupted(Exception):
    """A server was not there, or left before the end: what restarts look like from outside."""


class Traffic:
    """Clients, `each` of them doing one kind of thing, until the `async with` block ends.

    `work` makes the input of the first model for a token.
    """

    def __init__(self, url: str, work: Callable[..., Any], *, each: int = 1) -> None:
        self.done: Counter[str] = Counter()
        self.interrupted: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._work = work
        self._each = each
        self._client = client_of(url)
        self._receiver = Receiver()
        self._called: set[str] = set()
        self._hooked: set[str] = set()
        self._going_on = True
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._receiver.__enter__()
        deeds = (
            *(self._call, self._repeat, self._cancel, self._follow, self._batch),
            *(self._fail, self._carry, self._hook, self._look_around),
        )
        self._tasks = [asyncio.create_task(self._go_on(deed)) for deed in self._each * deeds]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going_on = False
        await asyncio.gather(*self._tasks)
        deadline = time.monotonic() + _PATIENCE_WITH_WEBHOOKS
        while self._hooked - self._note_calls() and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE)
        self.wrong += [f"The webhook of {id} was not called." for id in self._hooked - self._called]
        self._receiver.__exit__()
        await self._client.aclose()

    async def _go_on(self, deed: Callable[[], Coroutine[Any, Any, None]]) -> None:
        name = deed.__name__.removeprefix("_")
        while self._going_on:
            try:
                await deed()
                self.done[name] += 1
            except (Interrupted, httpx2.TransportError):
                self.interrupted[name] += 1
            except Exception as error:
                self.wrong.append(f"{name}: {error!r}")
            await asyncio.sleep(_PAUSE)

    # What they do.

    async def _call(self) -> None:
        token = f"call-{next(_NUMBERS)}"
        result = await self._result("/predict", self._work(token))
        assert result["token"] == token, result

    async def _repeat(self) -> None:
        """Submit twice with one key, and delete what would be kept for a day."""
        token = f"key-{next(_NUMBERS)}"
        headers = ASYNC | {"Idempotency-Key": token}
        ids = {await self._submit("/predict", self._work(token), headers) for _ in range(2)}
        assert len(ids) == 1, ids
        (id,) = ids
        record = await self._end(id)
        assert record["output"]["result"]["token"] == token, record
        await self._ask("DELETE", f"/predictions/{id}", None, None, 204)

    async def _cancel(self) -> None:
        work = self._work(f"cancel-{next(_NUMBERS)}") | {"seconds": _LONG}
        id = await self._submit("/predict", work)
        record = await self._ask("POST", f"/predictions/{id}/cancel")
        assert record["status"] == "canceled", record

    async def _follow(self) -> None:
        """Read the events of a run."""
        events = {"Accept": "text/event-stream"}
        body = {"input": 20}
        text = ""
        request = self._client.stream("POST", "/models/counts/predict", json=body, headers=events)
        async with request as response:
            if response.status_code == 503:
                raise Interrupted
            async for piece in response.aiter_text():
                text += piece
        if '"completed"' not in text:  # the stream ended with its server
            raise Interrupted

    async def _batch(self) -> None:
        numbers = [next(_NUMBERS) for _ in range(8)]
        path = "/models/doubled/predict"
        results = await asyncio.gather(*(self._result(path, number) for number in numbers))
        assert results == [2 * number for number in numbers], results

    async def _fail(self) -> None:
        answer = await self._call_model("/models/fails/predict", "as it should", 500)
        assert answer["code"] == "model_error", answer

    async def _carry(self) -> None:
        """Send much, and get it back."""
        text = f"{next(_NUMBERS)} " * (_PAYLOAD // 8)
        result = await self._result("/models/echo/predict", text)
        assert result == text, "the payload came back as something else"

    async def _hook(self) -> None:
        body = {"input": "hook", "webhook": self._receiver.url()}
        id = (await self._ask("POST", "/models/echo/predict", body, ASYNC, 202))["prediction_id"]
        self._hooked.add(id)
        self._note_calls()

    async def _look_around(self) -> None:
        """What the page and an operator ask for."""
        for path in ("/predictions?limit=50", "/stats", "/models", "/openapi.json"):
            await self._ask("GET", path)

    # How.

    async def _result(self, path: str, input: Any) -> Any:
        return (await self._call_model(path, input))["result"]

    async def _call_model(self, path: str, input: Any, *more: int) -> Any:
        return await self._ask("POST", path, {"input": input}, None, *more)

    async def _submit(self, path: str, input: Any, headers: dict[str, str] = ASYNC) -> Any:
        answer = await self._ask("POST", path, {"input": input}, headers, 202)
        return answer["prediction_id"]

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: Any = None, *more: int
    ) -> Any:
        """The body of an answer that has status 200, or one of those `more`.

        A server that leaves refuses, or promises the result to who would have waited for it.
        """
        response = await self._client.request(method, path, json=body, headers=headers)
        if response.status_code in {202, 503}.difference(more):
            raise Interrupted
        assert response.status_code in (200, *more), response.text
        return response.json() if response.content else None

    async def _end(self, id: str) -> Any:
        """The record of a prediction that has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            record = await self._ask("GET", f"/predict/{id}", None, {"Prefer": "wait=5"}, 202)
            if "output" in record:
                return record
        raise AssertionError(f"{id} has not ended.")

    def _note_calls(self) -> set[str]:
        while self._receiver.was_called:
            self._called.add(self._receiver.next().data["prediction_id"])
        return self._called
