"""What a webhook is told: that a prediction has ended, and its record."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from zypher.prediction import Failure, Prediction


def message(record: Prediction) -> bytes:
    """The body of the call for a prediction that has ended."""
    return msgspec.json.encode(
        {
            "type": f"prediction.{record.status}",
            "timestamp": _time(record.finished),
            "data": {
                "prediction_id": record.id,
                "model": record.model,
                "status": record.status,
                "input": msgspec.Raw(record.input),
                "output": None if record.result is None else msgspec.Raw(record.result),
                **({} if record.failure is None else _failure(record.failure)),
                "attempt": record.attempt,
                "created": _time(record.created),
                "started": _time(record.started),
                "finished": _time(record.finished),
            },
        }
    )


def _failure(failure: Failure) -> dict[str, Any]:
    """As other answers tell of it."""
    members = {"error": failure.detail, "detail": failure.detail, "code": failure.code}
    return members if failure.errors is None else members | {"errors": failure.errors}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
