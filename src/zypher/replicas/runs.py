"""One call of predict, as the model sees it (`zypher.current()`) and as the replica does."""

import asyncio
import re
from collections.abc import Iterable
from typing import Any, Protocol, TextIO

import msgspec

from zypher import tracing
from zypher.logs import ids_of
from zypher.model.current import CurrentPrediction, running
from zypher.prediction import Claim
from zypher.replicas.frames import Told, sendable
from zypher.replicas.lines import LONGEST, MOST_NAMED, Line

_LONGEST_LINE = 4_000
_LINE_END = re.compile(r"[\r\n]")


class Listener(Protocol):
    """Who is told what runs tell: in a replica, the parent at the other end of the channel."""

    def poll(self) -> None:
        """Take in what has arrived for the runs."""

    def offer(self, told: Told) -> None:
        """Take what a run tells, or drop it."""

    def note(self, line: Line) -> None:
        """Take a line of the log."""


class Run(CurrentPrediction):
    """The run of one prediction."""

    __slots__ = (
        *("_deadline", "_listener", "_task", "_traceparent", "_unfinished"),
        *("claims", "withdrawn"),
    )

    def __init__(
        self,
        claims: list[Claim],
        deadline: float | None,
        listener: Listener,
        traceparent: str | None = None,
    ) -> None:
        self.claims = claims
        self.withdrawn = False
        self._deadline = deadline
        self._listener = listener
        self._traceparent = traceparent
        self._task: asyncio.Task[None] | None = None
        self._unfinished: dict[TextIO, str] | None = None  # lines, by the stream they go to

    # For the model.

    @property
    def id(self) -> str:
        return self.claims[0].id

    @property
    def attempt(self) -> int:
        return self.claims[0].attempt

    @property
    def deadline(self) -> float | None:
        return self._deadline

    @property
    def traceparent(self) -> str | None:
        return self._traceparent

    @property
    def cancelled(self) -> bool:
        if not self.withdrawn:
            self._listener.poll()
        return self.withdrawn

    def progress(self, fraction: float, text: str = "") -> None:
        bounded = min(1.0, max(0.0, float(fraction)))
        self._tell("progress", {"fraction": bounded, "text": sendable(str(text))})

    def log(self, text: str) -> None:
        self._write(str(text).splitlines())

    # For the replica.

    def begin(self, *, interruptible: bool) -> None:
        """The call begins in this task. Raises CancelledError if nobody wants it any more."""
        if self.withdrawn:
            raise asyncio.CancelledError
        running.set(self)
        tracing.attach(self._traceparent)
        if interruptible:
            self._task = asyncio.current_task()

    def end(self) -> None:
        """The call has ended."""
        if self._unfinished:
            self._write(list(self._unfinished.values()))  # a thread of the run may print still

    def withdraw(self, claim: Claim) -> None:
        """Nobody wants the outcome of this claim any more."""
        if not self.withdrawn:
            self.withdrawn = True
            if self._task is not None:
                # Not at once: the run itself may have come upon this, and be about to return.
                asyncio.get_running_loop().call_soon(self._task.cancel)

    def yielded(self, part: bytes) -> None:
        """The model yielded a part of its result, this JSON text."""
        self._listener.offer(Told(self.claims, "output", part))

    def printed(self, text: str, stream: TextIO) -> None:
        """The model wrote this to a stream."""
        if self._unfinished is None:
            self._unfinished = {}
        *lines, rest = _LINE_END.split(self._unfinished.pop(stream, "") + text)
        if rest:
            self._unfinished[stream] = rest[:_LONGEST_LINE]
        self._write(lines)

    def logged(self, text: str, level: str, logger: str) -> None:
        """The model logged this, by `logging`."""
        self._listener.note(self._line(text, level=level, logger=logger))
        self._tell_lines(text.splitlines())

    def raised(self, claim: Claim, report: str) -> None:
        """The model raised, which ends the run for this claim; `report` is the user's traceback."""
        line = self._line(report.rstrip(), level="ERROR", code="model_error")
        if len(self.claims) > 1:
            line = Line(line.text, line.level, None, claim.id, claim.attempt, code=line.code)
        self._listener.note(line)
        self._tell_lines(f"prediction {claim.id}: {report}".splitlines())

    def _write(self, lines: Iterable[str]) -> None:
        """A line each, in the log and to those who follow."""
        for line in lines:
            if line:
                text = sendable(line[:_LONGEST_LINE])
                self._listener.note(self._line(text))
                self._tell("log", {"text": text})

    def _line(self, text: str, **fields: Any) -> Line:
        """An event of the log that is about this run."""
        if len(self.claims) > 1:
            ids = [claim.id for claim in self.claims[:MOST_NAMED]]
            whose: dict[str, Any] = {"predictions": ids, "batch_size": len(self.claims)}
        else:
            claim = self.claims[0]
            traced = ids_of(self._traceparent)
            whose = {"prediction": claim.id, "attempt": claim.attempt, **traced}
        return Line(text[-LONGEST:], **whose, **fields)

    def _tell_lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line:
                self._tell("log", {"text": sendable(line[:_LONGEST_LINE])})

    def _tell(self, type: str, data: dict[str, object]) -> None:
        self._listener.offer(Told(self.claims, type, msgspec.json.encode(data)))


class BatchRun(Run):
    """The run of a batch; `traceparent` is of its first member, whose trace its spans are in."""

    __slots__ = ("_wanted",)

    def __init__(
        self, claims: list[Claim], listener: Listener, traceparent: str | None = None
    ) -> None:
        super().__init__(claims, None, listener, traceparent)
        self._wanted = set(claims)

    @property
    def id(self) -> str:
        raise _no_single("id")

    @property
    def attempt(self) -> int:
        raise _no_single("attempt")

    @property
    def deadline(self) -> float | None:
        raise _no_single("deadline")

    @property
    def traceparent(self) -> str | None:
        raise _no_single("traceparent")

    def withdraw(self, claim: Claim) -> None:
        self._wanted.discard(claim)
        if not self._wanted:
            super().withdraw(claim)

    def wants(self, claim: Claim) -> bool:
        """False once nobody wants the outcome of this member."""
        return claim in self._wanted


def _no_single(what: str) -> RuntimeError:
    return RuntimeError(f"A batch has no single {what}: its predict runs many predictions at once.")
