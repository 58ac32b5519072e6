"""`/predict`: take a prediction in, answer with its outcome or its id, and find it again.

The way of one POST is `Predictions.predict`: the door, `submit`, `wait`, one of four answers.
An asynchronous prediction is a synchronous one that nobody waits for.
"""

from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from zypher.brokers.base import Broker, ModelInfo, Seen
from zypher.errors import Conflict, NotFound, PredictionError, Unavailable
from zypher.prediction import Prediction
from zypher.server import operations
from zypher.server.answers import JSONText
from zypher.server.connection import while_connected
from zypher.server.estimates import retry_after
from zypher.server.gate import Caller, caller_of, require_visible
from zypher.server.headers import prefers_events
from zypher.server.intake import Intake, Origin, is_kept
from zypher.server.preferences import Patience, patience_to_poll, patience_to_predict
from zypher.server.problems import problem, problem_with_id
from zypher.server.rendering import UNKNOWN, answered, polled
from zypher.server.state import Phase, ServerState
from zypher.server.streams import EventStream, follow

_FORGOTTEN = "The prediction was deleted, or expired, while this call waited for it."


class Predictions:
    """The prediction endpoints of one server."""

    def __init__(self, state: ServerState, intake: Intake) -> None:
        self._state = state
        self._settings = state.settings
        self._intake = intake

    @property
    def _broker(self) -> Broker:
        return self._state.broker

    def add_to(self, router: APIRouter) -> None:
        """Register the endpoints, also under the paths that older clients know."""
        router.add_api_route("/predict", self.predict, methods=["POST"], **operations.PREDICT)
        router.add_api_route("/predict/{id}", self.poll, methods=["GET"], **operations.POLL)
        hidden: dict[str, Any] = {"include_in_schema": False}
        router.add_api_route("/predictions/predict", self.predict, methods=["POST"], **hidden)
        router.add_api_route("/predictions/predict/{id}", self.poll, methods=["GET"], **hidden)
        own = operations.PREDICT | {"name": "predict_model"}
        router.add_api_route("/models/{name}/predict", self.predict, methods=["POST"], **own)

    async def predict(self, request: Request) -> Response:
        """Run the model on an input; answer with the result, its events, or an id to ask for it."""
        try:
            return await self._predicted(request)
        except PredictionError as error:
            self._intake.refused(error)
            raise

    async def _predicted(self, request: Request) -> Response:
        self._state.require_open()
        headers = request.headers
        patience = patience_to_predict(headers, self._settings.sync_timeout)
        wants_events = prefers_events(headers)
        if wants_events and patience.seconds:
            self._state.streams.of(caller_of(request).name).require_room()
        model = await self._state.model(request.path_params.get("name"))
        if model.name in self._state.paused and "idempotency-key" not in headers:
            raise self._state.out_of_service(model.name)
        body = await self._state.door.read(request)
        self._state.require_open()  # it may have taken a while
        prediction = self.admitted(body, model, Origin.of(headers, caller_of(request)))
        try:
            record = await self._intake.submit(prediction, waits=patience.seconds > 0)
        except Unavailable as error:  # whether it was taken in before is not known
            self._intake.refused(error)
            return problem_with_id(error, prediction.id)
        if not patience.seconds:
            is_newest = record.id == prediction.id
            response = await self._intake.accepted(record, request, is_newest=is_newest)
        elif wants_events:
            return await self._stream(record)
        else:
            response = await self._answer(record, patience, request)
        if patience.applied:
            response.headers.update(patience.headers)
        return response

    def admitted(self, body: bytes, model: ModelInfo, origin: Origin) -> Prediction:
        """What a whole request asks for. Raises `MalformedJSON` or `InvalidInput`."""
        asked, input = self._state.door.admit(body, model)
        return self._intake.prediction(asked, input, model, origin)

    async def poll(self, request: Request) -> Response:
        """Tell how a prediction stands; `Prefer: wait=N` waits for its end."""
        patience = patience_to_poll(request.headers, self._settings.sync_timeout)
        id = request.path_params["id"]
        if patience.seconds:
            await require_visible(self._broker, request, id)
        prediction = await self._broker.wait(id, patience.seconds)
        answer = self.standing(prediction, caller_of(request), patience, request.scope["path"])
        return answer if isinstance(answer, Response) else await answer

    def standing(
        self, prediction: Prediction | None, caller: Caller | None, patience: Patience, path: str
    ) -> Response | Awaitable[Response]:
        """How a prediction stands, for who asks at this path. Raises `NotFound`."""
        if prediction is None or not (caller is None or caller.sees(prediction)):
            raise NotFound(UNKNOWN)
        if not prediction.status.terminal:
            return self._unfinished(prediction, patience, path)
        return JSONText(polled(prediction, self._settings.compat), headers=patience.headers)

    async def _unfinished(self, prediction: Prediction, patience: Patience, path: str) -> Response:
        seconds = await retry_after(self._broker, self._state.clock, prediction)
        headers = {"Retry-After": str(seconds), "Location": path}
        return JSONText(
            polled(prediction, self._settings.compat),
            status_code=202,
            headers=patience.headers | headers,
        )

    async def _answer(
        self, prediction: Prediction, patience: Patience, request: Request
    ) -> Response:
        """The outcome, or a 202 if that takes longer than the caller is patient."""
        try:
            if self._state.tracing is None:
                record = await self._outcome(prediction.id, patience, request)
            else:
                with self._state.tracing.wait():
                    record = await self._outcome(prediction.id, patience, request)
        except PredictionError as error:  # it was taken in, and may go on
            return problem_with_id(error, prediction.id)
        return await self._told(record, patience, request)

    def concluded(self, record: Prediction) -> Response:
        """The answer for a final record."""
        if record.failure is not None:
            failure = record.failure
            id = {"X-Prediction-Id": record.id}
            return problem(failure.code, failure.detail, errors=failure.errors, headers=id)
        response = JSONText(answered(record))
        response.raw_headers.append((b"x-prediction-id", record.id.encode()))
        return response

    async def late(self, id: str, patience: Patience, request: Request) -> Response:
        """The answer for a caller whose patience is over."""
        try:
            record = await self._kept(id)
        except PredictionError as error:  # it was taken in, and may go on
            return problem_with_id(error, id)
        return await self._told(record, patience, request)

    async def _told(self, record: Prediction, patience: Patience, request: Request) -> Response:
        """The outcome, or a 202 for what is not finished yet."""
        if record.status.terminal:
            return self.concluded(record)
        self._broker.metrics.upgrades.count(record.model)
        why = f"Not finished within {patience.seconds:g} s."
        if self._state.phase is Phase.CLOSED:  # others go on with it
            why = "The server is shutting down."
        message = f"{why} Processing goes on asynchronously."
        return await self._intake.accepted(record, request, message)

    async def _outcome(self, id: str, patience: Patience, request: Request) -> Prediction:
        """The final record, or the one at the end of the caller's patience, once it is kept."""
        try:
            with while_connected(request.receive):
                record = await self._broker.wait(id, patience.seconds)
        except ClientDisconnect:
            await self._broker.abandon(id)
            raise
        if record is None or not record.status.terminal:
            return await self._kept(id)
        return record

    async def _kept(self, id: str) -> Prediction:
        """The record of what nobody waits for any more."""
        record = await self._broker.metrics.timed("keep", self._broker.keep(id))
        if record is None:
            raise NotFound(_FORGOTTEN)
        return record

    async def _stream(self, prediction: Prediction) -> Response:
        """What happens to it, as it happens."""
        news = await self._broker.watch(prediction.id, Seen(), timeout=0)
        if news is None:
            raise NotFound(_FORGOTTEN)
        return EventStream(
            self._state.streams.of(prediction.owner),
            follow(self._state, news, Seen()),
            delivered=partial(self._forget, prediction),
            hung_up=partial(self._broker.abandon, prediction.id),
            headers={"X-Prediction-Id": prediction.id},
        )

    async def _forget(self, prediction: Prediction) -> None:
        """Its stream has told all: it is gone, as any synchronous prediction that was not kept."""
        if not is_kept(prediction, waits=True):
            with suppress(Conflict, Unavailable):  # the stream ended with the server
                await self._broker.delete(prediction.id)
