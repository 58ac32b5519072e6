"""The engine of the brokers that live in one process: order, leases, waiters, decisions.

Everything happens on one event loop, and no verb yields between reading and deciding, so every
transition is a compare-and-set without a lock. A decided move goes to `_record`, which a broker
fills in: memory shows it at once, sqlite writes it down and shows it then. Nobody sees a move,
and nothing follows from it outside of this process, before it is recorded.
"""

import asyncio
import heapq
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf

from msgspec.structs import replace

from zypher.brokers.alarms import Alarms
from zypher.brokers.base import (
    Broker,
    Delivery,
    Event,
    Limits,
    ModelInfo,
    ModelStats,
    News,
    Seen,
    Withdrawal,
    WorkerInfo,
)
from zypher.brokers.events import EventLogs
from zypher.brokers.lanes import claims_before
from zypher.brokers.outbox import Outbox, Undelivered, is_to_be_delivered
from zypher.brokers.queue import Entry, ModelQueue, Move, resolve
from zypher.brokers.withdrawals import Withdrawals
from zypher.clock import Clock
from zypher.errors import Conflict, IdempotencyMismatch, QueueFull, Unavailable
from zypher.prediction import Claim, Outcome, Prediction, Priority, Status

# How long the outcome of an unkept prediction is held when nobody was there to take it: its
# waiter may have run out of patience in this very turn, and be about to keep it. And the log of
# events of any, for those who are about to read its end.
_LINGER = 60.0

# An idempotency key and its owner.
Key = tuple[str, str]

# How a run ended whose worker was not heard of any more.
LOST = "was lost with its worker"


