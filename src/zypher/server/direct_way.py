"""The direct way of a plain call to its prediction and back: past ASGI, and without a task.

What a call means is said once, by `Predictions` and `Intake`. This way is for the calls that can be
taken in at once. Whatever stands in the way of one, a fault of its own or of the server, is told on
the usual way, which comes upon it as well.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from time import perf_counter
from typing import Any, NamedTuple

from fastapi import Request, Response

from zypher.brokers.base import Sent
from zypher.errors import PredictionError, QueueFull, Unavailable
from zypher.prediction import Prediction
from zypher.server.fields import Fields
from zypher.server.gate import Caller
from zypher.server.headers import prefers_events
from zypher.server.intake import Intake, Origin, place_of_predictions
from zypher.server.patient import Patient
from zypher.server.predictions import Predictions
from zypher.server.preferences import Patience, patience_to_poll, patience_to_predict
from zypher.server.problems import fault, problem_of, problem_with_id
from zypher.server.state import Phase, ServerState
from zypher.server.writing import CommonLines, Field

# Where calls go; an escaped name takes the usual way.
_TARGET = re.compile(rb"(?:/predict|/predictions/predict|/models/([\w.~-]+)/predict)")

# Where predictions are found.
_PLACE = re.compile(rb"(?:/predict|/predictions/predict)/([0-9a-f-]{36})")

# What a plain call does not have.
_MORE = frozenset({"expect", "idempotency-key", "cancel-after", "transfer-encoding"})

# What a plain poll does not have, either.
_BODY = frozenset({"content-length", "content-encoding", "upgrade"})

# Of a caller who wants the id alone.
_NO_PATIENCE = Patience(0.0)

# So many heads are known, of so many bytes at most each.
_MOST_HEADS = 1024
_LONGEST_HEAD = 2048

# Where the length of a body is told, in a line that a head has once or is refused.
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d{1,9})\r\n")


class PlainCall(NamedTuple):
    """What the head of a call says that wants its outcome, or its id, and nothing else."""

    path: str
    model: str | None  # as its path names it
    caller: Caller | None  # by their key, where keys are needed
    origin: Origin
    waits: bool  # for the outcome
    location: str  # where its prediction is found, but for the id


class PlainPoll(NamedTuple):
    """What a request says that asks for the outcome of a prediction by its id."""

    id: str
    path: str
    caller: Caller | None
    patience: Patience
    waits: bool = False  # it does not run for this caller


class Taken(NamedTuple):
    """A call that was taken in: its prediction, what it waits for, and what that is answered."""

    id: str
    outcome: asyncio.Future[Any]
    # Raises a `PredictionError` that comes with the id.
    answer: Callable[[Any], Response | Awaitable[Response]]


class DirectWay:
    """For the calls to one server; `serves` says if fields name a host that is this one."""

    def __init__(
        self,
        state: ServerState,
        predictions: Predictions,
        intake: Intake,
        serves: Callable[[list[Field]], bool],
    ) -> None:
        self._state = state
        self._predictions = predictions
        self._intake = intake
        self._serves = serves
        self._patience = Patience(state.settings.sync_timeout)
        self._more = _MORE | {"origin"} if state.settings.cors_origins else _MORE
        self._most_body = state.settings.max_body_size
        self._known: dict[bytes, PlainCall] = {}
        self.patient = Patient(state.settings.sync_timeout)
        self.others: set[asyncio.Future[Any]] = set()  # what others wait for
        # As the middleware has it: a page may read the answers by where it comes from.
        varies = state.settings.cors_origins and "*" not in state.settings.cors_origins
        self.common_lines = CommonLines([(b"vary", b"Origin")] if varies else [])

    # What a head says.

    def plain_call(self, target: bytes, fields: list[Field]) -> PlainCall | None:
        """The call of a POST with this head; None if it has to go the usual way."""
        place = _TARGET.fullmatch(target)
        if place is None or not self._serves(fields):
            return None
        headers = Fields({"headers": fields})
        if not self._more.isdisjoint(headers.names) or "content-length" not in headers:
            return None
        try:
            self._state.door.require_json(headers)
            patience = patience_to_predict(headers, self._patience.seconds)
            if patience not in (self._patience, _NO_PATIENCE) or prefers_events(headers):
                return None
            gate = self._state.gate
            caller = None if gate is None else gate.caller(headers)
            origin = Origin.of(headers, caller)
        except PredictionError:
            return None
        path = self._state.settings.root_path + target.decode()
        model = None if place[1] is None else place[1].decode()
        location = place_of_predictions(path, model)
        return PlainCall(path, model, caller, origin, patience.seconds > 0, location)

    def plain_poll(self, target: bytes, fields: list[Field]) -> PlainPoll | None:
        """The poll of a GET with this head; None if it has to go the usual way."""
        place = _PLACE.fullmatch(target)
        if place is None or not self._serves(fields):
            return None
        headers = Fields({"headers": fields})
        if not self._more.isdisjoint(headers.names) or not _BODY.isdisjoint(headers.names):
            return None
        gate = self._state.gate
        try:
            caller = None if gate is None else gate.caller(headers)
            patience = patience_to_poll(headers, self._patience.seconds)
        except PredictionError:
            return None
        path = self._state.settings.root_path + target.decode()
        return PlainPoll(place[1].decode(), path, caller, patience)

    def known(self, data: bytes) -> tuple[PlainCall, bytes] | None:
        """The call, and its body, of a request whose head is known: what it says is the same."""
        parts = _parts(data)
        if parts is None:
            return None
        call = self._known.get(self._digest(parts.head))
        if call is None or len(parts.body) != parts.length or parts.length > self._most_body:
            return None
        return call, parts.body

    def learn(self, data: bytes, call: PlainCall | PlainPoll) -> None:
        """Know the head of a request, all of which this is, from now on."""
        if isinstance(call, PlainPoll):
            return  # no other has its id
        parts = _parts(data)
        if parts is None or len(parts.body) != parts.length or len(parts.head) > _LONGEST_HEAD:
            return
        if not data.startswith(b"POST ") or call.origin.traceparent is not None:
            return  # a trace is another one each time
        if len(self._known) >= _MOST_HEADS:
            self._known.clear()
        self._known[self._digest(parts.head)] = call

    def _digest(self, head: bytes) -> bytes:
        """What a head is known by: where there may be a key in it, nothing that has the key."""
        return head if self._state.gate is None else sha256(head).digest()

    # From a call to its answer.

    def lets_in(self, call: PlainCall | PlainPoll) -> bool:
        """True if it may be taken in now; then its caller has made one more request."""
        state = self._state
        if state.phase is Phase.STARTING or state.phase is Phase.CLOSED or state.tracing:
            return False
        if call.caller is not None:
            try:
                call.caller.count()
            except PredictionError:
                return False
        return True

    def take_in(self, call: PlainCall | PlainPoll, body: bytes) -> Taken | None:
        """What comes of a call, for which there may be a new prediction now.

        None, and nothing has happened, if it has to go the usual way.
        """
        if isinstance(call, PlainPoll):
            return self._found(call)
        model = self._state.in_service(call.model)
        if model is None:
            return None
        try:
            prediction = self._predictions.admitted(body, model, call.origin)
            if call.waits:
                sent = self._intake.call(prediction)
                if sent is None:
                    return None
                answer = partial(self._ended, call, prediction, sent)
                return Taken(prediction.id, sent.outcome, answer)
            begun = perf_counter()
            recorded = self._intake.take(prediction)
        except Exception:  # what it was, the usual way tells
            return None
        if recorded is None:
            return None
        answer = partial(self._accepted, prediction, begun, call)
        return Taken(prediction.id, recorded, answer)

    def _found(self, poll: PlainPoll) -> Taken | None:
        owner = None if poll.caller is None else poll.caller.only
        try:
            found = self._state.broker.find(poll.id, timeout=poll.patience.seconds, owner=owner)
        except PredictionError:
            return None
        return None if found is None else Taken(poll.id, found, partial(self._polled, poll))

    def _polled(
        self, poll: PlainPoll, found: asyncio.Future[Prediction | None]
    ) -> Response | Awaitable[Response]:
        try:
            record = found.result()
            if record is None and poll.patience.seconds > 0:
                return self._polled_in_vain(poll)
            return self._standing(poll, record)
        except PredictionError as error:
            return problem_of(error)

    async def _polled_in_vain(self, poll: PlainPoll) -> Response:
        """The answer to who has waited for an end that did not come."""
        answer = self._standing(poll, await self._state.broker.get(poll.id))
        return answer if isinstance(answer, Response) else await answer

    def _standing(
        self, poll: PlainPoll, record: Prediction | None
    ) -> Response | Awaitable[Response]:
        return self._predictions.standing(record, poll.caller, poll.patience, poll.path)

    def _ended(
        self,
        call: PlainCall,
        prediction: Prediction,
        sent: Sent,
        outcome: asyncio.Future[Prediction | None],
    ) -> Response | Awaitable[Response]:
        if sent.submitted is not None and sent.submitted.done():
            error = sent.submitted.exception()
            if isinstance(error, PredictionError):
                return self._refused(error, prediction)
        record = outcome.result()
        if record is None:
            return self.late(prediction.id, call)
        return self._predictions.concluded(record)

    def _accepted(
        self, prediction: Prediction, begun: float, call: PlainCall, recorded: asyncio.Future[bool]
    ) -> Response | Awaitable[Response]:
        self._state.broker.metrics.broker_seconds["submit",].observe(perf_counter() - begun)
        try:
            if not recorded.result():
                raise Unavailable("The prediction cannot be recorded now.")
        except PredictionError as error:
            return self._refused(error, prediction)
        return self._intake.taken(prediction, call.location)

    def _refused(
        self, error: PredictionError, prediction: Prediction
    ) -> Response | Awaitable[Response]:
        self._intake.refused(error)
        if isinstance(error, QueueFull):
            return self._without_room(error, prediction)
        if isinstance(error, Unavailable):  # whether it was taken in before is not known
            return problem_with_id(error, prediction.id)
        return problem_of(error)

    async def _without_room(self, error: QueueFull, prediction: Prediction) -> Response:
        await self._intake.advise(error, prediction)
        return problem_of(error)

    async def late(self, id: str, call: PlainCall) -> Response:
        """The answer once patience is over, and the prediction is kept."""
        request = Request(
            {
                "type": "http",
                "path": call.path,
                "path_params": {} if call.model is None else {"name": call.model},
                "headers": [],
            }
        )
        return await self._predictions.late(id, self._patience, request)

    def fault(self) -> Response:
        """The answer for a fault of ours, which is counted."""
        self._state.note_refusal("internal")
        return fault()

    def outcomes(self) -> list[asyncio.Future[Any]]:
        """What callers wait for at this moment."""
        return [*[caller.outcome for caller in self.patient], *self.others]

    async def abandon(self, id: str) -> None:
        """The caller has gone."""
        with suppress(Unavailable):
            await self._state.broker.abandon(id)


class _Parts(NamedTuple):
    """A request in parts: its head less the length of the body, that length, and the body."""

    head: bytes
    length: int
    body: bytes


def _parts(data: bytes) -> _Parts | None:
    """What is to be a whole request, in parts; None if its head has no end or tells no length."""
    end = data.find(b"\r\n\r\n") + 4
    told = _LENGTH.search(data, 0, end)
    if told is None:
        return None
    begin, stop = told.span(1)
    return _Parts(data[:begin] + data[stop:end], int(told[1]), data[end:])
