"""One model's queue in memory: what waits, what runs, and who waits to claim."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from itertools import chain
from math import inf
from typing import NamedTuple, TypeVar

import msgspec

from zypher.brokers.base import ModelStats
from zypher.brokers.lanes import Lanes, Slot
from zypher.brokers.refusals import shutting_down
from zypher.prediction import HIGH, QUEUED, Prediction, Priority, Status

T = TypeVar("T")

# How much of a new measurement goes into the smoothed service time.
_SMOOTHING = 0.2

_MINUTE = 60


class Entry(msgspec.Struct, eq=False, gc=False):  # many wait at once, and none is in a cycle
    """A prediction in memory: its record, and what only this process knows of it.

    `record` is what was decided, `shown` what everybody may see: a broker that keeps records on
    disk shows a move once it is written, and has no entry before the first one is.
    """

    record: Prediction
    shown: Prediction
    place: int
    kept: bool
    waits: bool  # a caller does, and goes ahead
    since: float  # steady time of the last move, or of its submission while it is queued
    queued_in: Slot | None = None
    recorded: bool = False  # at least its first move is, where it is kept
    stalled: bool = False  # its next move could not be recorded now
    delayed: bool = False  # it may not be claimed yet
    alarm: int = 0  # the number of its alarm, if that is on
    worker: str = ""
    leased_until: float = 0.0
    withdrawal: bool | None = None  # set while it runs and is ended by others: do they insist?
    foreseen: Prediction | None = None  # its claim, if that was written before it was made
    caller: asyncio.Future[Prediction | None] | None = None  # of `Broker.call`, and nobody else's

    @property
    def is_called(self) -> bool:
        """True while the caller of `Broker.call` waits for its end."""
        return self.caller is not None and not self.caller.done()

    @property
    def slot(self) -> Slot | None:
        """Where it waits to be claimed, if it does."""
        record = self.record
        if record.status is not QUEUED or self.stalled or self.delayed:
            return None
        return HIGH if self.waits else record.priority, record.company is not None


class Move(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A decided change of a record; `before` is None for a record that is new."""

    entry: Entry
    before: Prediction | None
    after: Prediction


class Claimer(NamedTuple):
    """Somebody who waits to claim up to `limit`, until the loop's time `deadline`."""

    bell: asyncio.Future[bool]
    limit: int
    deadline: float


