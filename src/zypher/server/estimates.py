"""When to ask again: arithmetic on the queue and the measured service time."""

import math

from zypher.brokers.base import Broker, ModelStats
from zypher.clock import Clock
from zypher.prediction import Prediction, Status

# The least to say before a model has finished once, in seconds.
_UNKNOWN = 5.0


async def retry_after(broker: Broker, clock: Clock, prediction: Prediction) -> int:
    """Whole seconds, at least 1, until this prediction is likely to be finished."""
    stats = (await broker.stats()).get(prediction.model, ModelStats())
    if stats.service_time is None:
        return _whole(max(_UNKNOWN, stats.oldest_processing_age))
    if prediction.status is Status.PROCESSING and prediction.started is not None:
        return _whole(stats.service_time - (clock.wall() - prediction.started))
    ahead = await broker.position(prediction.id) or 0
    rounds = (ahead + stats.processing) // await _slots(broker, prediction.model) + 1
    return _whole(rounds * stats.service_time)


async def room_after(broker: Broker, model: str) -> int:
    """Whole seconds, at least 1, until one more place in a full queue is likely to be free."""
    stats = (await broker.stats()).get(model, ModelStats())
    if stats.service_time is None:
        return _whole(max(_UNKNOWN, stats.oldest_processing_age))
    return _whole(stats.service_time / await _slots(broker, model))


async def _slots(broker: Broker, model: str) -> int:
    """How many predictions of a model run at once; at least 1, since one will be ready again."""
    workers = (await broker.workers()).values()
    return max(1, sum(w.replicas[model].slots for w in workers if model in w.replicas))


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
