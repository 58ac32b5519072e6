"""Why a broker refuses something: one sentence each, the same from every broker."""

from zypher.brokers.base import Limits
from zypher.errors import Conflict, IdempotencyMismatch, QueueFull, Unavailable
from zypher.prediction import Prediction


def too_many(model: str, limits: Limits, *, waits: bool) -> QueueFull:
    """As many predictions of a model wait as may."""
    return QueueFull(
        f"The queue of {model!r} is full: as many predictions wait as "
        f"max-queued ({limits.max_queued}) allows{_reserve(limits, waits)}."
    )


def too_many_of(owner: str, limits: Limits) -> QueueFull:
    """As many predictions of an owner wait as may."""
    return QueueFull(
        f"As many predictions of the API key {owner!r} wait as its max-queued "
        f"({limits.max_queued_of[owner]}) allows."
    )


def too_many_bytes(limits: Limits, *, waits: bool) -> QueueFull:
    """As many bytes wait as may."""
    return QueueFull(
        "The queue is full: as many bytes wait as "
        f"max-queued-bytes ({limits.max_queued_bytes}) allows{_reserve(limits, waits)}."
    )


def _reserve(limits: Limits, waits: bool) -> str:
    return "" if waits else f", less {limits.waiting_share:.0%} for callers who wait"


def share(limits: Limits, *, waits: bool) -> float:
    """The part of the limits that is there for one who waits, or does not."""
    return 1.0 if waits else 1.0 - limits.waiting_share


def another_request(key: str | None) -> IdempotencyMismatch:
    """An idempotency key is that of another request."""
    return IdempotencyMismatch(
        f"The idempotency key {key!r} was used for another request. "
        "Give each request a key of its own."
    )


def ended_already(record: Prediction) -> Conflict:
    """What has ended cannot be canceled."""
    return Conflict(f"The prediction has ended already: it is {record.status}.")


def not_ended() -> Conflict:
    """What has not ended cannot be deleted."""
    return Conflict("The prediction has not ended yet: cancel it first.")


def shutting_down() -> Unavailable:
    """The broker closes."""
    return Unavailable("The server is shutting down.")
