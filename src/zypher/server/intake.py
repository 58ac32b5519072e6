"""The way into the queue: from an admitted request to a prediction that was taken in."""

from fastapi import Request, Response

from zypher.brokers.base import Broker, ModelInfo
from zypher.errors import QueueFull
from zypher.prediction import Prediction, new_id
from zypher.server.answers import JSONText
from zypher.server.estimates import require_in_time, retry_after, room_after
from zypher.server.gate import caller_of
from zypher.server.headers import cancel_after, idempotency_key
from zypher.server.options import Allowance, Body, fingerprint
from zypher.server.rendering import ACCEPTED, accepted
from zypher.server.state import ServerState


class Intake:
    """Makes predictions of requests, submits them, and says where they are found."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._allowance = Allowance(state.settings)

    @property
    def _broker(self) -> Broker:
        return self._state.broker

    def prediction(
        self, body: Body, input: bytes, model: ModelInfo, request: Request
    ) -> Prediction:
        """What this request asks for. Raises `InvalidInput` or `InvalidHeader`."""
        if body.webhook is not None:
            self._state.webhooks.require(body.webhook)
        headers = request.headers
        key = idempotency_key(headers)
        return Prediction(
            id=new_id(),
            model=model.name,
            input=input,
            created=self._state.clock.wall(),
            signature=model.signature,
            owner=None if self._state.gate is None else caller_of(request).name,
            options=self._allowance.options(body, cancel_after(headers)),
            priority=body.lane,
            idempotency_key=key,
            fingerprint=None if key is None else fingerprint(model.name, body),
        )

    async def submit(self, prediction: Prediction, *, waits: bool) -> Prediction:
        """Have the broker take it in, and return its record, or the one that has its key already.

        `waits`: a caller does. Raises `QueueFull`, `IdempotencyMismatch` or `Unavailable`.
        """
        has_key = prediction.idempotency_key is not None
        keep = is_kept(prediction, waits=waits)
        if not has_key:  # a known one is taken in already
            await require_in_time(self._broker, prediction, waits=waits)
        try:
            return await self._broker.submit(prediction, keep=keep, waits=waits)
        except QueueFull as error:
            error.retry_after = await room_after(self._broker, prediction.model)
            raise

    async def accepted(
        self,
        prediction: Prediction,
        request: Request,
        message: str = ACCEPTED,
        *,
        is_newest: bool = False,
    ) -> Response:
        """The 202 for a prediction that goes on by itself."""
        seconds = await retry_after(
            self._broker, self._state.clock, prediction, is_newest=is_newest
        )
        return JSONText(
            accepted(prediction, message),
            status_code=202,
            headers={
                "Location": _location(request, prediction.id),
                "Retry-After": str(seconds),
                "X-Prediction-Id": prediction.id,
            },
        )


def is_kept(prediction: Prediction, *, waits: bool) -> bool:
    """True if it is kept from the start and after its end, whether its caller `waits` or not."""
    has_key = prediction.idempotency_key is not None
    return not waits or has_key or prediction.options.webhook is not None


def _location(request: Request, id: str) -> str:
    """Where a prediction of this request is found, whatever prefix the caller came through."""
    path: str = request.scope["path"]
    if "name" in request.path_params:
        path = path.removesuffix(f"/models/{request.path_params['name']}/predict") + "/predict"
    if "id" in request.path_params:
        path = path.removesuffix(f"/predictions/{request.path_params['id']}/retry") + "/predict"
    return f"{path}/{id}"
