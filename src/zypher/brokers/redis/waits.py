"""Waiting: what others tell a node, and the second look in case they could not be heard."""

import asyncio
import logging
import random
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any, Literal
from uuid import uuid4

from msgspec.structs import replace

from zypher.brokers.base import Event, Limits, News, Seen
from zypher.brokers.redis import server
from zypher.brokers.redis.news import Hearing
from zypher.brokers.redis.node import flag
from zypher.brokers.redis.records import from_hash
from zypher.brokers.redis.runs import Runs
from zypher.brokers.waiters import Waiters
from zypher.clock import Clock
from zypher.errors import PredictionError
from zypher.prediction import Prediction

log = logging.getLogger("zypher.redis")

# How often, in seconds, a node looks for what it may not have been told.
_SWEEP_INTERVAL = 1.0
_SWEEPS_BETWEEN_INSPECTIONS = 60

# More attempts than anything has had.
_LOST_ATTEMPTS = 1_000

# What those who wait are told of a prediction that is not there any more: look again.
GONE: Literal["gone"] = "gone"


class Waits(Runs):
    """The part of the redis broker that waits for what happens elsewhere."""

    def __init__(self, url: str, limits: Limits, clock: Clock) -> None:
        super().__init__(url, limits, clock)
        self._facts = server.Facts()
        self._epoch = b""
        self._hearing = Hearing(self._link, self._name, self._heard)
        self._ends: Waiters[Prediction | Literal["gone"]] = Waiters()
        self._watchers: Waiters[bool] = Waiters()
        # What was submitted here by callers who wait, should Redis lose it; and if it is kept.
        self._waited: dict[str, tuple[Prediction, bool]] = {}
        self._unheeded: set[str] = set()  # those of them that nobody waited for at the last sweep
        self._called: set[str] = set()  # those that no task waits for, which could look again
        self._sweeping: asyncio.Task[None] | None = None
        self._hurries = False

    async def _start_to_listen(self) -> None:
        self._epoch = await self._join()
        await self._hearing.start()
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def _stop_to_listen(self) -> None:
        """Tell those who wait here that they wait in vain."""
        self._ends.close()
        self._watchers.close()
        self._claimers.close()
        self._delivery_news.set()
        for news in self._withdrawals.values():
            news.set()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._hearing.stop()

    async def wait(self, id: str, timeout: float) -> Prediction | None:
        if timeout <= 0 or self._hurries:
            return await self.get(id)
        deadline = asyncio.get_running_loop().time() + timeout
        while (found := await self._wait(id, deadline)) == GONE:
            pass
        if found is None or found.status.terminal:
            self._waited.pop(id, None)
        return found

    def hurry(self) -> None:
        self._hurries = True
        self._ends.hurry()

    async def watch(self, id: str, seen: Seen, *, timeout: float) -> News | None:
        now = asyncio.get_running_loop().time
        deadline = now() + timeout
        news: News | None = None
        while True:
            with self._watchers.one(id, max(0.0, deadline - now())) as watcher:
                news = await self._look(id, seen, to_the_end=news is not None)
                if news is None:
                    return None
                if news.record.status.terminal:
                    self._waited.pop(id, None)
                as_seen = (news.record.status, news.record.attempt) == (seen.status, seen.attempt)
                if not as_seen or news.events or now() >= deadline:
                    return news
                await watcher

    # What the verbs are made of.

    def _expected(self, prediction: Prediction) -> asyncio.Future[Any]:
        """The end of what is being submitted, of which this node will be told.

        It is listened for before: the end may be told sooner than the answer to the submission.
        """
        id = prediction.id
        self._waited[id] = prediction, False
        self._called.add(id)
        outcome = self._ends.join(id)
        outcome.add_done_callback(partial(self._stop_expecting, id))
        return outcome

    def _stop_expecting(self, id: str, outcome: asyncio.Future[Any]) -> None:
        self._called.discard(id)
        is_left = outcome.cancelled() or (outcome.exception() is None and outcome.result() is None)
        if not is_left:
            self._waited.pop(id, None)
        elif id not in self._ends and not self._closed:
            self._link.run("leave", id, self._clock.wall(), self._name, flag(False))

    async def _wait(self, id: str, deadline: float) -> Prediction | Literal["gone"] | None:
        """A record once it is final, or at the deadline; None if unknown, or that it is gone."""
        with self._ends.one(id, deadline - asyncio.get_running_loop().time()) as waiter:
            try:
                hash = await self._run("wait", id, self._clock.wall(), self._name)
                # What others forgot leaves a trace for some seconds: what left none was lost.
                if hash == [] and await self._restored(id):
                    return GONE
                record = from_hash(id, hash) if hash else None
                if record is None or record.status.terminal:
                    return record
                told = await waiter
            except asyncio.CancelledError:
                if self._ends.count(id) == 1 and not self._closed:
                    self._link.run("leave", id, self._clock.wall(), self._name, flag(False))
                raise
        if told is not None:
            return told
        if id in self._ends:  # others go on waiting
            return await self.get(id)
        hash = await self._run("leave", id, self._clock.wall(), self._name, flag(True))
        return hash and from_hash(id, hash)

    async def _look(self, id: str, seen: Seen, *, to_the_end: bool) -> News | None:
        """What is new of a prediction now; more will be told."""
        found = await self._run(
            *("watch", id, self._clock.wall(), self._name, flag(to_the_end)),
            *(seen.attempt, seen.sequence),
        )
        if found is None:
            return None
        hash, entries, newest = found
        record = from_hash(id, hash)
        events = [_event(entry) for entry in entries]
        sequence = seen.sequence if seen.attempt == record.attempt else 0
        attempt, last = _numbers(newest[0][0]) if newest else (0, 0)
        if attempt != record.attempt:
            last = 0
        first = events[0][0] if events else last + 1
        return News(record, events, sequence > last or first > sequence + 1)

    # What others tell this node, and what it looks for should it not have been told.

    def _heard(self, news: Sequence[bytes]) -> None:
        match news:
            case [b"end", id]:
                self._look_at_end(id.decode())
            case [b"end", id, *hash]:
                self._note_end(id.decode(), hash)
            case [b"news", id]:
                self._watchers.tell(id.decode(), True)
            case [b"work", room]:
                self._ring(room.decode())
            case [b"withdrawn", worker] if worker.decode() in self._withdrawals:
                self._withdrawals[worker.decode()].set()
            case [b"delivery"]:
                self._delivery_news.set()

    def _note_end(self, id: str, hash: Sequence[bytes]) -> None:
        if self._ends.tell(id, from_hash(id, hash)):
            self._link.run("told", id, self._name)

    def _look_at_end(self, id: str) -> None:
        if id in self._ends:
            self._begin(self._take(id))

    async def _take(self, id: str) -> None:
        """Give a final record to those who wait for it here."""
        hash = await self._run("take", id, self._name)
        if hash is not None or not await self._restored(id):
            self._tell_end(id, from_hash(id, hash) if hash else GONE)

    def _tell_end(self, id: str, end: Prediction | Literal["gone"]) -> None:
        """Tell those who wait here; what is gone may be there again, and is waited for anew."""
        if end == GONE and id in self._called:
            self._link.run("wait", id, self._clock.wall(), self._name)
        else:
            self._ends.tell(id, end)

    async def _restored(self, id: str) -> bool:
        """True if what is not there any more was lost, and is there again: its caller waits."""
        if id not in self._waited or self._waited[id][1]:
            return False  # somebody else can have forgotten it
        await self._submit_again(id)
        return True

    async def _submit_again(self, id: str) -> None:
        prediction, keep = self._waited[id]
        sentence = "%s was lost by Redis and is submitted again: its caller waits"
        log.warning(sentence, id, extra={"prediction": id})
        # Attempts at the one that was lost may go on, and must not end this one.
        again = replace(prediction, attempt=prediction.attempt + _LOST_ATTEMPTS)
        await self.submit(again, keep=keep, waits=True)
        self._tell_end(id, GONE)

    async def _sweep_forever(self) -> None:
        for turn in count(1):
            await asyncio.sleep(_SWEEP_INTERVAL * random.uniform(0.9, 1.1))  # noqa: S311
            try:
                await self._sweep()
                if turn % _SWEEPS_BETWEEN_INSPECTIONS == 0:
                    self._facts = await server.inspect(self._link, self._clock)
            except PredictionError as error:
                log.debug("the sweep failed: %s", error)
                self._beats.forget()  # Redis was away: nobody could have renewed anything
            except Exception:
                log.exception("the sweep failed; the next one may not")

    async def _sweep(self) -> None:
        self._drop_unheeded()
        rooms, workers, ids = self._claimers.rooms, [*self._withdrawals], [*self._ends]
        epoch, beat, time, work, withdrawn, ended, delivery_is_due = await self._run(
            *("sweep", self._name, self._time, self._clock.wall(), len(rooms), len(workers)),
            *(*rooms, *workers, *ids),
        )
        if epoch != self._epoch:
            await self._begin_anew()
            return
        self._note_beat(beat)
        self._ahead = max(self._ahead, float(time) - self._clock.steady())
        for room in work:
            self._claimers.ring(room.decode())
        for worker in withdrawn:
            self._withdrawals[worker.decode()].set()
        for id in ended:
            self._look_at_end(id.decode())
        for id in [*self._watchers]:
            self._watchers.tell(id, True)
        if delivery_is_due:
            self._delivery_news.set()

    def _drop_unheeded(self) -> None:
        """Forget what was submitted for callers who do not wait any more."""
        unheeded = {id for id in self._waited if id not in self._ends and id not in self._watchers}
        for id in unheeded & self._unheeded:
            del self._waited[id]
        self._unheeded = unheeded

    async def _join(self) -> bytes:
        """Take part in what these nodes share: the time, and the epoch of the data."""
        epoch: bytes
        epoch, time = await self._run("join", uuid4().hex)
        self._ahead = float(time) - self._clock.steady()
        return epoch

    async def _begin_anew(self) -> None:
        """Redis has lost everything: tell it what this node knows."""
        log.warning("Redis has lost all that it held; what callers wait for is submitted again")
        self._beats.forget()
        epoch = await self._join()
        await self._register_again()
        for id in [*self._waited]:
            self._begin(self._submit_again(id))
        for id in [*self._ends]:
            if id not in self._waited:
                self._look_at_end(id)
        self._epoch = epoch  # last: if this has failed, all of it is done again


def _numbers(entry: bytes) -> tuple[int, int]:
    """The attempt and the number of an event."""
    attempt, _, number = entry.partition(b"-")
    return int(attempt), int(number)


def _event(entry: Sequence[Any]) -> tuple[int, Event]:
    name, (_, kind, _, data) = entry
    return _numbers(name)[1], Event(kind.decode(), data)
