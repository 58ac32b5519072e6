"""A server in this process, whose worker is the test: it claims, publishes and finishes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI
from starlette.types import Message

from zypher.brokers import Limits
from zypher.brokers.base import Broker, Event, ModelInfo, ReplicaCounts, WorkerInfo
from zypher.brokers.memory import MemoryBroker
from zypher.prediction import Claim, Failure, Outcome, Prediction
from zypher.server import Phase, ServerState, build_app
from zypher.settings import Settings
from zypher.testing.clock import ManualClock

PATIENCE = 10.0
TEXT = {"type": "string"}
EVENTS = {"Accept": "text/event-stream"}


@asynccontextmanager
async def _no_lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


class Service:
    """A server with the model `m`, which takes text, one slot, and a clock moved by hand."""

    def __init__(
        self, broker: Callable[[Limits, ManualClock], Broker] = MemoryBroker, **settings: Any
    ) -> None:
        self.clock = ManualClock()
        self.broker = broker(Limits(), self.clock)
        self.state = ServerState(self.broker, Settings(**settings), self.clock)
        self.app = build_app(self.state, _no_lifespan)
        self.client = self.client_of(self.app)

    @staticmethod
    def client_of(app: FastAPI) -> httpx2.AsyncClient:
        """A client of an application in this process."""
        transport = httpx2.ASGITransport(app)
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def start(self) -> None:
        await self.broker.start()
        await self.broker.register_model(ModelInfo(name="m", description="", input_schema=TEXT))
        replicas = {"m": ReplicaCounts(ready=1, slots=1)}
        await self.broker.register_worker(
            WorkerInfo(id="w", host="h", pid=1, replicas=replicas, stale_outcomes=2)
        )
        await self.state.learn()
        self.state.phase = Phase.OPEN

    async def stop(self) -> None:
        await self.client.aclose()
        await self.broker.aclose()

    # As a client.

    async def predict(
        self, input: object = "x", headers: dict[str, str] | None = None, **options: Any
    ) -> httpx2.Response:
        """POST an input with options beside it."""
        return await self.client.post("/predict", json={"input": input} | options, headers=headers)

    async def submit(self, headers: dict[str, str] | None = None, **options: Any) -> str:
        """The id of an asynchronous prediction."""
        mode = {"Async-Mode": "true"} | (headers or {})
        response = await self.predict(headers=mode, **options)
        assert response.status_code == 202, response.text
        return str(response.json()["prediction_id"])

    async def record(self, id: str) -> Prediction:
        """What the broker knows of a prediction."""
        record = await self.broker.get(id)
        assert record is not None
        return record

    # As the worker.

    async def claim(self) -> Prediction:
        """The next prediction to run, which may still have to come."""
        (claimed,) = await self.broker.claim("w", "m", limit=1, timeout=PATIENCE)
        return claimed

    async def tell(self, claim: Claim, type: str, data: object) -> None:
        """Publish an event of a run."""
        await self.broker.publish([(claim, Event(type, json.dumps(data).encode()))])

    async def finish(self, claim: Claim, result: object = "done") -> None:
        """End a run well."""
        assert not await self.broker.finish([(claim, Outcome(json.dumps(result).encode()))])

    async def fail(self, claim: Claim) -> None:
        """End a run badly."""
        failure = Failure("model_error", "The model raised ValueError: no.", log=["so far so good"])
        assert not await self.broker.finish([(claim, Outcome(failure=failure))])

    async def run(self, seconds: float = 0.0) -> Prediction:
        """Claim the next prediction and end it well, after so long."""
        claimed = await self.claim()
        self.clock.advance(seconds)
        await self.finish(claimed.claim)
        return claimed


class Call:
    """One request of which the test decides when its answer is read and when it is hung up."""

    def __init__(
        self,
        app: FastAPI,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        root: str = "",
    ) -> None:
        names = {"Host": "127.0.0.1", "Content-Type": "application/json"} | (headers or {})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "root_path": root,
            "query_string": b"",
            "headers": [(k.lower().encode(), v.encode()) for k, v in names.items()],
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self._to_read: asyncio.Queue[Message] = asyncio.Queue(1)
        self._requests: asyncio.Queue[Message] = asyncio.Queue()
        self._requests.put_nowait({"type": "http.request", "body": body})
        self._is_gone = False
        self.done = asyncio.create_task(app(scope, self._requests.get, self._send))

    @classmethod
    def predict(cls, app: FastAPI, path: str = "/predict", **headers: str) -> "Call":
        """A POST of an input."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(app, "POST", path, names, b'{"input": "x"}')

    async def hang_up(self) -> None:
        """Be gone, and wait until the server is done with this request."""
        self._is_gone = True
        self._requests.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(PATIENCE):
            await self.done

    async def begin(self) -> None:
        """Read the head of the answer."""
        message = await self._read()
        self.status = message["status"]
        self.headers = {k.decode(): v.decode() for k, v in message["headers"]}

    async def event(self) -> dict[str, str]:
        """Read the next event; a comment is one, too, and the end is none."""
        if not self.status:
            await self.begin()
        (event,) = events_of((await self._read())["body"].decode()) or [{}]
        return event

    async def _send(self, message: Message) -> None:
        if not self._is_gone:  # as servers do: what nobody reads is dropped
            await self._to_read.put(message)

    async def _read(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await self._to_read.get()


def events_of(text: str) -> list[dict[str, str]]:
    """The server-sent events of a stream, each by its fields."""
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(_field(line) for line in block.split("\n")) for block in blocks]


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name or "comment", value.strip()
