"""Runs: how workers claim, what becomes of their claims, and what ends those that are late."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from zypher.brokers.base import Event, Limits, Withdrawal
from zypher.brokers.decisions import LOST, lost_together
from zypher.brokers.redis.news import Claimers, was_rung
from zypher.brokers.redis.node import Move, flag, happens
from zypher.brokers.redis.outbox import Outbox
from zypher.brokers.redis.records import CLAIMED, dict_of, from_hash, from_values
from zypher.clock import Clock
from zypher.errors import StorageFull, Unavailable
from zypher.prediction import Claim, Outcome, Prediction, Status

# What is due within so many seconds is due: sums of times are not exact to the last digit.
_GRAIN = 0.001


class Run(NamedTuple):
    """A prediction that was claimed here, and the shared time at which it was."""

    record: Prediction
    since: float


class Runs(Outbox):
    """The part of the redis broker that workers use."""

    def __init__(self, url: str, limits: Limits, clock: Clock) -> None:
        super().__init__(url, limits, clock)
        self._runs: dict[Claim, Run] = {}
        self._published: dict[Claim, int] = {}  # how many events
        self._claimers = Claimers()
        self._withdrawals: dict[str, asyncio.Event] = {}
        self._told: dict[str, Sequence[bytes]] = {}  # the withdrawals that a worker was told last
        # Ends to which there was no answer: they may have been made, each under its name.
        self._unanswered: dict[tuple[Claim, ...], tuple[str, Sequence[Move]]] = {}
        # Workers that may hold what they do not know of: the answer to a claim was lost. And how
        # often that was so: a claim that arrives after all is void once that was seen to.
        self._doubtful: set[str] = set()
        self._doubts: Counter[str] = Counter()

    async def claim(
        self, worker: str, model: str, *, limit: int, timeout: float, suspects: bool = True
    ) -> Sequence[Prediction]:
        self._require_open()
        deadline = asyncio.get_running_loop().time() + timeout
        await self._give_back_unknown(worker)
        room = model if suspects else f"{model}/others"
        while True:
            with self._claimers.one(room) as bell:  # before asking: it may ring meanwhile
                heard = False
                try:
                    claimed = await self._claim(worker, model, room, limit, deadline)
                    heard = not claimed and await self._sleep(room, bell, deadline)
                finally:
                    if not heard and was_rung(bell):
                        self._ring(room)  # somebody else has to answer
            if not heard:
                return claimed

    async def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        asked = dict.fromkeys(claims)
        parts = (part for claim in asked for part in (claim.id, claim.attempt))
        beat, is_known, holds = await self._run("renew", worker, *parts)
        self._note_beat(beat)
        if not is_known and worker in self._workers:
            await self.register_worker(self._workers[worker])
        lost = {claim for claim, held in zip(asked, holds, strict=True) if not held}
        lost -= {claim for ended in self._unanswered for claim in ended}  # perhaps by that end
        self._forget_runs(lost)
        return lost

    async def withdrawn(self, worker: str, *, timeout: float) -> Sequence[Withdrawal]:
        deadline = asyncio.get_running_loop().time() + timeout
        news = self._withdrawals.setdefault(worker, asyncio.Event())
        while True:
            news.clear()
            told = self._told.get(worker, ())  # it has heard of these, and they are dropped now
            untold = self._told[worker] = await self._run("withdrawn", worker, *told)
            if untold or not await happens(news.wait(), deadline):
                withdrawals = [_withdrawal(one) for one in untold]
                self._forget_runs(withdrawal.claim for withdrawal in withdrawals)
                return withdrawals

    async def publish(self, events: Sequence[tuple[Claim, Event]]) -> None:
        known = [(claim, event) for claim, event in events if claim in self._runs]
        numbers = {claim: self._published.get(claim, 0) for claim, _ in known}
        parts: list[Any] = []
        for claim, event in known:
            numbers[claim] += 1
            parts += (claim.id, claim.attempt, numbers[claim], event.type, event.data)
        with suppress(StorageFull):  # a run goes on without its events, but not without its end
            await self._run("publish", *parts)
        # Not before: what is published again must have the numbers that it may have already.
        self._published |= {claim: n for claim, n in numbers.items() if claim in self._runs}

    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        claims = tuple(claim for claim, _ in ended)
        if claims in self._unanswered:
            name, moves = self._unanswered.pop(claims)
        else:
            name, moves = self._new_name(), await self._moves_of(ended)
        try:
            made = await self._move(moves, name)
        except Unavailable:
            self._unanswered[claims] = name, moves
            raise
        self._forget_runs(claims)
        taken = {move.before.claim for move, done in zip(moves, made, strict=True) if done}
        return {*claims} - taken

    async def release(self, claims: Sequence[Claim]) -> None:
        runs = await self._running(claims)
        await self._move([Move(run.record, run.record.released()) for run in runs.values()])
        self._forget_runs(runs)

    async def crash(self, claims: Sequence[Claim], ending: str, *, log: Sequence[str] = ()) -> None:
        runs = await self._running(claims)
        records = [run.record for run in runs.values()]
        await self._move([self._crashed(r, ending, len(claims), log) for r in records])
        self._forget_runs(runs)

    # Upkeep.

    async def reclaim(self) -> int:
        seen_over = self._beats_over
        expired = self._beats.expired(self._clock.steady())
        beat, workers, late = await self._run("late", "" if expired is None else expired)
        self._note_beat(beat)
        if self._beats_over != seen_over:  # it was asked with a beat of another count
            return 0
        owners = [dict_of(hash).get(b"worker", b"").decode() for hash in late[1::2]]
        records = _records(late)
        together = lost_together(zip(owners, records, strict=True))
        losses = map(self._crashed, records, repeat(LOST), together)
        made = await self._move([*losses])
        for worker in workers:
            await self._run("bury", worker)
        return sum(made)

    async def enforce_clocks(self) -> int:
        wall = self._clock.wall()
        lined_up, late, delivery_is_due = await self._run("due", self._time + _GRAIN, wall)
        if delivery_is_due:
            self._delivery_news.set()
        made = await self._move([_timed_out(record, wall) for record in _records(late)])
        return int(lined_up) + sum(made)

    # What the verbs are made of.

    async def _claim(
        self, worker: str, model: str, room: str, limit: int, deadline: float
    ) -> Sequence[Prediction]:
        """What can be claimed now. If there is nothing, a bell rings in the room for what comes."""
        wall, time = self._clock.wall(), self._time
        will_wait = asyncio.get_running_loop().time() < deadline
        if will_wait and self._claimers.is_exhausted(room):
            return ()
        arguments = (worker, self._name, model, room, limit, wall, time)
        flags = flag(self._claimers.others_sleep(room)), flag(will_wait), self._doubts[worker]
        give_back = partial(self._give_back, model, wall, time)
        rings = self._claimers.rings
        try:
            answer = await self._link.run_once(
                "claim", *arguments, *flags, *CLAIMED, orphaned=give_back
            )
        except (Unavailable, asyncio.CancelledError):
            self._doubtful.add(worker)
            self._doubts[worker] += 1
            raise
        if answer[2]:
            self._claimers.note_exhausted(room, rings)
        return self._taken(model, wall, time, answer)

    async def _sleep(self, room: str, bell: asyncio.Future[bool], deadline: float) -> bool:
        """Wait for a bell; False if the deadline comes first."""
        with self._claimers.asleep(room):
            return await happens(bell, deadline)

    def _taken(self, model: str, wall: float, time: float, answer: Any) -> Sequence[Prediction]:
        beat, found, _ = answer
        self._note_beat(beat)
        queued = (from_values(id.decode(), CLAIMED, shown, model=model) for id, shown in found)
        claimed = [record.claimed(wall) for record in queued]
        self._runs |= {record.claim: Run(record, time) for record in claimed}
        return claimed

    def _give_back(self, model: str, wall: float, time: float, answer: Any) -> None:
        """Nobody takes what was claimed."""
        taken = self._taken(model, wall, time, answer)
        self._begin(self.release([record.claim for record in taken]))

    async def _give_back_unknown(self, worker: str) -> None:
        """Release what Redis gave to a worker that never heard of it."""
        if worker in self._doubtful:
            held = await self._run("held", worker, self._doubts[worker])
            claims = [Claim(id.decode(), int(attempt)) for id, attempt in held]
            await self.release([claim for claim in claims if claim not in self._runs])
            self._doubtful.discard(worker)

    def _ring(self, room: str) -> None:
        """There is work for somebody who waits in this room, here or elsewhere."""
        if not self._claimers.ring(room) and not self._closed:
            self._link.run("ring", room)

    async def _running(self, claims: Sequence[Claim]) -> dict[Claim, Run]:
        """The runs that these claims are, as far as they are still known."""
        runs = {claim: self._runs[claim] for claim in claims if claim in self._runs}
        others = [claim for claim in claims if claim not in runs]
        looks = (self._look_up(claim.id) for claim in others)
        for claim, (record, since) in zip(others, await asyncio.gather(*looks), strict=True):
            if record and record.status is Status.PROCESSING and record.claim == claim:
                runs[claim] = Run(record, since)
        return runs

    def _forget_runs(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._runs.pop(claim, None)
            self._published.pop(claim, None)

    async def _moves_of(self, ended: Sequence[tuple[Claim, Outcome]]) -> list[Move]:
        """The moves that these outcomes are, of the runs that are still known."""
        wall = self._clock.wall()
        runs = await self._running([claim for claim, _ in ended])
        return [
            self._finished(runs[claim], outcome, wall) for claim, outcome in ended if claim in runs
        ]

    def _finished(self, run: Run, outcome: Outcome, wall: float) -> Move:
        after = run.record.finished_with(outcome, wall)
        tally = "retried" if after.retried > run.record.retried else ""
        return Move(run.record, after, tally=tally, ran=self._time - run.since)

    def _crashed(
        self, record: Prediction, ending: str, company: int, log: Sequence[str] = ()
    ) -> Move:
        most = self._limits.max_crashes
        after = record.crashed(
            self._clock.wall(), ending, company=company, max_crashes=most, log=log
        )
        return Move(record, after, tally="crashes")


def _records(flat: Sequence[Any]) -> list[Prediction]:
    """The records of ids and hashes that follow each other."""
    pairs = iter(flat)
    return [from_hash(id.decode(), hash) for id, hash in zip(pairs, pairs, strict=True)]


def _timed_out(record: Prediction, wall: float) -> Move:
    return Move(record, record.timed_out(wall), insists=True)


def _withdrawal(told: bytes) -> Withdrawal:
    id, attempt, insists = msgspec.json.decode(told, type=tuple[str, str, str])
    return Withdrawal(Claim(id, int(attempt)), insists == "1")
