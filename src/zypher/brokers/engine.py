"""The engine of the brokers that live in one process: order, leases, waiters, decisions.

Everything happens on one event loop, and no verb yields between reading and deciding, so every
transition is a compare-and-set without a lock. A decided move goes to `_record`, which a broker
fills in: memory shows it at once, sqlite writes it down and shows it then. Nobody sees a move,
and nothing follows from it outside of this process, before it is recorded.
"""

import asyncio
import heapq
from abc import abstractmethod
from collections.abc import Awaitable, Sequence
from functools import cached_property, partial

from msgspec.structs import replace

from zypher.brokers.alarms import Alarms
from zypher.brokers.base import (
    MOST_AHEAD,
    Event,
    Limits,
    ModelStats,
    News,
    Overview,
    Seen,
    Sent,
    Withdrawal,
)
from zypher.brokers.decisions import Decisions
from zypher.brokers.deliveries import Deliveries
from zypher.brokers.events import EventLogs
from zypher.brokers.lanes import claims_before
from zypher.brokers.outbox import is_to_be_delivered
from zypher.brokers.queue import Entry, ModelQueue, Move, Queues, resolve
from zypher.brokers.refusals import (
    another_request,
    ended_already,
    not_ended,
    share,
    shutting_down,
    too_many,
    too_many_bytes,
    too_many_of,
)
from zypher.brokers.waiters import Waiters
from zypher.brokers.withdrawals import Withdrawals
from zypher.clock import Clock
from zypher.errors import Unavailable
from zypher.prediction import (
    HIGH,
    NO_OPTIONS,
    PROCESSING,
    QUEUED,
    Claim,
    Outcome,
    Prediction,
    Priority,
    Status,
)

# How long the outcome of an unkept prediction is held when nobody was there to take it: its
# waiter may have run out of patience in this very turn, and be about to keep it. And the log of
# events of any, for those who are about to read its end.
_LINGER = 60.0

# An idempotency key and its owner.
Key = tuple[str, str]


