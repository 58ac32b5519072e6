"""The prediction: one run of a model on one input, its record and its legal moves.

    queued ──▶ processing ──▶ completed | failed | canceled
       ▲            │
       └────────────┘  only when the run was lost

A record is a value: every move returns a new one, and a move that the picture does not
show raises `IllegalMove`. Brokers store records and decide who may move them; what a move
means is decided here, once.
"""

import os
import sys
import time
import uuid
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import replace


class Status(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """True for the states that never change again."""
        return self not in (Status.QUEUED, Status.PROCESSING)


class Priority(IntEnum):
    """Which lane a prediction waits in; of each 13 claims they get 8, 4 and 1."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class IllegalMove(Exception):
    """A record was asked to make a move that its status does not allow."""


class Claim(NamedTuple):
    """A worker's right to one attempt at a prediction."""

    id: str
    attempt: int


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a prediction failed: a stable `code` and a sentence for a person."""

    code: str
    detail: str
    errors: list[dict[str, Any]] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended: `result` (JSON text) when it went well, else `failure`."""

    result: bytes | None = None
    failure: Failure | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # no cycles: plain values
    """The record of a prediction. Times are seconds since the epoch."""

    id: str
    model: str
    input: bytes  # JSON text, exactly as the client sent it
    created: float
    owner: str | None = None
    options: bytes = b"{}"
    status: Status = Status.QUEUED
    result: bytes | None = None
    failure: Failure | None = None
    # The fencing token: grows by one at every claim and never falls.
    attempt: int = 0
    # Runs that died with their process; only these are limited.
    crashes: int = 0
    # After a crash in company: the most suspects that may share its next process.
    company: int | None = None
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    priority: Priority = Priority.NORMAL
    traceparent: str | None = None
    retry_of: str | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None

    @property
    def claim(self) -> Claim:
        """The right to its latest attempt."""
        return Claim(self.id, self.attempt)

    @property
    def size(self) -> int:
        """Bytes of its input and options: what it takes up while it waits."""
        return len(self.input) + len(self.options)

    def claimed(self, now: float) -> Self:
        """A worker takes it: a new attempt begins."""
        self._require(Status.QUEUED)
        return replace(self, status=Status.PROCESSING, attempt=self.attempt + 1, started=now)

    def released(self) -> Self:
        """Its worker gives it back unharmed: nothing is charged."""
        self._require(Status.PROCESSING)
        return replace(self, status=Status.QUEUED, started=None)

    def crashed(self, now: float, ending: str, *, company: int, max_crashes: int) -> Self:
        """Its process died while `company` predictions ran there, this one among them.

        `ending` says how, as in "was killed by SIGKILL".
        Alone it is charged, and fails after `max_crashes`. In company nobody knows who did
        it: all are queued again uncharged, and may next share a process with half as many.
        """
        self._require(Status.PROCESSING)
        if company > 1:
            return replace(self.released(), company=company // 2)
        crashes = self.crashes + 1
        if crashes < max_crashes:
            return replace(self.released(), crashes=crashes, company=1)
        failure = Failure(
            "model_crashed",
            f"The model's process died {crashes} times while it ran this prediction alone; "
            f"the last time, it {ending}.",
        )
        return replace(self.ended(Outcome(failure=failure), now), crashes=crashes)

    def ended(self, outcome: Outcome, now: float) -> Self:
        """Its run came to an end, good or bad. Final."""
        self._require(Status.QUEUED, Status.PROCESSING)
        status = Status.COMPLETED if outcome.failure is None else Status.FAILED
        return replace(
            self, status=status, result=outcome.result, failure=outcome.failure, finished=now
        )

    def canceled(self, now: float) -> Self:
        """Somebody called it off. Final."""
        self._require(Status.QUEUED, Status.PROCESSING)
        failure = Failure("canceled", "The prediction was canceled.")
        return replace(self, status=Status.CANCELED, failure=failure, finished=now)

    def _require(self, *statuses: Status) -> None:
        if self.status not in statuses:
            raise IllegalMove(f"prediction {self.id} is {self.status}")


def new_id() -> str:
    """A UUID version 7 (RFC 9562 §5.7) that sorts by the time of its making.

    Its first 12 random bits are the fraction of the millisecond (§6.2, method 3), so that
    those made one after the other in one process sort so, too.
    """
    if sys.version_info >= (3, 14):
        return str(uuid.uuid7())
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    version, variant = 0x7, 0b10
    value = milliseconds << 80 | version << 76 | fraction << 64 | variant << 62 | random
    return str(uuid.UUID(int=value))
