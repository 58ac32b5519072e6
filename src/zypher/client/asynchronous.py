"""The client for asynchronous code, on asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any, Self, TypeVar, Unpack, cast

import httpx2

from zypher.client.answers import Reply
from zypher.client.calls import DEFAULT_URL, PATIENCE, Calls, Steps
from zypher.client.following import Following, has_events
from zypher.client.http import arguments, client_options
from zypher.client.listing import Listing
from zypher.client.mapping import check_concurrency, map_in_tasks
from zypher.client.requests import Request
from zypher.client.values import Event, Model, Options, Record, Status

T = TypeVar("T")

_Models = list[Model]


class AsyncConnection:
    """Makes calls over HTTP."""

    def __init__(
        self, calls: Calls, headers: Mapping[str, str] | None, api_key: str | None
    ) -> None:
        self.calls = calls
        self._http = httpx2.AsyncClient(**client_options(calls.url, headers, api_key))

    async def run(self, steps: Steps[T]) -> T:
        """Make a call."""
        try:
            request = next(steps)
            while True:
                await asyncio.sleep(request.pause)
                request = steps.send(await self._reply(request))
        except StopIteration as end:
            return cast("T", end.value)

    async def follow(self, following: Following) -> AsyncIterator[Event]:
        """The events of a prediction."""
        while not following.has_ended:
            request = following.request
            await asyncio.sleep(request.pause)
            try:
                async with self._http.stream(**arguments(request)) as response:
                    if not has_events(response):
                        await response.aread()
                        following.refused(response)
                        continue
                    async for sent in httpx2.EventSource(response, max_event_size=None):
                        for event in following.told(sent):
                            yield event
                following.stopped()
            except httpx2.TransportError as error:
                following.broke(error)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _reply(self, request: Request) -> Reply:
        try:
            return await self._http.request(**arguments(request))
        except httpx2.TransportError as error:
            return error


class AsyncClient:
    """Asks the server at `url` for predictions. All of its calls belong to one event loop.

    `timeout`: how long results are waited for, in seconds; None: as long as it takes.
    `patience`: how long a call is repeated while the server is away, starts, stops or is full, if
    it can be repeated without harm; a server that has never answered gets two seconds of it.
    `headers` go with every request, and the `api_key`; without one that of `ZYPHER_API_KEY`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: float | None = None,
        patience: float = PATIENCE,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
    ) -> None:
        self._connection = AsyncConnection(Calls(url, timeout, patience), headers, api_key)
        self._calls = self._connection.calls

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._calls.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def predict(
        self,
        input: Any,
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """The result of an input. Raises the error that it failed with, by its class.

        Without an `idempotency_key` it is not repeated once it may have been received. Raises
        `WaitTimeout`, a `TimeoutError`, if it takes longer than `timeout`, or that of the client.
        """
        steps = self._calls.predict(input, model, idempotency_key, options, timeout=timeout)
        return await self._connection.run(steps)

    async def submit(
        self,
        input: Any,
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> "AsyncHandle":
        """Have an input predicted, without waiting. By default with a fresh `idempotency_key`."""
        return self.handle(
            await self._connection.run(self._calls.submit(input, model, idempotency_key, options))
        )

    def map(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        concurrency: int = 16,
        model: str | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Any]:
        """The results of many inputs, in order; so many are predicted at once.

        Inputs are taken as results are, and a full queue is waited for. The first error is raised
        in its place, and nothing new is begun then.

        Raises `ValueError` for a `concurrency` under 1.
        """
        check_concurrency(concurrency)

        async def call(input: Any) -> Any:
            steps = self._calls.predict(input, model, None, options, awaits_room=True)
            return await self._connection.run(steps)

        return map_in_tasks(call, inputs, concurrency)

    def handle(self, id: str) -> "AsyncHandle":
        """The prediction with this id. Nothing is asked of the server."""
        return AsyncHandle(self._connection, id)

    async def models(self) -> _Models:
        """The models that the server has, the default one first."""
        return await self._connection.run(self._calls.models())

    async def stats(self) -> dict[str, Any]:
        """What waits, runs and has ended of each model, and who works on it."""
        return await self._connection.run(self._calls.statistics())

    async def ready(self) -> dict[str, Any]:
        """How the server stands: `status` is ready, or why not. It is asked once."""
        return await self._connection.run(self._calls.readiness())

    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Record]:
        """The predictions that the server has, the newest first."""
        listing = Listing(self._calls, status, model, limit)
        while listing.is_more:
            for record in await self._connection.run(listing.page()):
                yield record


class AsyncHandle:
    """One prediction of a server, by its `id`."""

    def __init__(self, connection: AsyncConnection, id: str) -> None:
        self.id = id
        self._connection = connection
        self._calls = connection.calls

    def __repr__(self) -> str:
        return f"<AsyncHandle {self.id}>"

    async def get(self) -> Record:
        """How it stands. Raises `NotFound` if the server does not know it (any more)."""
        return await self._connection.run(self._calls.get(self.id))

    async def wait(self, timeout: float | None = None) -> Any:
        """Its result, once it has ended. Raises the error that it failed with, by its class.

        Raises `WaitTimeout`, a `TimeoutError`, after `timeout` seconds, or those of the client. For
        so long a server that is away is asked again, without a limit as long as its `patience`.
        """
        return await self._connection.run(self._calls.wait(self.id, timeout))

    async def cancel(self) -> Record:
        """Call it off. Raises `Conflict` if it has ended otherwise."""
        return await self._connection.run(self._calls.cancel(self.id))

    async def retry(self) -> "AsyncHandle":
        """Have its input run once more, with its options, as a new prediction."""
        return AsyncHandle(self._connection, await self._connection.run(self._calls.retry(self.id)))

    async def delete(self) -> None:
        """Have it forgotten. Raises `Conflict` if it has not ended."""
        await self._connection.run(self._calls.delete(self.id))

    def events(self) -> AsyncIterator[Event]:
        """What happens to it, as it happens; the last event is its final `status`.

        After a `reset`, what came before counts no more: a lost run begins again.
        """
        return self._connection.follow(Following(self._calls, self.id))