class Engine(Broker):
    """What the brokers in one process have in common."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, ModelQueue] = {}
        self._waiters: dict[str, list[asyncio.Future[Prediction | None]]] = {}
        self._expiring: list[tuple[float, str]] = []
        self._alarms = Alarms()
        self._submitting: dict[Key, asyncio.Future[None]] = {}  # with keys, one at a time
        self._withdrawals = Withdrawals()
        self._logs = EventLogs()
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._outbox = Outbox()
        self._models: dict[str, ModelInfo] = {}
        self._workers: dict[str, WorkerInfo] = {}
        self._places = 0
        self._closed = False

    # What a broker fills in.

    @abstractmethod
    def _record(self, moves: Sequence[Move]) -> asyncio.Future[bool] | None:
        """See to it that `_show` is called for these moves, those of one entry in their order.

        None says that it was. The future is True once it was, and False when it will be, but
        nobody knows when; it raises for new predictions that will never be recorded.
        """

    @abstractmethod
    async def _find(self, id: str) -> Entry | None:
        """The entry of an id, wherever it is."""

    @abstractmethod
    async def _find_by_key(self, key: Key) -> Entry | None:
        """The entry of an idempotency key, wherever it is."""

    @abstractmethod
    def _retain(self, entry: Entry) -> None:
        """A kept prediction has ended: hold on to it until it expires."""

    @abstractmethod
    async def _erase(self, entry: Entry) -> None:
        """Forget a kept prediction that has ended."""

    @abstractmethod
    async def _free_key(self, entry: Entry) -> None:
        """Take its key from one that has expired; its delivery may have to be made yet."""

    def _waiting_in(self, queue: ModelQueue) -> tuple[int, int, int]:
        """How many wait in each lane."""
        high, normal, low = map(queue.lanes.waiting, Priority)
        return high, normal, low

    @abstractmethod
    async def _undelivered(self, now: float) -> tuple[Undelivered | None, float]:
        """The first delivery that may be taken and is due; if none is, when the first will be."""

    @abstractmethod
    async def _drop_delivery(self, one: Undelivered) -> None:
        """Forget a delivery that was taken."""

    @abstractmethod
    async def _put_off_delivery(self, one: Undelivered) -> None:
        """A delivery that was taken is due once more."""

    def _take_up(self, entry: Entry) -> None:
        """An entry that was found is about to move."""

    async def _arrival(self, queue: ModelQueue, deadline: float) -> bool:
        """Wait until something may be there to claim; False if `deadline` comes."""
        return await queue.arrival(deadline)

    # The life of a prediction.

    async def submit(
        self, prediction: Prediction, *, keep: bool, waits: bool = False
    ) -> Prediction:
        self._require_open()
        known = self._entries.get(prediction.id)
        if known is not None and not self._expired(known.shown):
            return known.shown
        if prediction.idempotency_key is None:
            return await self._accept(prediction, keep, waits or not keep)
        return await self._accept_once(key_of(prediction), prediction, waits)

    async def keep(self, id: str) -> Prediction | None:
        self._require_open()
        entry = await self._known(id)
        if entry is None:
            return None
        waited, entry.waits = entry.waits, False
        if not entry.kept:
            entry.kept = True
            if entry.record.status.terminal:
                entry.record = self._with_expiry(entry.record)
            if not await self._recorded([Move(entry, None, entry.record)]):
                raise Unavailable("The prediction goes on, but cannot be recorded now.")
        elif waited and entry.lane is not None and entry.shown is entry.record:
            self._line_up(entry)  # what is on its way to the disk lines up when it is there
        return entry.shown

    async def get(self, id: str) -> Prediction | None:
        entry = await self._known(id)
        return None if entry is None else entry.shown

    async def wait(self, id: str, timeout: float) -> Prediction | None:
        self._require_open()
        if timeout <= 0:
            return await self.get(id)
        with self._waiting(id) as waiter:
            record = await self.get(id)
            if record is None or record.status.terminal:
                return record
            alarm = asyncio.get_running_loop().call_later(timeout, resolve, waiter, None)
            try:
                return await waiter or await self.get(id)
            finally:
                alarm.cancel()

    async def position(self, id: str) -> int | None:
        entry = await self._find(id)
        if entry is None or (lane := entry.lane) is None:
            return None
        queue = self._queue(entry.record.model)
        waiting = self._waiting_in(queue)
        oldest = queue.lanes.head(lane)
        if oldest is None:
            return 0
        # As if all that came to its lane since the oldest and still wait were spread evenly.
        since_oldest = max(queue.newest_places[lane], entry.place) - oldest.place + 1
        ahead = max(0, entry.place - oldest.place) * waiting[lane] // since_oldest
        return claims_before(lane, ahead, waiting)

    async def cancel(self, id: str) -> Prediction | None:
        self._require_open()
        entry = await self._known(id)
        if entry is None:
            return None
        if entry.record.status.terminal:
            raise Conflict(f"The prediction has ended already: it is {entry.record.status}.")
        self._take_up(entry)
        if not await self._recorded([self._cancel(entry, insists=True)]):
            raise Unavailable("The prediction is canceled, but that cannot be recorded now.")
        return entry.shown

    async def abandon(self, id: str) -> None:
        entry = self._entries.get(id)
        if entry is None or entry.kept or entry.record.status.terminal or id in self._waiters:
            return
        await self._recorded([self._cancel(entry, insists=False)])

    async def watch(self, id: str, seen: Seen, *, timeout: float) -> News | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._require_open()
            entry = await self._known(id)
            if entry is None:
                return None
            news = self._news(entry.shown, seen)
            as_seen = (entry.shown.status, entry.shown.attempt) == (seen.status, seen.attempt)
            if not as_seen or news.events or loop.time() >= deadline:
                return news
            await self._next_sight(id, deadline)

    async def delete(self, id: str) -> bool:
        self._require_open()
        entry = await self._known(id)
        if entry is None:
            return False
        if not entry.record.status.terminal:
            raise Conflict("The prediction has not ended yet: cancel it first.")
        await self._forget(entry)
        return True

    # Runs.

    async def claim(
        self, worker: str, model: str, *, limit: int, timeout: float
    ) -> Sequence[Prediction]:
        self._require_open()
        queue = self._queue(model)
        deadline = asyncio.get_running_loop().time() + timeout
        while not (group := queue.next_group(limit)) and await self._arrival(queue, deadline):
            pass  # another worker may have been quicker
        moves = [self._claim(queue, entry, worker) for entry in group]
        if queue.lanes.peek() is not None:
            queue.ring()
        recorded = False
        try:
            recorded = await self._recorded(moves)
        finally:
            if not recorded:  # nobody takes them now
                self._record(self._released([move.after.claim for move in moves]))
        if not recorded:
            return []
        for entry in group:
            entry.leased_until = self._clock.steady() + self._limits.lease
        # Less those that somebody has ended meanwhile.
        return [move.after for move in moves if self._claimed(move.after.claim)]

    async def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        lost = set()
        for claim in claims:
            entry = self._claimed(claim)
            if entry is None or entry.worker != worker:
                lost.add(claim)
            else:
                entry.leased_until = self._clock.steady() + self._limits.lease
        return lost

    async def withdrawn(self, worker: str, *, timeout: float) -> Sequence[Withdrawal]:
        self._require_open()
        return await self._withdrawals.of(worker, timeout)

    async def publish(self, events: Sequence[tuple[Claim, Event]]) -> None:
        for claim, event in events:
            if self._claimed(claim):
                self._logs.append(claim.id, claim.attempt, event)
                self._wake_watchers(claim.id)

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        now, steady = self._clock.wall(), self._clock.steady()
        refused, moves = set(), []
        for claim, outcome in ended:
            entry = self._claimed(claim)
            if entry is None:
                refused.add(claim)
            else:
                self._queue(entry.record.model).measured(steady - entry.since)
                moves.append(self._finish(entry, entry.record.finished_with(outcome, now)))
        await self._recorded(moves)
        return refused

    async def release(self, claims: Sequence[Claim]) -> None:
        await self._recorded(self._released(claims))

    async def crash(self, claims: Sequence[Claim], ending: str, *, log: Sequence[str] = ()) -> None:
        entries = [entry for claim in claims if (entry := self._claimed(claim))]
        moves = [self._crash(entry, ending, company=len(claims), log=log) for entry in entries]
        await self._recorded(moves)

    # Webhooks.

    async def next_delivery(self, *, timeout: float) -> Delivery | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._require_open()
            self._outbox.news.clear()
            one, first_due = await self._undelivered(self._clock.wall())
            self._outbox.put_off_until(first_due)
            if one is None:
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._outbox.news.wait()
                except TimeoutError:
                    return None
            elif one.entry.record.id not in self._outbox:  # another taker may have been quicker
                self._outbox.take(one)
                return Delivery(one.entry.record, one.failures)

    async def drop_delivery(self, id: str) -> None:
        one = self._outbox.taken(id)
        if one is not None:
            await self._drop_delivery(one)
            self._outbox.let_go(id)

    async def put_off_delivery(self, id: str, at: float) -> None:
        one = self._outbox.taken(id)
        if one is not None:
            await self._put_off_delivery(one._replace(due=at, failures=one.failures + 1))
            self._outbox.put_off_until(at)
            self._outbox.let_go(id)

    # Upkeep.

    async def reclaim(self) -> int:
        now = self._clock.steady()
        late = [
            entry
            for queue in self._queues.values()
            for entry in queue.running.values()
            if entry.leased_until <= now
        ]
        await self._recorded([self._crash(entry, LOST, company=1) for entry in late])
        return len(late)

    async def enforce_clocks(self) -> int:
        count, moves = 0, []
        self._outbox.wake(self._clock.wall())
        for entry in self._alarms.ring(self._clock.steady()):
            count += 1
            if entry.delayed:
                entry.delayed = False
                self._line_up(entry)
                self._set_alarm(entry)
            else:
                moves.append(self._time_out(entry))
        await self._recorded(moves)
        return count

    async def purge(self) -> int:
        count = 0
        self._logs.purge(self._clock.steady())
        now = self._clock.wall()
        while self._expiring and self._expiring[0][0] <= now:
            _, id = heapq.heappop(self._expiring)
            entry = self._entries.get(id)
            if entry is not None and self._expired(entry.record):
                del self._entries[id]
                count += 1
        return count

    # The registry.

    async def register_model(self, model: ModelInfo) -> None:
        self._models[model.name] = model

    async def models(self) -> dict[str, ModelInfo]:
        return self._models

    async def register_worker(self, worker: WorkerInfo) -> None:
        self._workers[worker.id] = worker

    async def forget_worker(self, id: str) -> None:
        self._workers.pop(id, None)
        self._withdrawals.forget(id)

    async def workers(self) -> dict[str, WorkerInfo]:
        return self._workers

    async def stats(self) -> dict[str, ModelStats]:
        names = dict.fromkeys([*self._models, *self._queues])
        now = self._clock.steady()
        queues = [self._queue(name) for name in names]
        return {queue.model: queue.stats(now, self._waiting_in(queue)) for queue in queues}

    async def aclose(self) -> None:
        self._closed = True
        for waiter in [waiter for waiters in self._waiters.values() for waiter in waiters]:
            if not waiter.done():
                waiter.set_exception(Unavailable("The server is shutting down."))
        for queue in self._queues.values():
            queue.close()
        self._withdrawals.close()
        self._outbox.news.set()
        for id in list(self._watchers):
            self._wake_watchers(id)

    # What follows once a move is recorded.

    def _show(self, move: Move) -> None:
        """Everybody may see this move now."""
        entry = move.entry
        was_shown = entry.shown is move.after and self._entries.get(move.after.id) is entry
        if move.before is None:
            self._entries[move.after.id] = entry
        entry.shown = move.after
        if entry.record is not move.after:
            return  # it has moved on; that will be shown in its turn
        if entry.record.status is Status.QUEUED:
            self._line_up(entry)
        elif entry.record.status.terminal:
            if move.before is not None:  # else it had ended before somebody kept it
                self._note_end(entry)
            self._deliver(entry)
        if not was_shown:
            self._set_alarm(entry)
        self._wake_watchers(entry.record.id)

    def _line_up(self, entry: Entry) -> None:
        """A queued entry can be claimed from now on; or once its pause is over."""
        if entry.lane is not None:
            self._queue(entry.record.model).push(entry)

    def _set_alarm(self, entry: Entry) -> None:
        """Look at an entry in memory again when its pause or the first of its clocks is over."""
        due = entry.record.due
        at = entry.record.not_before if entry.delayed else due and due.at
        self._alarms.turn_off(entry)
        if at is not None and self._entries.get(entry.record.id) is entry:
            self._alarms.set(self._clock.steady() + at - self._clock.wall(), entry)

    def _note_end(self, entry: Entry) -> None:
        """Count an end, and tell the worker if it was not the one that brought it."""
        now = self._clock.steady()
        queue = self._queue(entry.record.model)
        queue.ended[entry.record.status] += 1
        queue.rate.count(now)
        self._logs.forget_at(entry.record.id, now + _LINGER)
        if entry.withdrawal is not None:
            self._withdrawals.add(entry.worker, Withdrawal(entry.record.claim, entry.withdrawal))

    def _deliver(self, entry: Entry) -> None:
        """Hand a final record to all who wait for it."""
        waiters = self._waiters.get(entry.record.id, ())
        delivered = sum([resolve(waiter, entry.record) for waiter in waiters])
        if entry.kept:
            self._retain(entry)
            if is_to_be_delivered(entry.record):
                self._outbox.news.set()
        elif delivered:
            del self._entries[entry.record.id]
        else:
            entry.record = replace(entry.record, expires=self._clock.wall() + _LINGER)
            entry.shown = entry.record
            self._expire(entry)

    # What the verbs are made of.

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("The server is shutting down.")

    async def _accept_once(self, key: Key, prediction: Prediction, waits: bool) -> Prediction:
        """Accept a prediction unless its key is known: then it is the one that has it."""
        while (other := self._submitting.get(key)) is not None:
            await asyncio.wait([other])
        self._submitting[key] = asyncio.get_running_loop().create_future()
        try:
            entry = await self._find_by_key(key)
            if entry is None or self._expired(entry.shown):
                if entry is not None:
                    await self._free_key(entry)
                return await self._accept(prediction, keep=True, waits=waits)
            if entry.shown.fingerprint != prediction.fingerprint:
                raise IdempotencyMismatch(
                    f"The idempotency key {key[1]!r} was used for another request. "
                    "Give each request a key of its own."
                )
            return entry.shown
        finally:
            self._submitting.pop(key).set_result(None)

    async def _accept(self, prediction: Prediction, keep: bool, waits: bool) -> Prediction:
        queue = self._queue(prediction.model)
        self._admit(queue, prediction, waits)
        self._places += 1
        now = self._clock.steady()
        entry = Entry(prediction, prediction, place=self._places, kept=keep, waits=waits, since=now)
        queue.enter(prediction)
        queue.newest_places[Priority.HIGH if waits else prediction.priority] = entry.place
        if not await self._recorded([Move(entry, None, prediction)]):
            raise Unavailable("The prediction cannot be recorded now.")
        return prediction

    async def _forget(self, entry: Entry) -> None:
        """Nothing is left of an entry that has ended."""
        if entry.kept:
            await self._erase(entry)
            self._outbox.let_go(entry.record.id)
        if self._entries.get(entry.record.id) is entry:
            del self._entries[entry.record.id]

    async def _known(self, id: str) -> Entry | None:
        """The entry of an id. What has expired is not known, purged or not."""
        entry = await self._find(id)
        return None if entry is None or self._expired(entry.shown) else entry

    def _queue(self, model: str) -> ModelQueue:
        queue = self._queues.get(model)
        if queue is None:
            queue = self._queues[model] = ModelQueue(model)
        return queue

    def _admit(self, queue: ModelQueue, prediction: Prediction, waits: bool) -> None:
        """Raise `QueueFull` if the prediction does not fit."""
        share = 1.0 if waits else 1.0 - self._limits.waiting_share
        reserve = "" if waits else f", less {self._limits.waiting_share:.0%} for callers who wait"
        if queue.queued >= self._limits.max_queued * share:
            raise QueueFull(
                f"The queue of {prediction.model!r} is full: as many predictions wait as "
                f"max-queued ({self._limits.max_queued}) allows{reserve}."
            )
        waiting = sum(queue.queued_bytes for queue in self._queues.values())
        if waiting + prediction.size > self._limits.max_queued_bytes * share:
            raise QueueFull(
                "The queue is full: as many bytes wait as "
                f"max-queued-bytes ({self._limits.max_queued_bytes}) allows{reserve}."
            )

    async def _recorded(self, moves: Sequence[Move]) -> bool:
        """Record moves, and wait for it; False if that takes longer than anybody knows."""
        recording = self._record(moves) if moves else None
        return recording is None or await recording

    @contextmanager
    def _waiting(self, id: str) -> Iterator[asyncio.Future[Prediction | None]]:
        """A future that `_deliver` resolves with the final record of this id."""
        waiter: asyncio.Future[Prediction | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(id, [])
        waiters.append(waiter)
        try:
            yield waiter
        finally:
            waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(id, None)

    def _claimed(self, claim: Claim) -> Entry | None:
        """The entry that this claim still holds."""
        entry = self._entries.get(claim.id)
        if entry is None or entry.record.status is not Status.PROCESSING:
            return None
        return entry if entry.record.attempt == claim.attempt else None

    def _claim(self, queue: ModelQueue, entry: Entry, worker: str) -> Move:
        queue.leave(entry.record)
        queue.running[entry.record.id] = entry
        entry.worker = worker
        entry.leased_until = inf  # it is not handed out yet
        return self._decide(entry, entry.record.claimed(self._clock.wall()))

    def _finish(self, entry: Entry, record: Prediction) -> Move:
        if record.status.terminal:
            return self._end(entry, record)
        self._queue(record.model).retried += 1
        return self._give_back(entry, record)

    def _crash(self, entry: Entry, ending: str, *, company: int, log: Sequence[str] = ()) -> Move:
        most = self._limits.max_crashes
        record = entry.record.crashed(
            self._clock.wall(), ending, company=company, max_crashes=most, log=log
        )
        self._queue(record.model).crashes += 1
        return (self._end if record.status.terminal else self._give_back)(entry, record)

    def _cancel(self, entry: Entry, *, insists: bool) -> Move:
        self._withdraw(entry, insists=insists)
        return self._end(entry, entry.record.canceled(self._clock.wall()))

    def _time_out(self, entry: Entry) -> Move:
        self._withdraw(entry, insists=True)
        return self._end(entry, entry.record.timed_out(self._clock.wall()))

    def _withdraw(self, entry: Entry, *, insists: bool) -> None:
        """An entry is about to end by somebody else than its worker."""
        self._leave_queue(entry)
        if entry.record.status is Status.PROCESSING:
            entry.withdrawal = insists

    def _released(self, claims: Sequence[Claim]) -> list[Move]:
        entries = [entry for claim in claims if (entry := self._claimed(claim))]
        return [self._give_back(entry, entry.record.released()) for entry in entries]

    def _give_back(self, entry: Entry, record: Prediction) -> Move:
        queue = self._queue(record.model)
        queue.running.pop(record.id)
        queue.enter(record)
        return self._decide(entry, record)

    def _leave_queue(self, entry: Entry) -> None:
        """An entry that may wait is about to end without having been claimed."""
        if entry.record.status is Status.QUEUED:
            queue = self._queue(entry.record.model)
            queue.leave(entry.record)
            queue.lanes.left(entry)

    def _end(self, entry: Entry, record: Prediction) -> Move:
        self._queue(record.model).running.pop(record.id, None)
        return self._decide(entry, self._with_expiry(record) if entry.kept else record)

    def _decide(self, entry: Entry, record: Prediction) -> Move:
        move = Move(entry, entry.record, record)
        self._alarms.turn_off(entry)
        entry.record = record
        entry.since = self._clock.steady()
        entry.delayed = self._pauses(record)
        return move

    def _pauses(self, record: Prediction) -> bool:
        """True if it is to be tried again, but not yet."""
        return record.not_before is not None and record.not_before > self._clock.wall()

    def _with_expiry(self, record: Prediction) -> Prediction:
        return replace(record, expires=self._clock.wall() + time_to_live(record, self._limits))

    def _expire(self, entry: Entry) -> None:
        """Have `purge` forget an entry in memory when its time has come."""
        assert entry.record.expires is not None
        heapq.heappush(self._expiring, (entry.record.expires, entry.record.id))

    def _expired(self, record: Prediction) -> bool:
        return record.expires is not None and record.expires <= self._clock.wall()

    def _news(self, record: Prediction, seen: Seen) -> News:
        sequence = seen.sequence if seen.attempt == record.attempt else 0
        return News(record, *self._logs.after(record.id, record.attempt, sequence))

    async def _next_sight(self, id: str, deadline: float) -> None:
        """Wait until there may be news of an id, or the loop's time `deadline` comes."""
        loop = asyncio.get_running_loop()
        watcher: asyncio.Future[None] = loop.create_future()
        self._watchers.setdefault(id, []).append(watcher)
        alarm = loop.call_at(deadline, resolve, watcher, None)
        try:
            await watcher
        finally:
            alarm.cancel()
            watchers = self._watchers.get(id, [])
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers:
                self._watchers.pop(id, None)

    def _wake_watchers(self, id: str) -> None:
        for watcher in self._watchers.pop(id, ()):
            resolve(watcher, None)


def time_to_live(record: Prediction, limits: Limits) -> float:
    """Seconds for which a prediction is kept after its end."""
    ttl = limits.ttl if record.options.ttl is None else record.options.ttl
    return ttl if record.idempotency_key is None else max(ttl, limits.key_ttl)


def key_of(prediction: Prediction) -> Key:
    assert prediction.idempotency_key is not None
    return prediction.owner or "", prediction.idempotency_key
