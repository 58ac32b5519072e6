"""What a webhook is told: that a prediction has ended, and its record."""

import msgspec

from zypher.prediction import Prediction
from zypher.server.records import full, timestamp


def message(record: Prediction) -> bytes:
    """The body of the call for a prediction that has ended."""
    return msgspec.json.encode(
        {
            "type": f"prediction.{record.status}",
            "timestamp": timestamp(record.finished),
            "data": msgspec.Raw(full(record)),
        }
    )