class ModelQueue:
    """One model's waiting and running predictions."""

    def __init__(self, model: str, queues: "Queues") -> None:
        self.model = model
        self._queues = queues
        self.lanes: Lanes[Entry] = Lanes()
        self.queued = 0
        self.queued_bytes = 0
        self.newest_places = dict.fromkeys(Priority, 0)  # of those that came, by lane
        self.running: dict[str, Entry] = {}
        self.service_time: float | None = None
        self.ended = dict.fromkeys(Status, 0)
        self.retried = 0
        self.crashes = 0
        self.rate = Rate()
        # Those who wait to claim, by whether they take suspects.
        self.claimers: dict[bool, deque[Claimer]] = {True: deque(), False: deque()}
        # How much more those may claim who were woken, or whose claim is being recorded.
        self.coming_back = 0
        self._rings = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf  # the loop's time

    def add(self, queued: int, queued_bytes: int) -> None:
        """So many more are queued; fewer, where the numbers are negative."""
        self.queued += queued
        self.queued_bytes += queued_bytes
        self._queues.queued_bytes += queued_bytes

    def enter(self, record: Prediction) -> None:
        """A record is queued, for the first time or again; it counts from now on."""
        self.add(1, record.size)
        if record.owner is not None:
            self._queues.owned[record.owner] += 1

    def leave(self, record: Prediction) -> None:
        """A queued record is no longer queued."""
        self.add(-1, -record.size)
        if record.owner is not None:
            self._queues.owned[record.owner] -= 1

    def push(self, entry: Entry) -> None:
        """A queued entry can be claimed from now on, if nothing holds it up."""
        if self.lanes.push(entry):
            self.ring()

    def ring(self) -> None:
        """Wake one who waits for anything to claim, and one who waits for what is no suspect.

        A turn of the loop later, so that what arrives meanwhile is claimed with it: where a run
        takes no time, most of what it costs is to hand it over.
        """
        if self.claimers[True] or self.claimers[False]:
            if not self._rings:
                asyncio.get_running_loop().call_soon(self._wake)
            self._rings += 1

    def _wake(self) -> None:
        rings, self._rings = self._rings, 0
        for claimers in self.claimers.values():
            woken = 0
            while claimers and woken < rings:
                claimer = claimers.popleft()
                self.coming_back += claimer.limit
                woken += resolve(claimer.bell, True)

    @property
    def appetite(self) -> int:
        """How many would be claimed at once if they came now."""
        waiting = sum([claimer.limit for claimer in chain(*self.claimers.values())])
        return waiting + self.coming_back

    async def arrival(self, deadline: float, *, limit: int, suspects: bool) -> bool:
        """Wait until something may be there to claim; False if the loop's time `deadline` comes."""
        loop = asyncio.get_running_loop()
        bell: asyncio.Future[bool] = loop.create_future()
        claimer = Claimer(bell, limit, deadline)
        claimers = self.claimers[suspects]
        claimers.append(claimer)
        self._set_alarm(loop, deadline)
        heard = False
        try:
            heard = await bell
        except asyncio.CancelledError:
            if bell.done() and not bell.cancelled():
                self.ring()  # somebody else has to answer the bell that this one heard
            raise
        finally:
            if not heard and claimer in claimers:
                claimers.remove(claimer)
            else:  # the bell took it out
                self.coming_back -= limit
        return heard

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Have it ring by then. One for all who wait, which stays when they have been served: a
        timer for each would cost more than most claims."""
        if self._alarm_at <= deadline:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = loop.call_at(deadline, self._end_patience, loop)

    def _end_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send those away whose deadline has come."""
        self._alarm, self._alarm_at = None, inf
        now = loop.time()
        for claimer in chain(*self.claimers.values()):
            if claimer.deadline <= now:
                resolve(claimer.bell, False)
            else:
                self._set_alarm(loop, claimer.deadline)

    def close(self) -> None:
        """Nothing will arrive any more: tell those who wait for it."""
        if self._alarm is not None:
            self._alarm.cancel()
        for claimer in chain(*self.claimers.values()):
            if not claimer.bell.done():
                claimer.bell.set_exception(shutting_down())

    def note_ends(self, status: Status, count: int, now: float) -> None:
        """So many have ended, at this steady time."""
        self.ended[status] += count
        self.rate.count(count, now)

    def measured(self, seconds: float) -> None:
        """A run was finished after so many seconds."""
        if self.service_time is None:
            self.service_time = seconds
        else:
            self.service_time += _SMOOTHING * (seconds - self.service_time)

    def next_group(self, limit: int, *, suspects: bool) -> list[Entry]:
        """The next up to `limit` entries that may run together, taken out of their lanes."""
        group: list[Entry] = []
        while len(group) < limit and (entry := self.lanes.peek(suspects=suspects)) is not None:
            company = entry.record.company
            if group and (company is None) != (group[0].record.company is None):
                break
            if company is not None:
                limit = min(limit, company)
                if len(group) >= limit:
                    break
            self.lanes.pop(entry)
            group.append(entry)
        return group

    def stats(
        self, now: float, waiting: tuple[int, int, int], paused: Sequence[Entry]
    ) -> ModelStats:
        """How it stands at the steady time `now`: so many wait in each lane, and these pause."""
        oldest = self.lanes.oldest()
        since = min((entry.since for entry in (oldest, *paused) if entry), default=now)
        running = next(iter(self.running.values()), None)
        return ModelStats(
            queued=self.queued,
            queued_bytes=self.queued_bytes,
            waiting=waiting,
            paused=len(paused),
            refused=sum(entry.record.misfits > 0 for entry in paused),
            processing=len(self.running),
            oldest_queued_age=now - since,
            oldest_processing_age=now - running.since if running else 0.0,
            service_time=self.service_time,
            completed=self.ended[Status.COMPLETED],
            failed=self.ended[Status.FAILED],
            canceled=self.ended[Status.CANCELED],
            retried=self.retried,
            crashes=self.crashes,
            rate=self.rate.per_second(now),
        )


class Queues(dict[str, ModelQueue]):
    """The queues by model; one that is asked for is made.

    `owned`: what waits, by owner. `queued_bytes`: of all models together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owned: Counter[str] = Counter()
        self.queued_bytes = 0

    def __missing__(self, model: str) -> ModelQueue:
        queue = self[model] = ModelQueue(model, self)
        return queue


class Rate:
    """How often something happened in the last minute."""

    def __init__(self) -> None:
        self._counts: deque[list[int]] = deque()  # second and count
        self._total = 0

    def count(self, times: int, now: float) -> None:
        """It happened so many times more, at this steady time."""
        second = int(now)
        if not self._counts or self._counts[-1][0] != second:
            self._counts.append([second, 0])
            self._forget(second)
        self._counts[-1][1] += times
        self._total += times

    def per_second(self, now: float) -> float:
        """How often per second, over the minute before `now`."""
        self._forget(int(now))
        return self._total / _MINUTE

    def _forget(self, second: int) -> None:
        while self._counts and self._counts[0][0] <= second - _MINUTE:
            self._total -= self._counts.popleft()[1]


def resolve(future: asyncio.Future[T], result: T) -> bool:
    """Give a future its result, unless it has one; True if it was given."""
    if future.done():
        return False
    future.set_result(result)
    return True
