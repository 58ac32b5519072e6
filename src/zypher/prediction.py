"""The prediction: one run of a model on one input, its record and its legal moves.

    queued ──▶ processing ──▶ completed | failed | canceled
       ▲            │
       └────────────┘  only when the run was lost or is to be repeated

A record is a value: every move returns a new one, and a move that the picture does not
show raises `IllegalMove`. Brokers store records and decide who may move them; what a move
means is decided here, once.
"""

import hashlib
import os
import sys
import time
import uuid
import zlib
from collections.abc import Sequence
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

    terminal: bool  # true for the states that never change again

    def __init__(self, value: str) -> None:
        self.terminal = value not in ("queued", "processing")


class Priority(IntEnum):
    """Which lane a prediction waits in; of each 13 claims they get 8, 4 and 1."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


# For what every move looks at: in Python 3.11, to name a member by its class is a call.
QUEUED, PROCESSING, COMPLETED, FAILED, CANCELED = Status
HIGH = Priority.HIGH


class IllegalMove(Exception):
    """A record was asked to make a move that its status does not allow."""


class Claim(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """A worker's right to one attempt at a prediction."""

    id: str
    attempt: int


class Options(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a client may ask for beside an input. Times are seconds; None sets no limit.

    The three clocks: `queue_timeout` runs until the first start, `run_timeout` during each run,
    `deadline` from the submission to the end.
    """

    queue_timeout: float | None = None
    run_timeout: float | None = None
    deadline: float | None = None
    ttl: float | None = None  # how long it is kept after its end, if not as long as others
    retries: int = 0  # how often it may run again because the model raised
    webhook: str | None = None

    @property
    def times_runs(self) -> bool:
        """True if a clock depends on when a run begins."""
        return self.queue_timeout is not None or self.run_timeout is not None


NO_OPTIONS = Options()


class Due(NamedTuple):
    """When a clock runs out, in seconds since the epoch, and the name of the clock."""

    at: float
    clock: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a prediction failed: a stable `code` and a sentence for a person.

    `log`: the last lines that the model wrote before, where they tell more.
    """

    code: str
    detail: str
    errors: list[dict[str, Any]] | None = None
    log: list[str] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended: `result` (JSON text) when it went well, else `failure`.

    `signature`: that of the model which refused the input, if that is why it failed.
    """

    result: bytes | None = None
    failure: Failure | None = None
    signature: str | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # no cycles: plain values
    """The record of a prediction. Times are seconds since the epoch."""

    id: str
    model: str
    input: bytes  # JSON text, exactly as the client sent it
    created: float
    signature: str | None = None  # of the model as it was when the input was admitted
    owner: str | None = None
    options: Options = NO_OPTIONS
    status: Status = Status.QUEUED
    result: bytes | None = None
    failure: Failure | None = None
    # The fencing token: grows by one at every claim and never falls.
    attempt: int = 0
    # Runs that died with their process; only these are limited.
    crashes: int = 0
    # After a crash in company: the most suspects that may share its next process.
    company: int | None = None
    # Runs that were repeated because the model raised, and when the next one may begin.
    retried: int = 0
    not_before: float | None = None
    # Runs in which a worker of another signature refused the input.
    misfits: int = 0
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
        """Bytes of its input: what it takes up while it waits."""
        return len(self.input)

    @property
    def took(self) -> float:
        """Seconds from its submission to its end."""
        assert self.finished is not None
        return max(0.0, self.finished - self.created)

    @property
    def due(self) -> Due | None:
        """The first of its clocks to run out if it stays in its present status."""
        options = self.options
        if options is NO_OPTIONS or self.status.terminal:
            return None
        clocks = []
        if options.deadline is not None:
            clocks.append(Due(self.created + options.deadline, "deadline"))
        if options.queue_timeout is not None and not self.attempt:
            clocks.append(Due(self.created + options.queue_timeout, "queue_timeout"))
        if options.run_timeout is not None and self.started is not None:
            clocks.append(Due(self.started + options.run_timeout, "run_timeout"))
        return min(clocks, default=None)

    def claimed(self, now: float) -> Self:
        """A worker takes it: a new attempt begins."""
        self._require(QUEUED)
        attempt = self.attempt + 1
        return replace(self, status=PROCESSING, attempt=attempt, started=now, not_before=None)

    def released(self) -> Self:
        """Its worker gives it back unharmed: nothing is charged."""
        self._require(PROCESSING)
        return replace(self, status=QUEUED, started=None)

    def crashed(
        self,
        now: float,
        ending: str,
        *,
        company: int,
        max_crashes: int,
        log: Sequence[str] = (),
    ) -> Self:
        """Its process died while `company` predictions ran there, this one among them.

        `ending` says how, as in "was killed by SIGKILL"; `log` has the last lines it wrote.
        Alone it is charged, and fails after `max_crashes`. In company nobody knows who did
        it: all are queued again uncharged, and may next share a process with half as many.
        """
        self._require(PROCESSING)
        if company > 1:
            return replace(self.released(), company=company // 2)
        crashes = self.crashes + 1
        if crashes < max_crashes:
            return replace(self.released(), crashes=crashes, company=1)
        failure = Failure(
            "model_crashed",
            f"The model's process died {crashes} times while it ran this prediction alone; "
            f"the last time, it {ending}.",
            log=list(log) or None,
        )
        return replace(self.ended(Outcome(failure=failure), now), crashes=crashes)

    def finished_with(self, outcome: Outcome, now: float) -> Self:
        """A run came to an end.

        What the model raised in it may be tried again, if asked for. An input that another
        signature refused than had admitted it goes on to other workers.
        """
        again = None
        if outcome.failure is not None:
            if outcome.failure.code == "model_error":
                again = self._retried(now)
            elif self._is_misfit(outcome):
                again = self._passed_on(now)
        return again or self.ended(outcome, now)

    def ended(self, outcome: Outcome, now: float) -> Self:
        """It came to an end, good or bad. Final."""
        self._require(QUEUED, PROCESSING)
        status = COMPLETED if outcome.failure is None else FAILED
        return replace(
            self, status=status, result=outcome.result, failure=outcome.failure, finished=now
        )

    def timed_out(self, now: float) -> Self:
        """The first of its clocks ran out. Final."""
        assert self.due is not None
        clock = self.due.clock
        limit = getattr(self.options, clock)
        failure = Failure(clock, _TIMED_OUT[clock].format(f"{clock} ({limit:g} s)"))
        return self.ended(Outcome(failure=failure), now)

    def canceled(self, now: float) -> Self:
        """Somebody called it off. Final."""
        self._require(QUEUED, PROCESSING)
        failure = Failure("canceled", "The prediction was canceled.")
        return replace(self, status=CANCELED, failure=failure, finished=now)

    def _retried(self, now: float) -> Self | None:
        """Queued for one more run, after a pause; None if it may not, or could not in time."""
        if self.retried >= self.options.retries:
            return None
        not_before = now + retry_delay(self.id, self.retried)
        return self._paused(not_before, retried=self.retried + 1)

    def _is_misfit(self, outcome: Outcome) -> bool:
        """True if its input was refused by another signature than the one that admitted it."""
        known = self.signature is not None and outcome.signature is not None
        return known and self.signature != outcome.signature

    def _passed_on(self, now: float) -> Self | None:
        """Queued for another worker, after a pause; None if it was often enough, or too late."""
        if self.misfits >= MOST_MISFITS:
            return None
        not_before = now + misfit_delay(self.id, self.misfits)
        return self._paused(not_before, misfits=self.misfits + 1)

    def _paused(self, not_before: float, **counted: int) -> Self | None:
        """Queued once more, but not before this time; None if a clock runs out until then."""
        again = replace(self.released(), not_before=not_before, **counted)
        return None if again.due is not None and again.due.at <= not_before else again

    def _require(self, *statuses: Status) -> None:
        if self.status not in statuses:
            raise IllegalMove(f"prediction {self.id} is {self.status}")


_TIMED_OUT = {
    "queue_timeout": "The prediction was not started within its {}.",
    "run_timeout": "The prediction ran longer than its {} and was stopped.",
    "deadline": "The prediction was not finished within its {} and was stopped.",
}

_LONGEST_DELAY = 60.0

_LONGEST_MISFIT_DELAY = 1.0

# So many that one of a few workers that can take an input gets it: which one does is chance.
MOST_MISFITS = 50


def retry_delay(id: str, retried: int) -> float:
    """Seconds between a failed run and the next: 1, 2, 4, ... up to a minute, less up to a half.

    The part that is taken off differs from id to id, so that those which failed together do not
    come back together.
    """
    return min(2.0**retried, _LONGEST_DELAY) * _jitter(id, retried)


def misfit_delay(id: str, misfits: int) -> float:
    """Seconds between the refusal of one worker and the next run: 1/4, 1/2, 1, 1, ...

    Less up to a half, as the pauses of retries. The next worker may well be one that takes it.
    """
    return min(2.0 ** (misfits - 2), _LONGEST_MISFIT_DELAY) * _jitter(id, misfits)


def _jitter(id: str, count: int) -> float:
    return 1 - zlib.crc32(f"{id}/{count}".encode()) / 2**33


def signature_of(input_schema: dict[str, Any]) -> str:
    """A short digest of what a model takes: the same wherever the schema is the same."""
    text = msgspec.json.encode(input_schema, order="sorted")
    return hashlib.sha256(text).hexdigest()[:16]


def new_id() -> str:
    """A UUID version 7 (RFC 9562 §5.7) that sorts by the time of its making.

    Its first 12 random bits are the fraction of the millisecond (§6.2, method 3), so that
    those made one after the other in one process sort so, too.
    """
    if sys.version_info >= (3, 14):
        return str(uuid.uuid7())
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = _random()
    variant = 0b10 << 14 | random >> 50
    return (
        f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{fraction:03x}"
        f"-{variant:04x}-{random & 0xFFFF_FFFF_FFFF:012x}"
    )


# Random numbers of 64 bits that nobody has used yet: to ask the system for each one takes longer
# than all else that an id does. A process that is forked does not use its parent's.
_unused: list[int] = []
os.register_at_fork(after_in_child=_unused.clear)


def _random() -> int:
    if not _unused:
        _unused.extend(memoryview(os.urandom(4096)).cast("Q"))
    return _unused.pop()
