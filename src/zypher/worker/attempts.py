"""What is told of the attempts that run in this worker: in the log, and as spans of traces."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from zypher.logs import about
from zypher.prediction import Claim, Outcome, Prediction
from zypher.tracing import traceparent_of, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger("zypher.worker")


class _Attempt(msgspec.Struct, frozen=True):
    """One that runs: what has to be known of its prediction, without the input."""

    id: str
    model: str
    attempt: int
    traceparent: str | None
    begun: float
    span: "Span | None"


class Attempts:
    """The attempts of one worker, from their being handed to a replica to their end."""

    def __init__(self) -> None:
        self._tracing = tracing()
        self._running: dict[Claim, _Attempt] = {}

    def begin(
        self, predictions: Mapping[Claim, Prediction], batch_size: int | None
    ) -> list[str | None]:
        """They are about to run, maybe in a batch; returns the trace contexts for the model."""
        begun, is_told = time.monotonic(), log.isEnabledFor(logging.DEBUG)
        contexts = []
        for claim, prediction in predictions.items():
            span, context = None, prediction.traceparent
            if self._tracing is not None:
                span = self._tracing.run(prediction, batch_size)
                context = traceparent_of(span)
            attempt = self._running[claim] = _Attempt(
                prediction.id,
                prediction.model,
                prediction.attempt,
                prediction.traceparent,
                begun,
                span,
            )
            if is_told:
                log.debug("prediction %s is started", attempt.id, extra=about(attempt))
            contexts.append(context)
        return contexts

    def end(self, outcomes: Sequence[tuple[Claim, Outcome]]) -> "list[Span]":
        """They have run; returns the spans of what follows, the recording of the outcomes."""
        recordings = []
        is_told = log.isEnabledFor(logging.DEBUG)
        for claim, outcome in outcomes:
            if attempt := self._running.pop(claim, None):
                code = None if outcome.failure is None else outcome.failure.code
                if is_told or code is not None:
                    self._tell(attempt, code)
                if self._tracing is not None and attempt.span is not None:
                    status = "completed" if code is None else "failed"
                    self._tracing.end(attempt.span, status, code)
                    recordings.append(self._tracing.finish(attempt))
        return recordings

    def recorded(self, recordings: "Iterable[Span]") -> None:
        """The outcomes have been taken, or refused."""
        for span in recordings:
            span.end()

    def crash(self, claims: Iterable[Claim]) -> None:
        """The process that ran them has died."""
        self._cut_off(claims, "crashed", "crash")

    def release(self, claims: Iterable[Claim]) -> None:
        """They have not run, or not to their end, and go back to the queue."""
        self._cut_off(claims, "released", None)

    def _cut_off(self, claims: Iterable[Claim], status: str, code: str | None) -> None:
        for claim in claims:
            attempt = self._running.pop(claim, None)
            if attempt is not None and attempt.span is not None and self._tracing is not None:
                self._tracing.end(attempt.span, status, code)

    def _tell(self, attempt: _Attempt, code: str | None) -> None:
        """Without the sentence that says why it failed, which may have the input in it."""
        level = logging.DEBUG if code in (None, "canceled") else logging.INFO
        if not log.isEnabledFor(level):
            return
        seconds = round(time.monotonic() - attempt.begun, 3)
        ending = "completed" if code is None else f"failed ({code})"
        more = about(attempt, seconds=seconds, code=code)
        log.log(level, "prediction %s %s after %g s", attempt.id, ending, seconds, extra=more)
