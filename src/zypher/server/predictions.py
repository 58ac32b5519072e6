"""`/predict`: take a prediction in, answer with its outcome or its id, and find it again.

The way of one POST is `Predictions.predict`: the door, `submit`, `wait`, one of three answers.
An asynchronous prediction is a synchronous one that nobody waits for.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from zypher.brokers.base import Broker, ModelInfo
from zypher.errors import NotFound, QueueFull
from zypher.prediction import NO_OPTIONS, Options, Prediction, Status, new_id
from zypher.server import openapi
from zypher.server.door import Admitted
from zypher.server.estimates import retry_after, room_after
from zypher.server.preferences import Patience, patience_to_poll, patience_to_predict
from zypher.server.problems import problem
from zypher.server.rendering import ACCEPTED, accepted, answered, polled
from zypher.server.state import ServerState


class Predictions:
    """The prediction endpoints of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._settings = state.settings

    @property
    def _broker(self) -> Broker:
        return self._state.broker

    def add_to(self, router: APIRouter) -> None:
        """Register the endpoints, also under the paths that older clients know."""
        router.add_api_route("/predict", self.predict, methods=["POST"], **openapi.PREDICT)
        router.add_api_route("/predict/{id}", self.poll, methods=["GET"], **openapi.POLL)
        hidden: dict[str, Any] = {"include_in_schema": False}
        router.add_api_route("/predictions/predict", self.predict, methods=["POST"], **hidden)
        router.add_api_route("/predictions/predict/{id}", self.poll, methods=["GET"], **hidden)
        own = openapi.PREDICT | {"name": "predict_model"}
        router.add_api_route("/models/{name}/predict", self.predict, methods=["POST"], **own)

    async def predict(self, request: Request) -> Response:
        """Run the model on an input; answer with the result, or with an id to ask for it."""
        self._state.require_open()
        patience = patience_to_predict(request.headers, self._settings.sync_timeout)
        model = await self._state.model(request.path_params.get("name"))
        body = await self._state.door.read(request)
        self._state.require_open()  # it may have taken a while
        prediction = await self._submit(self._state.door.admit(body, model), model, patience)
        if patience.seconds:
            prediction = await self._outcome(prediction, patience)
        response = await self._answer(prediction, patience, request)
        response.headers["X-Prediction-Id"] = prediction.id
        response.headers.update(patience.headers)
        return response

    async def poll(self, request: Request) -> Response:
        """Tell how a prediction stands; `Prefer: wait=N` waits for its end."""
        patience = patience_to_poll(request.headers, self._settings.sync_timeout)
        prediction = await self._broker.wait(request.path_params["id"], patience.seconds)
        if prediction is None:
            raise NotFound("Prediction ID not found.")
        headers = patience.headers
        if not prediction.status.terminal:
            headers["Retry-After"] = await self._retry_after(prediction)
            headers["Location"] = request.scope["path"]
        return Response(
            polled(prediction, self._settings.compat),
            status_code=200 if prediction.status.terminal else 202,
            headers=headers,
            media_type="application/json",
        )

    async def _submit(self, asked: Admitted, model: ModelInfo, patience: Patience) -> Prediction:
        webhook = asked.webhook
        if webhook is not None:
            self._state.webhooks.require(webhook)
        prediction = Prediction(
            id=new_id(),
            model=model.name,
            input=asked.input,
            created=self._state.clock.wall(),
            options=NO_OPTIONS if webhook is None else Options(webhook=webhook),
        )
        waits = bool(patience.seconds)
        try:
            return await self._broker.submit(
                prediction, keep=not waits or webhook is not None, waits=waits
            )
        except QueueFull as error:
            error.retry_after = await room_after(self._broker, model.name)
            raise

    async def _outcome(self, prediction: Prediction, patience: Patience) -> Prediction:
        """The record once it is final; or, after the caller's patience, once it is kept."""
        record = await self._broker.wait(prediction.id, patience.seconds)
        if record is None or not record.status.terminal:
            record = await self._broker.keep(prediction.id)
        assert record is not None
        return record

    async def _answer(
        self, prediction: Prediction, patience: Patience, request: Request
    ) -> Response:
        if prediction.failure is not None:
            failure = prediction.failure
            return problem(failure.code, failure.detail, errors=failure.errors)
        if prediction.status is Status.COMPLETED:
            return Response(answered(prediction), media_type="application/json")
        message = ACCEPTED
        if patience.seconds:
            message = (
                f"Not finished within {patience.seconds:g} s. Processing goes on asynchronously."
            )
        return Response(
            accepted(prediction, message),
            status_code=202,
            headers={
                "Location": _location(request, prediction.id),
                "Retry-After": await self._retry_after(prediction),
            },
            media_type="application/json",
        )

    async def _retry_after(self, prediction: Prediction) -> str:
        return str(await retry_after(self._broker, self._state.clock, prediction))


def _location(request: Request, id: str) -> str:
    """Where the prediction of this POST is found, whatever prefix the caller came through."""
    path: str = request.scope["path"]
    if "name" in request.path_params:
        path = path.removesuffix(f"/models/{request.path_params['name']}/predict") + "/predict"
    return f"{path}/{id}"
