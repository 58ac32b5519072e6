"""The bodies of answers. Inputs and results are JSON text already, and are put in as they are."""

from collections.abc import Callable
from typing import Any

import msgspec

from zypher.prediction import Prediction, Status

ACCEPTED = "Request received. Processing asynchronously."
UNKNOWN = "Prediction ID not found."


def answered(prediction: Prediction) -> bytes:
    """A synchronous call that was answered with the result."""
    assert prediction.result is not None
    # Not by `%`, which takes ten times as long over a megabyte.
    return b'{"input":' + prediction.input + b',"result":' + prediction.result + b"}"


def accepted(prediction: Prediction, message: str) -> bytes:
    """A call whose prediction goes on by itself."""
    return _join(message=message, prediction_id=prediction.id)


def polled(prediction: Prediction, compat: str | None) -> bytes:
    """What `GET /predict/{id}` says of a prediction, as the `compat` setting wants it."""
    if prediction.status is Status.COMPLETED:
        return (_background_finished if compat == "background" else _finished)(prediction)
    if prediction.status.terminal:
        return _failed(prediction)
    return _UNFINISHED[compat](prediction)


def _finished(prediction: Prediction) -> bytes:
    output = _join(input=prediction.input, result=prediction.result)
    return _join(prediction_id=prediction.id, status=prediction.status, output=output)


def _background_finished(prediction: Prediction) -> bytes:
    output = _join(input=prediction.input, result=prediction.result, status=prediction.status)
    return _join(prediction_id=prediction.id, status=prediction.status, output=output)


def _failed(prediction: Prediction) -> bytes:
    assert prediction.failure is not None
    failure = prediction.failure
    return _join(
        prediction_id=prediction.id,
        status=prediction.status,
        error=failure.detail,
        detail=failure.detail,
        code=failure.code,
        **({} if failure.errors is None else {"errors": failure.errors}),
    )


def _unfinished(prediction: Prediction) -> bytes:
    return _join(
        prediction_id=prediction.id,
        status=prediction.status,
        error="Prediction is still being processed.",
        detail="Prediction is still processing.",
    )


def _streams_unfinished(prediction: Prediction) -> bytes:
    output = _join(input=prediction.input, result="processing")
    return _join(prediction_id=prediction.id, output=output)


def _background_unfinished(prediction: Prediction) -> bytes:
    return _join(detail="Prediction is still processing.")


_UNFINISHED: dict[str | None, Callable[[Prediction], bytes]] = {
    None: _unfinished,
    "streams": _streams_unfinished,
    "background": _background_unfinished,
}


def _join(**members: Any) -> bytes:
    """An object of these members; bytes are JSON text and stay as they are."""
    return msgspec.json.encode(
        {
            name: msgspec.Raw(value) if isinstance(value, bytes) else value
            for name, value in members.items()
        }
    )
