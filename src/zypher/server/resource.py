"""`/predictions`: the whole record of a prediction, the list of them, and what is done to one."""

import base64
import binascii
from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from zypher.brokers.base import Broker, ModelInfo, Seen
from zypher.errors import Conflict, InvalidInput, NotFound, PredictionError
from zypher.prediction import Prediction, Status, new_id
from zypher.server import operations
from zypher.server.answers import JSONText
from zypher.server.estimates import expected_wait
from zypher.server.gate import caller_of, require_visible
from zypher.server.headers import idempotency_key, require_own_page, traceparent
from zypher.server.intake import Intake
from zypher.server.records import full, summary
from zypher.server.rendering import UNKNOWN
from zypher.server.state import ServerState
from zypher.server.streams import EventStream, follow, has_seen_the_end, last_seen
from zypher.server.validation import fault

_FILTERS = ("status", "model", "limit", "cursor")
_MOST = 200
_USUAL = 50


class Resource:
    """The endpoints for single predictions and the list of them."""

    def __init__(self, state: ServerState, intake: Intake) -> None:
        self._state = state
        self._intake = intake

    @property
    def _broker(self) -> Broker:
        return self._state.broker

    def add_to(self, router: APIRouter) -> None:
        """Register the endpoints; those of `Predictions` under the same path come before."""
        one = "/predictions/{id}"
        router.add_api_route("/predictions", self.list, methods=["GET"], **operations.LIST)
        router.add_api_route(one, self.get, methods=["GET"], **operations.GET)
        router.add_api_route(one, self.delete, methods=["DELETE"], **operations.DELETE)
        router.add_api_route(f"{one}/events", self.events, methods=["GET"], **operations.EVENTS)
        router.add_api_route(f"{one}/cancel", self.cancel, methods=["POST"], **operations.CANCEL)
        router.add_api_route(f"{one}/retry", self.retry, methods=["POST"], **operations.RETRY)

    async def list(self, request: Request) -> Response:
        """The newest predictions, without inputs and results."""
        query = request.query_params
        _require_known(query)
        cursor = _cursor(query.get("cursor"))
        page = await self._broker.list(
            status=_status(query),
            model=query.get("model"),
            owner=caller_of(request).only,
            limit=_limit(query),
            cursor=cursor,
        )
        body = {
            "predictions": [summary(record) for record in page.predictions],
            "cursor": page.cursor and base64.urlsafe_b64encode(page.cursor.encode()).decode(),
        }
        return JSONText(msgspec.json.encode(body))

    async def get(self, request: Request) -> Response:
        """All that is known of a prediction, with what its run told last."""
        news = await self._broker.watch(request.path_params["id"], Seen(), timeout=0)
        if news is None or not caller_of(request).sees(news.record):
            raise NotFound(UNKNOWN)
        outlook = await self._outlook(news.record)
        return JSONText(full(news.record, news.events, **outlook))

    async def delete(self, request: Request) -> Response:
        """Forget a prediction that has ended."""
        id = request.path_params["id"]
        await require_visible(self._broker, request, id)
        if not await self._broker.delete(id):
            raise NotFound(UNKNOWN)
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """What happens to a prediction, as it happens, until it has ended."""
        streams = self._state.streams.of(caller_of(request).name)
        streams.require_room()
        seen = last_seen(request.headers)
        news = await self._broker.watch(request.path_params["id"], seen, timeout=0)
        if news is None or not caller_of(request).sees(news.record):
            raise NotFound(UNKNOWN)
        if has_seen_the_end(seen, news.record):
            return Response(status_code=204)
        return EventStream(streams, follow(self._state, news, seen))

    async def cancel(self, request: Request) -> Response:
        """End a prediction that has not ended yet; one that runs is stopped."""
        require_own_page(request.headers, self._state.settings.cors_origins)
        id = request.path_params["id"]
        await require_visible(self._broker, request, id)
        record = await self._broker.cancel(id)
        if record is None:
            raise NotFound(UNKNOWN)
        return JSONText(full(record))

    async def retry(self, request: Request) -> Response:
        """Submit the input of a prediction that has ended once more, with the same options."""
        try:
            return await self._retried(request)
        except PredictionError as error:
            self._intake.refused(error)
            raise

    async def _retried(self, request: Request) -> Response:
        self._state.require_open()
        require_own_page(request.headers, self._state.settings.cors_origins)
        old = await self._broker.get(request.path_params["id"])
        if old is None or not caller_of(request).sees(old):
            raise NotFound(UNKNOWN)
        if not old.status.terminal:
            raise Conflict(f"The prediction has not ended yet: it is {old.status}.")
        model = await self._state.model(old.model)
        if model.name in self._state.paused and "idempotency-key" not in request.headers:
            raise self._state.out_of_service(model.name)
        self._state.door.check(old.input, model)
        again = self._again(old, model, request.headers)
        new = await self._intake.submit(again, waits=False)
        return await self._intake.accepted(new, request)

    def _again(self, old: Prediction, model: ModelInfo, headers: Headers) -> Prediction:
        """A new prediction of the same input, with the same options; a key makes it only one."""
        key = idempotency_key(headers)
        return Prediction(
            id=new_id(),
            model=old.model,
            input=old.input,
            created=self._state.clock.wall(),
            signature=model.signature,
            owner=old.owner,
            options=old.options,
            priority=old.priority,
            traceparent=traceparent(headers),
            retry_of=old.id,
            idempotency_key=key,
            fingerprint=None if key is None else f"retry of {old.id}".encode(),
        )

    async def _outlook(self, record: Prediction) -> Mapping[str, float]:
        """Where a queued prediction is in line, and when it may be its turn, if that is known."""
        position = await self._broker.position(record.id)
        if position is None:
            return {}
        wait = await expected_wait(self._broker, record.model, position)
        known = {} if wait is None else {"estimated_wait": round(wait, 3)}
        return {"queue_position": position, **known}


def _require_known(query: Mapping[str, str]) -> None:
    for name in query:
        if name not in _FILTERS:
            raise _wrong(name, f"is not known here; there are {', '.join(_FILTERS)}")


def _status(query: Mapping[str, str]) -> Status | None:
    status = query.get("status")
    if status is None:
        return None
    try:
        return Status(status)
    except ValueError:
        raise _wrong("status", f"is {status!r}; it can be {', '.join(Status)}") from None


def _limit(query: Mapping[str, str]) -> int:
    limit = query.get("limit", str(_USUAL))
    if limit.isascii() and limit.isdigit() and len(limit) < 10 and 1 <= int(limit) <= _MOST:
        return int(limit)
    raise _wrong("limit", f"is {limit!r}; it can be a number from 1 to {_MOST}")


def _cursor(given: str | None) -> str | None:
    """The broker's cursor in one that we gave out."""
    try:
        return None if given is None else base64.b64decode(given, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _wrong("cursor", "is none that a list of predictions had") from None


def _wrong(name: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"The parameter {name} {what}.", errors=[fault(["query", name], what, name)]
    )
