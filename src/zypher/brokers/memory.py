"""The memory broker: the whole contract in one process, without a durable byte.

Everything happens on one event loop and no verb yields between reading and writing, so
every transition is atomic without a lock.
"""

import asyncio
import heapq
from collections.abc import Sequence

from msgspec.structs import replace

from zypher.brokers.base import (
    Broker,
    Limits,
    ModelInfo,
    ModelStats,
    Page,
    WorkerInfo,
)
from zypher.brokers.queue import Entry, ModelQueue, resolve
from zypher.clock import Clock
from zypher.errors import Conflict, QueueFull, Unavailable
from zypher.prediction import Claim, Outcome, Prediction, Status

# How long the outcome of an unkept prediction is held when nobody was there to take it: its
# waiter may have run out of patience in this very turn, and be about to keep it.
_LINGER = 60.0


class MemoryBroker(Broker):
    """Predictions in this process's memory."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, ModelQueue] = {}
        self._expiring: list[tuple[float, str]] = []
        self._models: dict[str, ModelInfo] = {}
        self._workers: dict[str, WorkerInfo] = {}
        self._closed = False

    # The life of a prediction.

    async def submit(self, prediction: Prediction, *, keep: bool) -> Prediction:
        self._require_open()
        known = self._entries.get(prediction.id)
        if known is not None:
            return known.record
        self._admit(prediction, keep)
        queue = self._queue(prediction.model)
        queue.submitted += 1
        entry = Entry(prediction, place=queue.submitted, kept=keep, since=self._clock.steady())
        self._entries[prediction.id] = entry
        queue.push(entry)
        return prediction

    async def keep(self, id: str) -> Prediction | None:
        self._require_open()
        entry = self._entries.get(id)
        if entry is None:
            return None
        if not entry.kept:
            before, entry.kept = entry.lane, True
            if entry.lane is not before:
                self._queue(entry.record.model).lanes.push(entry)
            elif entry.record.status.terminal:
                self._expire(entry, self._limits.ttl)
        return entry.record

    async def get(self, id: str) -> Prediction | None:
        entry = self._entries.get(id)
        if entry is None or self._expired(entry.record):
            return None
        return entry.record

    async def wait(self, id: str, timeout: float) -> Prediction | None:
        self._require_open()
        entry = self._entries.get(id)
        if entry is None or entry.record.status.terminal or timeout <= 0:
            return await self.get(id)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Prediction | None] = loop.create_future()
        entry.waiters.append(waiter)
        alarm = loop.call_later(timeout, resolve, waiter, None)
        try:
            return await waiter or entry.record
        finally:
            alarm.cancel()
            entry.waiters.remove(waiter)

    async def position(self, id: str) -> int | None:
        entry = self._entries.get(id)
        if entry is None or entry.lane is None:
            return None
        oldest = self._queue(entry.record.model).lanes.oldest()
        return entry.place - oldest.place if oldest else 0

    async def cancel(self, id: str) -> Prediction | None:
        entry = self._entries.get(id)
        if entry is None:
            return None
        if entry.record.status.terminal:
            raise Conflict(f"The prediction has ended already: it is {entry.record.status}.")
        if entry.record.status is Status.QUEUED:
            self._queue(entry.record.model).left(entry.record)
        return self._settle(entry, entry.record.canceled(self._clock.wall()))

    async def delete(self, id: str) -> bool:
        entry = self._entries.get(id)
        if entry is None:
            return False
        if not entry.record.status.terminal:
            raise Conflict("The prediction has not ended yet: cancel it first.")
        del self._entries[id]
        return True

    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        ids = (
            id
            for id, entry in self._entries.items()
            if entry.kept
            and (cursor is None or id < cursor)
            and (status is None or entry.record.status is status)
            and (model is None or entry.record.model == model)
            and not self._expired(entry.record)
        )
        newest = heapq.nlargest(limit + 1, ids)
        rows = [replace(self._entries[id].record, input=b"", result=None) for id in newest[:limit]]
        return Page(rows, rows[-1].id if len(newest) > limit else None)

    # Runs.

    async def claim(
        self, worker: str, model: str, *, limit: int, timeout: float
    ) -> Sequence[Prediction]:
        queue = self._queue(model)
        deadline = asyncio.get_running_loop().time() + timeout
        while queue.queued == 0 and await queue.arrival(deadline):
            pass  # another worker may have been quicker
        now, steady = self._clock.wall(), self._clock.steady()
        group = queue.next_group(limit)
        for entry in group:
            queue.left(entry.record)
            entry.record = entry.record.claimed(now)
            entry.since = steady
            entry.worker = worker
            entry.leased_until = steady + self._limits.lease
            queue.running[entry.record.id] = entry
        if queue.queued:
            queue.ring()
        return [entry.record for entry in group]

    async def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        lost = set()
        for claim in claims:
            entry = self._claimed(claim)
            if entry is None or entry.worker != worker:
                lost.add(claim)
            else:
                entry.leased_until = self._clock.steady() + self._limits.lease
        return lost

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        now, steady = self._clock.wall(), self._clock.steady()
        refused = set()
        for claim, outcome in ended:
            entry = self._claimed(claim)
            if entry is None:
                refused.add(claim)
            else:
                self._queue(entry.record.model).measured(steady - entry.since)
                self._settle(entry, entry.record.ended(outcome, now))
        return refused

    async def release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if entry := self._claimed(claim):
                self._give_back(entry, entry.record.released())

    async def crash(self, claims: Sequence[Claim], ending: str) -> None:
        for claim in claims:
            if entry := self._claimed(claim):
                self._crashed(entry, ending, company=len(claims))

    # Upkeep.

    async def reclaim(self) -> int:
        now = self._clock.steady()
        late = [
            entry
            for queue in self._queues.values()
            for entry in queue.running.values()
            if entry.leased_until <= now
        ]
        for entry in late:
            self._crashed(entry, "was lost with its worker", company=1)
        return len(late)

    async def purge(self) -> int:
        count = 0
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

    async def workers(self) -> dict[str, WorkerInfo]:
        return self._workers

    async def stats(self) -> dict[str, ModelStats]:
        names = dict.fromkeys([*self._models, *self._queues])
        now = self._clock.steady()
        return {name: self._queue(name).stats(now) for name in names}

    def guarantee(self) -> str:
        return "Predictions are held in this process's memory and are lost when it ends."

    async def aclose(self) -> None:
        self._closed = True
        for entry in self._entries.values():
            for waiter in entry.waiters:
                if not waiter.done():
                    waiter.set_exception(Unavailable("The server is shutting down."))

    # What the verbs are made of.

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("The server is shutting down.")

    def _queue(self, model: str) -> ModelQueue:
        queue = self._queues.get(model)
        if queue is None:
            queue = self._queues[model] = ModelQueue()
        return queue

    def _admit(self, prediction: Prediction, keep: bool) -> None:
        """Raise `QueueFull` if the prediction does not fit."""
        share = 1.0 - self._limits.waiting_share if keep else 1.0
        reserve = f", less {self._limits.waiting_share:.0%} for callers who wait" if keep else ""
        if self._queue(prediction.model).queued >= self._limits.max_queued * share:
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

    def _claimed(self, claim: Claim) -> Entry | None:
        """The entry that this claim still holds."""
        entry = self._entries.get(claim.id)
        if entry is None or entry.record.status is not Status.PROCESSING:
            return None
        return entry if entry.record.attempt == claim.attempt else None

    def _crashed(self, entry: Entry, ending: str, *, company: int) -> None:
        record = entry.record.crashed(
            self._clock.wall(), ending, company=company, max_crashes=self._limits.max_crashes
        )
        if record.status.terminal:
            self._settle(entry, record)
        else:
            self._give_back(entry, record)

    def _give_back(self, entry: Entry, record: Prediction) -> None:
        queue = self._queue(record.model)
        queue.running.pop(record.id)
        entry.record = record
        entry.since = self._clock.steady()
        queue.push(entry)

    def _settle(self, entry: Entry, record: Prediction) -> Prediction:
        """Make a record final, and tell all who wait for it."""
        self._queue(record.model).running.pop(record.id, None)
        entry.record = record
        delivered = sum([resolve(waiter, record) for waiter in entry.waiters])
        if entry.kept:
            self._expire(entry, self._limits.ttl)
        elif delivered:
            del self._entries[record.id]
        else:
            self._expire(entry, _LINGER)
        return entry.record

    def _expire(self, entry: Entry, ttl: float) -> None:
        expires = self._clock.wall() + ttl
        entry.record = replace(entry.record, expires=expires)
        heapq.heappush(self._expiring, (expires, entry.record.id))

    def _expired(self, record: Prediction) -> bool:
        return record.expires is not None and record.expires <= self._clock.wall()
