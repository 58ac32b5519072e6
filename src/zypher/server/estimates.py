"""How long it will take: arithmetic on the queue and the measured service time."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from zypher.brokers.base import Broker, ModelStats, Overview
from zypher.brokers.lanes import claims_before
from zypher.clock import Clock
from zypher.errors import QueueFull, Unavailable
from zypher.prediction import Prediction, Priority, Status

# How long advice may take, in seconds.
_HASTE = 0.5

# The least to say before a model has finished once, in seconds.
UNKNOWN = 5


async def retry_after(broker: Broker, clock: Clock, prediction: Prediction) -> int:
    """Whole seconds, at least 1, until this prediction is likely to be finished."""
    if prediction.status.terminal:
        return 1
    return await _at_once(_until_finished(broker, clock, prediction))


async def _until_finished(broker: Broker, clock: Clock, prediction: Prediction) -> int:
    stats, slots = _situation(await broker.overview(), prediction.model)
    if stats.service_time is None:
        return _whole(max(UNKNOWN, stats.oldest_processing_age))
    if prediction.status is Status.PROCESSING and prediction.started is not None:
        return _whole(stats.service_time - (clock.wall() - prediction.started))
    before = await broker.position(prediction.id) or 0
    wait = _wait(before, stats, stats.service_time, slots)
    return _whole(wait + stats.service_time)


class Arrivals:
    """How long it takes until what has just been taken in is likely to be finished.

    It is behind all others of its lane: nobody has to look for its place. Of many that come
    together, where the broker has the answer at hand, only the first of a lane has it worked out.
    """

    def __init__(self, broker: Callable[[], Broker]) -> None:
        self._broker = broker  # another one, each time that the server starts
        self._overview: Overview | None = None
        self._known: dict[tuple[str, Priority], int] = {}  # by that overview

    async def retry_after(self, prediction: Prediction) -> int:
        """Whole seconds, at least 1."""
        seconds = self.at_hand(prediction)
        if seconds is None:
            seconds = await _at_once(self._asked(prediction.model, prediction.priority))
        return seconds

    def at_hand(self, prediction: Prediction) -> int | None:
        """The same, unless others have to be asked for it."""
        model, lane = prediction.model, prediction.priority
        overview = self._broker().glance()
        if overview is None:
            return None
        if overview is not self._overview:
            self._overview, self._known = overview, {}
        if (model, lane) not in self._known:
            self._known[model, lane] = _until_last(lane, *_situation(overview, model))
        return self._known[model, lane]

    async def _asked(self, model: str, lane: Priority) -> int:
        return _until_last(lane, *_situation(await self._broker().overview(), model))


def _until_last(lane: Priority, stats: ModelStats, slots: int) -> int:
    """Whole seconds until the last one of a lane is likely to be finished."""
    if stats.service_time is None:
        return _whole(max(UNKNOWN, stats.oldest_processing_age))
    before = claims_before(lane, max(0, stats.waiting[lane] - 1), stats.waiting)
    return _whole(_wait(before, stats, stats.service_time, slots) + stats.service_time)


async def room_after(broker: Broker, model: str) -> int:
    """Whole seconds, at least 1, until one more place in a full queue is likely to be free."""
    return await _at_once(_until_room(broker, model))


async def _until_room(broker: Broker, model: str) -> int:
    stats, slots = _situation(await broker.overview(), model)
    if stats.service_time is None:
        return _whole(max(UNKNOWN, stats.oldest_processing_age))
    return _whole(stats.service_time / slots)


async def _at_once(advice: Awaitable[int]) -> int:
    """Advice to come back; nobody has to wait for it if the broker does not tell it at once."""
    try:
        async with asyncio.timeout(_HASTE):
            return await advice
    except (TimeoutError, Unavailable):
        return _whole(UNKNOWN)


async def expected_wait(broker: Broker, model: str, position: int) -> float | None:
    """Seconds until what has this position is likely to start.

    None if nobody can know yet: before a service time was measured.
    """
    stats, slots = _situation(await broker.overview(), model)
    if stats.service_time is None:
        return None
    return _wait(position, stats, stats.service_time, slots)


def may_be_too_late(prediction: Prediction) -> bool:
    """True if it has a clock that could run out before it has a result."""
    options = prediction.options
    return options.queue_timeout is not None or options.deadline is not None


async def require_in_time(broker: Broker, prediction: Prediction, *, waits: bool) -> None:
    """Refuse what its `queue_timeout` or `deadline` would end before it had a result.

    Raises `QueueFull`. What nobody can know yet, before a service time was measured, is taken in.
    """
    if not may_be_too_late(prediction):
        return
    queue_timeout, deadline = prediction.options.queue_timeout, prediction.options.deadline
    stats, slots = _situation(await broker.overview(), prediction.model)
    if stats.service_time is None:
        return
    lane = Priority.HIGH if waits else prediction.priority
    before = claims_before(lane, stats.waiting[lane], stats.waiting)
    wait = _wait(before, stats, stats.service_time, slots)
    if queue_timeout is not None and wait > queue_timeout:
        raise QueueFull(
            f"It would start in about {wait:.3g} s, and its queue_timeout is {queue_timeout:g} s.",
            retry_after=_whole(wait - queue_timeout),
        )
    end = wait + stats.service_time
    # What can start at once is taken in: others may take longer than it does, and if it was
    # refused, nothing would ever be measured that says so.
    if deadline is not None and wait and end > deadline:
        raise QueueFull(
            f"It would be finished in about {end:.3g} s, and its deadline is {deadline:g} s.",
            retry_after=_whole(min(wait, end - deadline)),
        )


def _wait(before: int, stats: ModelStats, service_time: float, slots: int) -> float:
    """Seconds until a slot is free for what comes after `before` others.

    The slots take one after the other, evenly spread; what has run longest is the next to end.
    """
    ends_before = before + stats.processing - slots
    if ends_before < 0:
        return 0.0
    pace = service_time / slots
    next_end = max(0.0, service_time - stats.oldest_processing_age)
    return ends_before * pace + min(pace, next_end)


def _situation(overview: Overview, model: str) -> tuple[ModelStats, int]:
    """The queue of a model, and how many of its predictions run at once.

    That is at least 1, since one will be ready again.
    """
    stats, workers = overview
    counts = (w.replicas[model].slots for w in workers.values() if model in w.replicas)
    return stats.get(model, ModelStats()), max(1, sum(counts))


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
