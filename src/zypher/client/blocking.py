"""The client for code that blocks."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, Unpack, cast

import httpx2

from zypher.client.answers import Reply
from zypher.client.calls import DEFAULT_URL, PATIENCE, Calls, Steps
from zypher.client.following import Following, has_events
from zypher.client.http import arguments, client_options
from zypher.client.listing import Listing
from zypher.client.mapping import check_concurrency, map_in_threads
from zypher.client.requests import Request
from zypher.client.values import Event, Model, Options, Record, Status

T = TypeVar("T")

_Models = list[Model]


class Connection:
    """Makes calls over HTTP, from any number of threads."""

    def __init__(
        self, calls: Calls, headers: Mapping[str, str] | None, api_key: str | None
    ) -> None:
        self.calls = calls
        self._http = httpx2.Client(**client_options(calls.url, headers, api_key))

    def run(self, steps: Steps[T]) -> T:
        """Make a call."""
        try:
            request = next(steps)
            while True:
                time.sleep(request.pause)
                request = steps.send(self._reply(request))
        except StopIteration as end:
            return cast("T", end.value)

    def follow(self, following: Following) -> Iterator[Event]:
        """The events of a prediction."""
        while not following.has_ended:
            request = following.request
            time.sleep(request.pause)
            try:
                with self._http.stream(**arguments(request)) as response:
                    if not has_events(response):
                        response.read()
                        following.refused(response)
                        continue
                    for sent in httpx2.EventSource(response, max_event_size=None):
                        yield from following.told(sent)
                following.stopped()
            except httpx2.TransportError as error:
                following.broke(error)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _reply(self, request: Request) -> Reply:
        try:
            return self._http.request(**arguments(request))
        except httpx2.TransportError as error:
            return error


class Client:
    """Asks the server at `url` for predictions. It can be used from several threads.

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
        self._connection = Connection(Calls(url, timeout, patience), headers, api_key)
        self._calls = self._connection.calls

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._calls.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def predict(
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
        return self._connection.run(steps)

    def submit(
        self,
        input: Any,
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> "Handle":
        """Have an input predicted, without waiting. By default with a fresh `idempotency_key`."""
        return self.handle(
            self._connection.run(self._calls.submit(input, model, idempotency_key, options))
        )

    def map(
        self,
        inputs: Iterable[Any],
        *,
        concurrency: int = 16,
        model: str | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Any]:
        """The results of many inputs, in order; so many are predicted at once.

        Inputs are taken as results are, and a full queue is waited for. The first error is raised
        in its place, and nothing new is begun then.

        Raises `ValueError` for a `concurrency` under 1.
        """
        check_concurrency(concurrency)

        def call(input: Any) -> Any:
            steps = self._calls.predict(input, model, None, options, awaits_room=True)
            return self._connection.run(steps)

        return map_in_threads(call, inputs, concurrency)

    def handle(self, id: str) -> "Handle":
        """The prediction with this id. Nothing is asked of the server."""
        return Handle(self._connection, id)

    def models(self) -> _Models:
        """The models that the server has, the default one first."""
        return self._connection.run(self._calls.models())

    def stats(self) -> dict[str, Any]:
        """What waits, runs and has ended of each model, and who works on it."""
        return self._connection.run(self._calls.statistics())

    def ready(self) -> dict[str, Any]:
        """How the server stands: `status` is ready, or why not. It is asked once."""
        return self._connection.run(self._calls.readiness())

    def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """The predictions that the server has, the newest first."""
        listing = Listing(self._calls, status, model, limit)
        while listing.is_more:
            yield from self._connection.run(listing.page())


class Handle:
    """One prediction of a server, by its `id`."""

    def __init__(self, connection: Connection, id: str) -> None:
        self.id = id
        self._connection = connection
        self._calls = connection.calls

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def get(self) -> Record:
        """How it stands. Raises `NotFound` if the server does not know it (any more)."""
        return self._connection.run(self._calls.get(self.id))

    def wait(self, timeout: float | None = None) -> Any:
        """Its result, once it has ended. Raises the error that it failed with, by its class.

        Raises `WaitTimeout`, a `TimeoutError`, after `timeout` seconds, or those of the client. For
        so long a server that is away is asked again, without a limit as long as its `patience`.
        """
        return self._connection.run(self._calls.wait(self.id, timeout))

    def cancel(self) -> Record:
        """Call it off. Raises `Conflict` if it has ended otherwise."""
        return self._connection.run(self._calls.cancel(self.id))

    def retry(self) -> "Handle":
        """Have its input run once more, with its options, as a new prediction."""
        return Handle(self._connection, self._connection.run(self._calls.retry(self.id)))

    def delete(self) -> None:
        """Have it forgotten. Raises `Conflict` if it has not ended."""
        self._connection.run(self._calls.delete(self.id))

    def events(self) -> Iterator[Event]:
        """What happens to it, as it happens; the last event is its final `status`.

        After a `reset`, what came before counts no more: a lost run begins again.
        """
        return self._connection.follow(Following(self._calls, self.id))
