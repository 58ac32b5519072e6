"""Runs in one process: what is claimed, what becomes of it, and what is taken from lost workers."""

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial

from zypher.brokers.base import MOST_AHEAD, Event, Withdrawal
from zypher.brokers.moves import Moves
from zypher.brokers.queue import Entry, ModelQueue, Move
from zypher.prediction import PROCESSING, Claim, Outcome, Prediction


class Runs(Moves):
    """The part of the engine that workers speak to."""

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

    async def forget_worker(self, id: str) -> None:
        await super().forget_worker(id)
        self._withdrawals.forget(id)

    # What the verbs are made of.

    def _arrival(
        self, queue: ModelQueue, deadline: float, *, limit: int, suspects: bool
    ) -> Awaitable[bool]:
        """Wait until something may be there to claim; False if `deadline` comes."""
        return queue.arrival(deadline, limit=limit, suspects=suspects)

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


def _can_wait(records: Sequence[Prediction]) -> bool:
    """True if these can be claimed before their runs begin, and wait in a replica for that."""
    if any(record.options.times_runs for record in records):
        return False
    return sum([record.size for record in records]) <= MOST_AHEAD
