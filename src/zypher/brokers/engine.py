"""The engine of the brokers that live in one process: order, leases, waiters, decisions.

Everything happens on one event loop, and no verb yields between reading and deciding, so every
transition is a compare-and-set without a lock. The verbs decide moves; `Moves` has them recorded,
and `Runs` are the verbs of workers.
"""

import asyncio
import heapq
from abc import abstractmethod

from zypher.brokers.base import Limits, ModelStats, News, Overview, Seen, Sent
from zypher.brokers.lanes import claims_before
from zypher.brokers.queue import Entry, ModelQueue, Move, resolve
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
from zypher.brokers.runs import Runs
from zypher.clock import Clock
from zypher.errors import Unavailable
from zypher.prediction import HIGH, NO_OPTIONS, Prediction, Priority

# An idempotency key and its owner.
Key = tuple[str, str]


class Engine(Runs):
    """What the brokers in one process have in common."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        super().__init__(limits, clock)
        self._submitting: dict[Key, asyncio.Future[None]] = {}  # with keys, one at a time
        self._places = 0

    # What a broker fills in.

    @abstractmethod
    async def _find(self, id: str) -> Entry | None:
        """The entry of an id, wherever it is."""

    @abstractmethod
    async def _find_by_key(self, key: Key) -> Entry | None:
        """The entry of an idempotency key, wherever it is."""

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

    def _take_up(self, entry: Entry) -> None:
        """An entry that was found is about to move."""

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

    # Upkeep.

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

    # What the verbs are made of.

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

    def _news(self, record: Prediction, seen: Seen) -> News:
        sequence = seen.sequence if seen.attempt == record.attempt else 0
        return News(record, *self._logs.after(record.id, record.attempt, sequence))


def key_of(prediction: Prediction) -> Key:
    assert prediction.idempotency_key is not None
    return prediction.owner or "", prediction.idempotency_key
