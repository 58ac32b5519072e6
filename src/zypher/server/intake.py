"""The way into the queue: from an admitted request to a prediction that was taken in."""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from time import perf_counter
from typing import NamedTuple, Self

from fastapi import Request, Response
from msgspec.structs import replace
from starlette.datastructures import Headers

from zypher.brokers.base import ModelInfo, Sent
from zypher.errors import PredictionError, QueueFull
from zypher.logs import about
from zypher.prediction import Prediction, new_id
from zypher.server.answers import JSONText
from zypher.server.estimates import (
    Arrivals,
    may_be_too_late,
    require_in_time,
    retry_after,
    room_after,
)
from zypher.server.gate import Caller
from zypher.server.headers import cancel_after, idempotency_key, traceparent
from zypher.server.options import Allowance, Body, fingerprint
from zypher.server.rendering import ACCEPTED, accepted
from zypher.server.state import ServerState
from zypher.tracing import traceparent_of

log = logging.getLogger("zypher.server")


class Origin(NamedTuple):
    """What the head of a request says of the prediction that it asks for."""

    owner: str | None = None
    traceparent: str | None = None
    idempotency_key: str | None = None
    cancel_after: float | None = None  # seconds

    @classmethod
    def of(cls, headers: Headers, caller: Caller | None) -> Self:
        """Of these headers, from this caller. Raises `InvalidHeader`."""
        return cls(
            owner=None if caller is None else caller.name,
            traceparent=traceparent(headers) if "traceparent" in headers else None,
            idempotency_key=idempotency_key(headers),
            cancel_after=cancel_after(headers),
        )


class Intake:
    """Makes predictions of requests, submits them, and says where they are found."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._allowance = Allowance(state.settings)
        self._arrivals = Arrivals(lambda: state.broker)

    def prediction(self, body: Body, input: bytes, model: ModelInfo, origin: Origin) -> Prediction:
        """What a request asks for. Raises `InvalidInput`."""
        if body.webhook is not None:
            self._state.webhooks.require(body.webhook)
        key = origin.idempotency_key
        return Prediction(
            id=new_id(),
            model=model.name,
            input=input,
            created=self._state.clock.wall(),
            signature=model.signature,
            owner=origin.owner,
            options=self._allowance.options(body, origin.cancel_after),
            priority=body.lane,
            traceparent=origin.traceparent,
            idempotency_key=key,
            fingerprint=None if key is None else fingerprint(model.name, body),
        )

    async def submit(self, prediction: Prediction, *, waits: bool) -> Prediction:
        """Have the broker take it in, and return its record, or the one that has its key already.

        `waits`: a caller does. Raises `QueueFull`, `IdempotencyMismatch` or `Unavailable`.
        """
        if self._state.tracing is None:
            record = await self._submitted(prediction, waits=waits)
        else:
            with self._state.tracing.submit(prediction) as span:
                prediction = replace(prediction, traceparent=traceparent_of(span))
                record = await self._submitted(prediction, waits=waits)
        if record.id == prediction.id:
            _note(record)
        return record

    def call(self, prediction: Prediction) -> Sent | None:
        """Have the broker take in what nobody keeps, and wait for its end.

        None, and nothing has happened, if that takes a task. Raises `QueueFull`.
        """
        if is_kept(prediction, waits=True) or may_be_too_late(prediction):
            return None
        begun = perf_counter()
        sent = self._state.broker.call(prediction)
        if sent is None:
            return None
        if sent.submitted is None:
            self._note_submission(prediction, begun)
        else:
            sent.submitted.add_done_callback(partial(self._note_submission, prediction, begun))
        return sent

    def _note_submission(
        self,
        prediction: Prediction,
        begun: float,
        submitted: asyncio.Future[Prediction] | None = None,
    ) -> None:
        self._state.broker.metrics.broker_seconds["submit",].observe(perf_counter() - begun)
        if submitted is None or submitted.exception() is None:
            _note(prediction)

    def take(self, prediction: Prediction) -> asyncio.Future[bool] | None:
        """Have the broker take in what nobody waits for; the future says if it is recorded.

        None, and nothing has happened, if that takes more than a moment. Raises `QueueFull`.
        """
        return None if may_be_too_late(prediction) else self._state.broker.take(prediction)

    def taken(self, prediction: Prediction, location: str) -> Response | Awaitable[Response]:
        """The 202 for one that was taken in just now."""
        _note(prediction)
        seconds = self._arrivals.at_hand(prediction)
        if seconds is None:
            return self._taken(prediction, location)
        return _accepted(prediction, location, seconds)

    async def _taken(self, prediction: Prediction, location: str) -> Response:
        return _accepted(prediction, location, await self._arrivals.retry_after(prediction))

    async def _submitted(self, prediction: Prediction, *, waits: bool) -> Prediction:
        broker = self._state.broker
        if prediction.idempotency_key is None:  # one that is known is taken in already
            await require_in_time(broker, prediction, waits=waits)
        keep = is_kept(prediction, waits=waits)
        submitted = broker.submit(prediction, keep=keep, waits=waits)
        try:
            return await broker.metrics.timed("submit", submitted)
        except QueueFull as error:
            await self.advise(error, prediction)
            raise

    async def advise(self, error: QueueFull, prediction: Prediction) -> None:
        """Say when to come back with what has found no room."""
        error.retry_after = await room_after(self._state.broker, prediction.model)

    def refused(self, error: PredictionError) -> None:
        """Count a call that asked for a prediction and got none."""
        self._state.note_refusal(error.code)

    async def accepted(
        self,
        prediction: Prediction,
        request: Request,
        message: str = ACCEPTED,
        *,
        is_newest: bool = False,
    ) -> Response:
        """The 202 for a prediction that goes on by itself."""
        if is_newest:
            seconds = await self._arrivals.retry_after(prediction)
        else:
            seconds = await retry_after(self._state.broker, self._state.clock, prediction)
        path, parameters = request.scope["path"], request.path_params
        location = place_of_predictions(path, parameters.get("name"), parameters.get("id"))
        return _accepted(prediction, location, seconds, message)


def is_kept(prediction: Prediction, *, waits: bool) -> bool:
    """True if it is kept from the start and after its end, whether its caller `waits` or not."""
    has_key = prediction.idempotency_key is not None
    return not waits or has_key or prediction.options.webhook is not None


def _note(record: Prediction) -> None:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("prediction %s is taken in", record.id, extra=about(record))


def _accepted(
    prediction: Prediction, location: str, seconds: int, message: str = ACCEPTED
) -> Response:
    return JSONText(
        accepted(prediction, message),
        status_code=202,
        headers={
            "Location": f"{location}/{prediction.id}",
            "Retry-After": str(seconds),
            "X-Prediction-Id": prediction.id,
        },
    )


def place_of_predictions(path: str, model: str | None, retried: str | None = None) -> str:
    """Where the predictions of a path are found, whatever prefix the caller came through.

    The path may name the model, or the prediction that is to be tried again.
    """
    if model is not None:
        path = path.removesuffix(f"/models/{model}/predict") + "/predict"
    if retried is not None:
        path = path.removesuffix(f"/predictions/{retried}/retry") + "/predict"
    return path
