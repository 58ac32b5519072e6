"""What the verbs decide: a decision changes an entry and its queue, and is a move to record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

import msgspec
from msgspec.structs import replace

from zypher.brokers.alarms import Alarms
from zypher.brokers.base import Limits
from zypher.brokers.queue import Entry, Move, Queues
from zypher.clock import Clock
from zypher.prediction import PROCESSING, QUEUED, Outcome, Prediction

# How a run ended whose worker was not heard of any more.
LOST = "was lost with its worker"


class Now(msgspec.Struct, frozen=True, gc=False):
    """Both readings of a clock, taken once for all that a verb decides."""

    wall: float
    steady: float


class Decisions:
    """Moves of the entries in memory. None of them yields to others."""

    def __init__(self, limits: Limits, clock: Clock, queues: Queues, alarms: Alarms) -> None:
        self._limits = limits
        self._clock = clock
        self._queues = queues
        self._alarms = alarms

    @property
    def now(self) -> Now:
        """What the clock says."""
        return Now(self._clock.wall(), self._clock.steady())

    def claim(self, entry: Entry, worker: str, now: Now) -> Move:
        """A worker takes it."""
        record = entry.record
        queue = self._queues[record.model]
        queue.leave(record)
        queue.running[record.id] = entry
        entry.worker = worker
        entry.leased_until = inf  # it is not handed out yet
        return self._decide(entry, record.claimed(now.wall), now)

    def finish(self, entry: Entry, outcome: Outcome, now: Now) -> Move:
        """Its run came to an end; it may be tried again."""
        record = entry.record.finished_with(outcome, now.wall)
        queue = self._queues[record.model]
        queue.measured(now.steady - entry.since)
        if record.status.terminal:
            return self._end(entry, record, now)
        if record.retried > entry.record.retried:
            queue.retried += 1
        return self._give_back(entry, record, now)

    def crash(self, entry: Entry, ending: str, *, company: int, log: Sequence[str] = ()) -> Move:
        """Its process died, in which so many ran."""
        now, most = self.now, self._limits.max_crashes
        record = entry.record.crashed(now.wall, ending, company=company, max_crashes=most, log=log)
        self._queues[record.model].crashes += 1
        return (self._end if record.status.terminal else self._give_back)(entry, record, now)

    def lose(self, entries: Sequence[Entry]) -> list[Move]:
        """They were lost with their workers, whose leases have run out."""
        together = lost_together((entry.worker, entry.record) for entry in entries)
        return [
            self.crash(entry, LOST, company=company)
            for entry, company in zip(entries, together, strict=True)
        ]

    def cancel(self, entry: Entry, *, insists: bool) -> Move:
        """Somebody called it off."""
        now = self.now
        self._withdraw(entry, insists=insists)
        return self._end(entry, entry.record.canceled(now.wall), now)

    def time_out(self, entry: Entry) -> Move:
        """One of its clocks ran out."""
        now = self.now
        self._withdraw(entry, insists=True)
        return self._end(entry, entry.record.timed_out(now.wall), now)

    def _withdraw(self, entry: Entry, *, insists: bool) -> None:
        """An entry is about to end by somebody else than its worker."""
        self._leave_queue(entry)
        if entry.record.status is PROCESSING:
            entry.withdrawal = insists

    def release(self, entry: Entry) -> Move:
        """Its worker gives it back unharmed."""
        return self._give_back(entry, entry.record.released(), self.now)

    def _give_back(self, entry: Entry, record: Prediction, now: Now) -> Move:
        queue = self._queues[record.model]
        queue.running.pop(record.id)
        queue.enter(record)
        return self._decide(entry, record, now)

    def _leave_queue(self, entry: Entry) -> None:
        """An entry that may wait is about to end without having been claimed."""
        if entry.record.status is QUEUED:
            queue = self._queues[entry.record.model]
            queue.leave(entry.record)
            queue.lanes.left(entry)

    def _end(self, entry: Entry, record: Prediction, now: Now) -> Move:
        self._queues[record.model].running.pop(record.id, None)
        return self._decide(entry, self.with_expiry(record) if entry.kept else record, now)

    def _decide(self, entry: Entry, record: Prediction, now: Now) -> Move:
        move = Move(entry, entry.record, record)
        if entry.alarm:
            self._alarms.turn_off(entry)
        entry.record = record
        entry.since = now.steady
        if record.status is QUEUED:  # it has waited since it was submitted
            entry.since -= max(0.0, now.wall - record.created)
        entry.delayed = record.not_before is not None and self.pauses(record)
        return move

    def pauses(self, record: Prediction) -> bool:
        """True for one that is to be tried again, but not yet."""
        if record.status is not QUEUED or record.not_before is None:
            return False
        return record.not_before > self._clock.wall()

    def with_expiry(self, record: Prediction) -> Prediction:
        """A record that has ended and is kept from now on."""
        return replace(record, expires=self._clock.wall() + time_to_live(record, self._limits))


def time_to_live(record: Prediction, limits: Limits) -> float:
    """Seconds for which a prediction is kept after its end."""
    ttl = limits.ttl if record.options.ttl is None else record.options.ttl
    return ttl if record.idempotency_key is None else max(ttl, limits.key_ttl)


def lost_together(lost: Iterable[tuple[str, Prediction]]) -> list[int]:
    """With how many each of these was in one process, for all that one can know.

    They are told with their workers, which were lost: as if one process of a worker had run all
    those of a model, as far as the company allows that each was in.
    """
    owned = [(worker, record.model, record.company) for worker, record in lost]
    together = Counter((worker, model) for worker, model, _ in owned)
    most = [together[worker, model] for worker, model, _ in owned]
    return [min(company or n, n) for (*_, company), n in zip(owned, most, strict=True)]