class Engine(Deliveries):
    """What the brokers in one process have in common."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        super().__init__(clock)
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self._queues = Queues()
        self._waiters: Waiters[Prediction] = Waiters()  # for the end
        self._watchers: Waiters[bool] = Waiters()  # for any news
        self._expiring: list[tuple[float, str]] = []
        self._alarms = Alarms()
        self._decisions = Decisions(limits, clock, self._queues, self._alarms)
        self._submitting: dict[Key, asyncio.Future[None]] = {}  # with keys, one at a time
        self._withdrawals = Withdrawals()
        self._logs = EventLogs()
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

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _waiting_in(self, queue: ModelQueue) -> tuple[int, int, int]:
        """How many wait in each lane."""
        high, normal, low = map(queue.lanes.waiting, Priority)
        return high, normal, low

    def _take_up(self, entry: Entry) -> None:
        """An entry that was found is about to move."""

    def _arrival(
        self, queue: ModelQueue, deadline: float, *, limit: int, suspects: bool
    ) -> Awaitable[bool]:
        """Wait until something may be there to claim; False if `deadline` comes."""
        return queue.arrival(deadline, limit=limit, suspects=suspects)

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

    def call(self, prediction: Prediction) -> Sent:
        self._require_open()
        entry = self._enter(prediction, keep=False, waits=True)
        entry.caller = self._loop.create_future()
        self._entries[prediction.id] = entry  # what is not kept is recorded nowhere
        self._line_up(entry)
        if prediction.options is not NO_OPTIONS:
            self._set_alarm(entry)
        return Sent(None, entry.caller)

    def take(self, prediction: Prediction) -> asyncio.Future[bool]:
        self._require_open()
        recorded = self._taken(prediction, keep=True, waits=False)
        if recorded is None:
            recorded = self._loop.create_future()
            recorded.set_result(True)
        return recorded

    async def keep(self, id: str) -> Prediction | None:
        self._require_open()
        entry = await self._known(id)
        if entry is None:
            return None
        waited, entry.waits = entry.waits, False
        if not entry.kept:
            entry.kept = True
            if entry.record.status.terminal:
                entry.record = self._decisions.with_expiry(entry.record)
            if not await self._recorded([Move(entry, None, entry.record)]):
                raise Unavailable("The prediction goes on, but cannot be recorded now.")
        elif waited and entry.slot is not None and entry.shown is entry.record:
            self._line_up(entry)  # what is on its way to the disk lines up when it is there
        return entry.shown

    async def get(self, id: str) -> Prediction | None:
        entry = await self._known(id)
        return None if entry is None else entry.shown

    def find(
        self, id: str, *, timeout: float = 0.0, owner: str | None = None
    ) -> asyncio.Future[Prediction | None] | None:
        self._require_open()
        entry = self._entries.get(id)
        if entry is None or self._expired(entry.shown):
            return None
        if timeout > 0 and not entry.shown.status.terminal:
            return self._end_of(id, timeout) if owner in (None, entry.shown.owner) else None
        found: asyncio.Future[Prediction | None] = self._loop.create_future()
        found.set_result(entry.shown)
        return found

    def _end_of(self, id: str, timeout: float) -> asyncio.Future[Prediction | None]:
        """The final record of what is known and has not ended, or None after `timeout`."""
        ended = self._waiters.join(id)
        alarm = self._loop.call_later(timeout, resolve, ended, None)
        ended.add_done_callback(lambda _: alarm.cancel())
        return ended

    async def wait(self, id: str, timeout: float) -> Prediction | None:
        self._require_open()
        entry = self._entries.get(id)
        if timeout <= 0 or (entry is not None and entry.shown.status.terminal):
            return await self.get(id)
        with self._waiters.one(id, timeout) as waiter:
            entry = entry or await self._find(id)
            if entry is None or self._expired(entry.shown):
                return None
            if entry.shown.status.terminal:
                return entry.shown
            return await waiter or await self.get(id)

    async def position(self, id: str) -> int | None:
        entry = await self._find(id)
        if entry is None or (slot := entry.slot) is None:
            return None
        lane, _ = slot
        queue = self._queues[entry.record.model]
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
            raise ended_already(entry.record)
        self._take_up(entry)
        if not await self._recorded([self._decisions.cancel(entry, insists=True)]):
            raise Unavailable("The prediction is canceled, but that cannot be recorded now.")
        return entry.shown

    async def abandon(self, id: str) -> None:
        entry = self._entries.get(id)
        if entry is None or entry.kept or entry.record.status.terminal:
            return
        if entry.is_called or id in self._waiters or id in self._watchers:
            return
        await self._recorded([self._decisions.cancel(entry, insists=False)])

    async def watch(self, id: str, seen: Seen, *, timeout: float) -> News | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        entry = None
        while True:
            self._require_open()
            found = await self._known(id)
            if found is None and (entry is None or not entry.shown.status.terminal):
                return None
            entry = found or entry  # its end is told here also if it is forgotten already
            assert entry is not None
            news = self._news(entry.shown, seen)
            as_seen = (entry.shown.status, entry.shown.attempt) == (seen.status, seen.attempt)
            if not as_seen or news.events or loop.time() >= deadline:
                return news
            with self._watchers.one(id, deadline - loop.time()) as watcher:
                await watcher

    async def delete(self, id: str) -> bool:
        self._require_open()
        entry = await self._known(id)
        if entry is None:
            return False
        if not entry.record.status.terminal:
            raise not_ended()
        await self._forget(entry)
        return True

    # Runs.

    async def claim(
        self, worker: str, model: str, *, limit: int, timeout: float, suspects: bool = True
    ) -> Sequence[Prediction]:
        self._require_open()
        queue = self._queues[model]
        deadline = asyncio.get_running_loop().time() + timeout
        while not (group := queue.next_group(limit, suspects=suspects)):
            if not await self._arrival(queue, deadline, limit=limit, suspects=suspects):
                break
        room = limit - len(group)
        queue.coming_back += room
        try:
            return await self._claim(queue, group, worker)
        finally:
            queue.coming_back -= room

    async def claim_ahead(self, worker: str, model: str, *, limit: int) -> Sequence[Prediction]:
        self._require_open()
        queue = self._queues[model]
        group = queue.next_group(limit, suspects=False)
        if len(group) == limit and _can_wait([entry.record for entry in group]):
            return await self._claim(queue, group, worker)
        for entry in group:
            queue.lanes.push(entry)
        return []

    async def _claim(
        self, queue: ModelQueue, group: Sequence[Entry], worker: str
    ) -> Sequence[Prediction]:
        """Claim these, which were taken out of their lanes."""
        now = self._decisions.now
        moves = [self._decisions.claim(entry, worker, now) for entry in group]
        if queue.lanes.peek(suspects=True) is not None:
            queue.ring()
        recorded = False
        try:
            recorded = await self._recorded(moves)
        finally:
            if not recorded:  # nobody takes them now
                self._record(self._released([move.after.claim for move in moves]))
        if not recorded:
            return []
        leased_until = self._clock.steady() + self._limits.lease
        for entry in group:
            entry.leased_until = leased_until
        # Less those that somebody has ended meanwhile.
        return [move.after for move in moves if move.entry.record is move.after]

    async def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        lost = set()
        leased_until = self._clock.steady() + self._limits.lease
        for claim in claims:
            entry = self._claimed(claim)
            if entry is None or entry.worker != worker:
                lost.add(claim)
            else:
                entry.leased_until = leased_until
        return lost

    async def withdrawn(self, worker: str, *, timeout: float) -> Sequence[Withdrawal]:
        self._require_open()
        return await self._withdrawals.of(worker, timeout)

    async def publish(self, events: Sequence[tuple[Claim, Event]]) -> None:
        for claim, event in events:
            if self._claimed(claim):
                self._logs.append(claim.id, claim.attempt, event)
                self._watchers.tell(claim.id, True)

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        refused, moves, now = set(), [], self._decisions.now
        for claim, outcome in ended:
            entry = self._claimed(claim)
            if entry is None:
                refused.add(claim)
            else:
                moves.append(self._decisions.finish(entry, outcome, now))
        await self._recorded(moves)
        return refused

    async def release(self, claims: Sequence[Claim]) -> None:
        await self._recorded(self._released(claims))

    async def crash(self, claims: Sequence[Claim], ending: str, *, log: Sequence[str] = ()) -> None:
        entries = [entry for claim in claims if (entry := self._claimed(claim))]
        crash = partial(self._decisions.crash, ending=ending, company=len(claims), log=log)
        await self._crashed([crash(entry) for entry in entries])

    # Upkeep.

    async def reclaim(self) -> int:
        now = self._clock.steady()
        late = [
            entry
            for queue in self._queues.values()
            for entry in queue.running.values()
            if entry.leased_until <= now
        ]
        await self._crashed(self._decisions.lose(late))
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
                moves.append(self._decisions.time_out(entry))
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

    async def forget_worker(self, id: str) -> None:
        await super().forget_worker(id)
        self._withdrawals.forget(id)

    async def stats(self) -> dict[str, ModelStats]:
        return self._stats()

    def glance(self) -> Overview | None:
        return Overview(self._stats(), self._workers)

    def _stats(self) -> dict[str, ModelStats]:
        names = dict.fromkeys([*(name for name, _ in self._models), *self._queues])
        now = self._clock.steady()
        paused: dict[str, list[Entry]] = {name: [] for name in names}
        for entry in self._alarms.pauses():
            paused[entry.record.model].append(entry)
        queues = [self._queues[name] for name in names]
        return {
            queue.model: queue.stats(now, self._waiting_in(queue), paused[queue.model])
            for queue in queues
        }

    async def aclose(self) -> None:
        self._closed = True
        self._waiters.close()
        self._watchers.close()
        for entry in self._entries.values():
            if entry.caller is not None and not entry.caller.done():
                entry.caller.set_exception(shutting_down())
        self._withdrawals.close()
        for queue in self._queues.values():
            queue.close()
        self._outbox.news.set()

    # What follows once a move is recorded.

    def _show(self, moves: Sequence[Move]) -> None:
        """Everybody may see these moves now."""
        ended = []
        for move in moves:
            entry, record = move.entry, move.after
            was_shown = entry.shown is record and self._entries.get(record.id) is entry
            if move.before is None:
                self._entries[record.id] = entry
            entry.shown = record
            if entry.record is not record:
                continue  # it has moved on; that will be shown in its turn
            if record.status is QUEUED:
                self._line_up(entry)
            elif record.status.terminal:
                ended.append(move)
            if not was_shown and (entry.delayed or record.options is not NO_OPTIONS):
                self._set_alarm(entry)
            if record.id in self._watchers:
                self._watchers.tell(record.id, True)
        if ended:
            # Less those that had ended before somebody kept them.
            self._note_ends([move.entry for move in ended if move.before is not None])
            for move in ended:
                self._deliver(move.entry)

    def _line_up(self, entry: Entry) -> None:
        """A queued entry can be claimed from now on; or once its pause is over."""
        self._queues[entry.record.model].push(entry)

    def _set_alarm(self, entry: Entry) -> None:
        """Look at an entry in memory again when its pause or the first of its clocks is over."""
        due = entry.record.due
        at = entry.record.not_before if entry.delayed else due and due.at
        if entry.alarm:
            self._alarms.turn_off(entry)
        if at is not None and self._entries.get(entry.record.id) is entry:
            self._alarms.set(self._clock.steady() + at - self._clock.wall(), entry)

    def _note_ends(self, ended: Sequence[Entry]) -> None:
        """Count ends, and tell the worker if it was not the one that brought them."""
        now = self._clock.steady()
        took: dict[tuple[str, Status, bool], list[float]] = {}  # of those that are counted alike
        for entry in ended:
            record = entry.record
            took.setdefault((record.model, record.status, entry.waits), []).append(record.took)
            if record.id in self._logs:
                self._logs.forget_at(record.id, now + _LINGER)
            if entry.withdrawal is not None:
                self._withdrawals.add(entry.worker, Withdrawal(record.claim, entry.withdrawal))
        for (model, status, waits), seconds in took.items():
            self._queues[model].note_ends(status, len(seconds), now)
            self.metrics.ended(model, status, seconds, waits=waits)

    def _deliver(self, entry: Entry) -> None:
        """Hand a final record to all who wait for it."""
        record = entry.record
        delivered = self._waiters.tell(record.id, record) if record.id in self._waiters else 0
        if entry.caller is not None and resolve(entry.caller, record):
            delivered += 1
        if entry.kept:
            self._retain(entry)
            if is_to_be_delivered(record):
                self._outbox.news.set()
        elif delivered:
            del self._entries[record.id]
        else:
            # To who comes late; of what was canceled nobody wants the input back.
            input = b"" if record.status is Status.CANCELED else record.input
            expires = self._clock.wall() + _LINGER
            entry.record = entry.shown = replace(record, input=input, expires=expires)
            self._expire(entry)

    # What the verbs are made of.

    def _require_open(self) -> None:
        if self._closed:
            raise shutting_down()

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
                raise another_request(key[1])
            return entry.shown
        finally:
            self._submitting.pop(key).set_result(None)

    async def _accept(self, prediction: Prediction, keep: bool, waits: bool) -> Prediction:
        recorded = self._taken(prediction, keep=keep, waits=waits)
        if recorded is not None and not await recorded:
            raise Unavailable("The prediction cannot be recorded now.")
        return prediction

    def _taken(
        self, prediction: Prediction, *, keep: bool, waits: bool
    ) -> asyncio.Future[bool] | None:
        """Take a new prediction in; what comes of that is what comes of `_record`."""
        entry = self._enter(prediction, keep=keep, waits=waits)
        return self._record([Move(entry, None, prediction)])

    def _enter(self, prediction: Prediction, *, keep: bool, waits: bool) -> Entry:
        """A new entry, which counts as queued from now on. Raises `QueueFull`."""
        queue = self._queues[prediction.model]
        self._admit(queue, prediction, waits)
        self._places += 1
        now = self._clock.steady()
        entry = Entry(prediction, prediction, place=self._places, kept=keep, waits=waits, since=now)
        queue.enter(prediction)
        queue.newest_places[HIGH if waits else prediction.priority] = entry.place
        return entry

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

    def _admit(self, queue: ModelQueue, prediction: Prediction, waits: bool) -> None:
        """Raise `QueueFull` if the prediction does not fit."""
        part, owner = share(self._limits, waits=waits), prediction.owner
        if owner in self._limits.max_queued_of:
            assert owner is not None
            if self._queues.owned[owner] >= self._limits.max_queued_of[owner]:
                raise too_many_of(owner, self._limits)
        if queue.queued >= self._limits.max_queued * part:
            raise too_many(queue.model, self._limits, waits=waits)
        waiting = self._queues.queued_bytes
        if waiting + prediction.size > self._limits.max_queued_bytes * part:
            raise too_many_bytes(self._limits, waits=waits)

    async def _recorded(self, moves: Sequence[Move]) -> bool:
        """Record moves, and wait for it; False if that takes longer than anybody knows."""
        recording = self._record(moves) if moves else None
        return recording is None or await recording

    async def _crashed(self, moves: Sequence[Move]) -> None:
        """Count and record moves of runs that died with their process."""
        for move in moves:
            self.metrics.crashes.count(move.after.model)
        await self._recorded(moves)

    def _claimed(self, claim: Claim) -> Entry | None:
        """The entry that this claim still holds."""
        entry = self._entries.get(claim.id)
        if entry is None or entry.record.status is not PROCESSING:
            return None
        return entry if entry.record.attempt == claim.attempt else None

    def _released(self, claims: Sequence[Claim]) -> list[Move]:
        entries = [entry for claim in claims if (entry := self._claimed(claim))]
        return [self._decisions.release(entry) for entry in entries]

    def _expire(self, entry: Entry) -> None:
        """Have `purge` forget an entry in memory when its time has come."""
        assert entry.record.expires is not None
        heapq.heappush(self._expiring, (entry.record.expires, entry.record.id))

    def _expired(self, record: Prediction) -> bool:
        return record.expires is not None and record.expires <= self._clock.wall()

    def _news(self, record: Prediction, seen: Seen) -> News:
        sequence = seen.sequence if seen.attempt == record.attempt else 0
        return News(record, *self._logs.after(record.id, record.attempt, sequence))


def key_of(prediction: Prediction) -> Key:
    assert prediction.idempotency_key is not None
    return prediction.owner or "", prediction.idempotency_key


def _can_wait(records: Sequence[Prediction]) -> bool:
    """True if these can be claimed before their runs begin, and wait in a replica for that."""
    if any(record.options.times_runs for record in records):
        return False
    return sum([record.size for record in records]) <= MOST_AHEAD
