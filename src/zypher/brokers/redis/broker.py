"""The redis broker: many servers and workers on many machines, and what they share is in Redis.

A verb decides what a move means with `zypher.prediction`, as every broker does; a script makes the
move if the record is still where it was seen. A node holds no state but what it waits for.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from zypher.brokers.base import Page, Sent
from zypher.brokers.decisions import time_to_live
from zypher.brokers.lanes import claims_before
from zypher.brokers.outbox import host_of
from zypher.brokers.redis import server
from zypher.brokers.redis.node import Move, flag
from zypher.brokers.redis.records import LISTED, from_hash, from_values, string_of, to_hash
from zypher.brokers.redis.waits import Waits
from zypher.brokers.refusals import (
    another_request,
    ended_already,
    not_ended,
    share,
    too_many,
    too_many_bytes,
    too_many_of,
)
from zypher.errors import ConfigurationError, Unavailable
from zypher.prediction import Prediction, Priority, Status


class RedisBroker(Waits):
    """Predictions in Redis."""

    # Start and stop.

    async def start(self) -> None:
        try:
            self._facts = await server.inspect(self._link, self._clock)
            server.require_usable(self._facts)
            await self._start_to_listen()
        except Unavailable as error:
            raise ConfigurationError(f"{error} Is `broker` right, and is it running?") from None

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._stop_to_listen()
            await self._link.aclose()

    def guarantee(self) -> str:
        return self._facts.guarantee

    def degraded(self) -> Sequence[str]:
        return [*self._facts.complaints] if self._link.trouble is None else [self._link.trouble]

    # The life of a prediction.

    async def submit(
        self, prediction: Prediction, *, keep: bool, waits: bool = False
    ) -> Prediction:
        waits = waits or not keep
        self._require_open()
        means = partial(self._submitted, prediction, waits)
        record: Prediction
        record = await self._answer_to(self._submit(prediction, keep, waits, means))
        if waits and record is prediction:  # not one that is known
            self._waited[prediction.id] = prediction, keep
        return record

    def take(self, prediction: Prediction) -> asyncio.Future[bool]:
        self._require_open()
        means = partial(self._recorded, prediction)
        return self._submit(prediction, keep=True, waits=False, means=means)

    def call(self, prediction: Prediction) -> Sent:
        self._require_open()
        means = partial(self._submitted, prediction, True)
        submitted = self._submit(
            prediction, keep=False, waits=True, means=means, waiting=self._name
        )
        outcome = self._expected(prediction)
        submitted.add_done_callback(partial(_pass_on, outcome))
        return Sent(submitted, outcome)

    async def keep(self, id: str) -> Prediction | None:
        self._waited.pop(id, None)
        hash = await self._run("keep", id, self._clock.wall())
        return hash and from_hash(id, hash)

    async def get(self, id: str) -> Prediction | None:
        return await self._read(id)

    def find(
        self, id: str, *, timeout: float = 0.0, owner: str | None = None
    ) -> asyncio.Future[Prediction | None] | None:
        self._require_open()
        return None if timeout > 0 else self._ask_for(id, partial(self._found, id))

    async def position(self, id: str) -> int | None:
        found = await self._run("position", id, self._clock.wall())
        if found is None:
            return None
        name, place, oldest, newest, *waiting = found
        lane = Priority[name.decode().upper()]
        # As if all that came to its lane since the oldest and still wait were spread evenly.
        since_oldest = max(newest, place) - oldest + 1
        ahead = max(0, place - oldest) * waiting[lane] // since_oldest
        return claims_before(lane, ahead, waiting)

    async def cancel(self, id: str) -> Prediction | None:
        while (record := await self.get(id)) is not None:
            if record.status.terminal:
                raise ended_already(record)
            move = Move(record, record.canceled(self._clock.wall()), insists=True)
            (made,), after = await asyncio.gather(self._move([move]), self._read(id, any=True))
            if made:
                return after
        return None

    async def abandon(self, id: str) -> None:
        self._waited.pop(id, None)
        if id in self._ends or id in self._watchers:
            return
        record = await self.get(id)
        if record is not None and not record.status.terminal:
            after = record.canceled(self._clock.wall())
            await self._move([Move(record, after, insists=False, only_unkept=True)])

    async def delete(self, id: str) -> bool:
        deleted = await self._run("delete", id, self._clock.wall())
        if deleted > 0:
            self._waited.pop(id, None)
        if deleted < 0:
            raise not_ended()
        return bool(deleted)

    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        rows: list[Prediction] = []
        at, filters = cursor or "", ((status and status.value) or "", model or "", owner or "")
        while True:
            wall, left = self._clock.wall(), limit + 1 - len(rows)
            at, found = await self._run("list", at, left, wall, *filters, *LISTED)
            rows += [from_values(id.decode(), LISTED, values) for id, values in found]
            if not at or len(rows) > limit:
                return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)

    async def purge(self) -> int:
        count = 0
        while purged := await self._run("purge", self._clock.wall()):
            count += purged
        return count

    # What the verbs are made of.

    def _submit(
        self,
        prediction: Prediction,
        keep: bool,
        waits: bool,
        means: Callable[[Any], Any],
        waiting: str | None = None,
    ) -> asyncio.Future[Any]:
        """What the answer to a submission means; `waiting`: a node that is to be told the end."""
        submission = msgspec.msgpack.encode(self._submission(prediction, keep, waits, waiting))
        return self._link.run_with_others("submit", submission, means)

    def _submitted(self, prediction: Prediction, waits: bool, answer: Sequence[Any]) -> Prediction:
        """The record that there is now. Raises what refuses it."""
        verdict, *rest = answer
        match verdict:
            case b"known":
                return from_hash((rest[1].decode() if rest[1:] else prediction.id), rest[0])
            case b"other":
                raise another_request(prediction.idempotency_key)
            case b"full" if rest == [b"max-queued"]:
                raise too_many(prediction.model, self._limits, waits=waits)
            case b"full" if rest == [b"max-queued-of"]:
                assert prediction.owner is not None
                raise too_many_of(prediction.owner, self._limits)
            case b"full":
                raise too_many_bytes(self._limits, waits=waits)
        return prediction

    def _recorded(self, prediction: Prediction, answer: Sequence[Any]) -> bool:
        return bool(self._submitted(prediction, False, answer))

    def _found(self, id: str, words: Sequence[bytes]) -> Prediction | None:
        record, _ = self._seen(id, False, words)
        return record

    def _submission(
        self, prediction: Prediction, keep: bool, waits: bool, waiting: str | None
    ) -> Sequence[Any]:
        time, wall = self._time, self._clock.wall()
        part = share(self._limits, waits=waits)
        lane = Priority.HIGH if waits else prediction.priority
        options = prediction.options
        begun = time - (wall - prediction.created)  # in this order, which loses nothing
        clocks = {
            "deadline_at": options.deadline and begun + options.deadline,
            "queue_at": options.queue_timeout and begun + options.queue_timeout,
            "run_timeout": options.run_timeout,
        }
        extra = {
            "size": prediction.size,
            "ttl": time_to_live(prediction, self._limits),
            "host": host_of(prediction) if options.webhook else None,
            "kept": flag(True) if keep else None,
            "waits": flag(True) if waits else None,
            "waiting": waiting,
        }
        fields = to_hash(prediction)
        for name, value in (extra | clocks).items():
            if value is not None:
                fields += (name, str(value))
        return [
            *(prediction.id, wall, str(time), keep, any(clocks.values())),
            *(self._limits.max_queued * part, self._limits.max_queued_bytes * part),
            self._limits.max_queued_of.get(prediction.owner or "", ""),
            *(prediction.model, lane.name.lower(), prediction.size, prediction.owner or ""),
            *(prediction.idempotency_key or "", string_of(prediction.fingerprint or b"")),
            fields,
        ]


def _pass_on(outcome: asyncio.Future[Any], submitted: asyncio.Future[Any]) -> None:
    """What is refused has no outcome."""
    error = submitted.exception()
    if error is not None and not outcome.done():
        outcome.set_exception(error)
