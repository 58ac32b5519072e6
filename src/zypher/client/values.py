"""What a client gives to a server, and gets from it."""

from datetime import datetime
from typing import Any, Literal, TypedDict

import msgspec

Status = Literal["queued", "processing", "completed", "failed", "canceled"]
Priority = Literal["high", "normal", "low"]


class Options(TypedDict, total=False):
    """What can be asked for beside an input. Times are seconds; None is as if it were not there."""

    priority: Priority | None
    queue_timeout: float | None
    run_timeout: float | None
    deadline: float | None
    ttl: float | None
    retries: int | None
    webhook: str | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """How a prediction stands. A record in a list has neither `input` nor `result`.

    `error` is the sentence that says why it failed, `code` the name of that for programs.
    """

    id: str = msgspec.field(name="prediction_id")
    model: str
    status: Status
    priority: Priority
    options: dict[str, Any]
    attempt: int
    crashes: int
    retried: int
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    expires: datetime | None = None
    input: Any = None
    result: Any = None
    error: str | None = None
    code: str | None = None
    errors: list[dict[str, Any]] | None = None
    progress: dict[str, Any] | None = None
    logs: list[dict[str, Any]] = []
    log: list[str] | None = None
    traceparent: str | None = None
    owner: str | None = None
    retry_of: str | None = None
    queue_position: int | None = None
    estimated_wait: float | None = None

    @property
    def done(self) -> bool:
        """True once it has ended, in whatever way."""
        return is_final(self.status)


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a prediction: status, progress, output, log or reset."""

    type: str
    data: Any


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a server has, with the JSON Schemas of what it takes and returns."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None


def is_final(status: str) -> bool:
    """True for the states that never change again."""
    return status not in ("queued", "processing")
