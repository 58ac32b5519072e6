"""What the verbs decide: a decision changes an entry and its queue, and is a move to record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf

from msgspec.structs import replace

from zypher.brokers.alarms import Alarms
from zypher.brokers.base import Limits
from zypher.brokers.queue import Entry, Move, Queues
from zypher.clock import Clock
from zypher.prediction import Outcome, Prediction, Status

# How a run ended whose worker was not heard of any more.
LOST = "was lost with its worker"


class Decisions:
    """Moves of the entries in memory. None of them yields to others."""

    def __init__(self, limits: Limits, clock: Clock, queues: Queues, alarms: Alarms) -> None:
        self._limits = limits
        self._clock = clock
        self._queues = queues
        self._alarms = alarms

    def claim(self, entry: Entry, worker: str) -> Move:
        """A worker takes it."""
        queue = self._queues[entry.record.model]
        queue.leave(entry.record)
        queue.running[entry.record.id] = entry
        entry.worker = worker
        entry.leased_until = inf  # it is not handed out yet
        return self._decide(entry, entry.record.claimed(self._clock.wall()))

    def finish(self, entry: Entry, outcome: Outcome) -> Move:
        """Its run came to an end; it may be tried again."""
        record = entry.record.finished_with(outcome, self._clock.wall())
        self._queues[record.model].measured(self._clock.steady() - entry.since)
        if record.status.terminal:
            return self._end(entry, record)
        if record.retried > entry.record.retried:
            self._queues[record.model].retried += 1
        return self._give_back(entry, record)

    def crash(self, entry: Entry, ending: str, *, company: int, log: Sequence[str] = ()) -> Move:
        """Its process died, in which so many ran."""
        most = self._limits.max_crashes
        record = entry.record.crashed(
            self._clock.wall(), ending, company=company, max_crashes=most, log=log
        )
        self._queues[record.model].crashes += 1
        return (self._end if record.status.terminal else self._give_back)(entry, record)

    def lose(self, entries: Sequence[Entry]) -> list[Move]:
        """They were lost with their workers, whose leases have run out."""
        together = lost_together((entry.worker, entry.record) for entry in entries)
        return [
            self.crash(entry, LOST, company=company)
            for entry, company in zip(entries, together, strict=True)
        ]

    def cancel(self, entry: Entry, *, insists: bool) -> Move:
        """Somebody called it off."""
        self._withdraw(entry, insists=insists)
        return self._end(entry, entry.record.canceled(self._clock.wall()))

    def time_out(self, entry: Entry) -> Move:
        """One of its clocks ran out."""
        self._withdraw(entry, insists=True)
        return self._end(entry, entry.record.timed_out(self._clock.wall()))

    def _withdraw(self, entry: Entry, *, insists: bool) -> None:
        """An entry is about to end by somebody else than its worker."""
        self._leave_queue(entry)
        if entry.record.status is Status.PROCESSING:
            entry.withdrawal = insists

    def release(self, entry: Entry) -> Move:
        """Its worker gives it back unharmed."""
        return self._give_back(entry, entry.record.released())

    def _give_back(self, entry: Entry, record: Prediction) -> Move:
        queue = self._queues[record.model]
        queue.running.pop(record.id)
        queue.enter(record)
        return self._decide(entry, record)

    def _leave_queue(self, entry: Entry) -> None:
        """An entry that may wait is about to end without having been claimed."""
        if entry.record.status is Status.QUEUED:
            queue = self._queues[entry.record.model]
            queue.leave(entry.record)
            queue.lanes.left(entry)

    def _end(self, entry: Entry, record: Prediction) -> Move:
        self._queues[record.model].running.pop(record.id, None)
        return self._decide(entry, self.with_expiry(record) if entry.kept else record)

    def _decide(self, entry: Entry, record: Prediction) -> Move:
        move = Move(entry, entry.record, record)
        self._alarms.turn_off(entry)
        entry.record = record
        entry.since = self._clock.steady()
        if record.status is Status.QUEUED:  # it has waited since it was submitted
            entry.since -= max(0.0, self._clock.wall() - record.created)
        entry.delayed = self.pauses(record)
        return move

    def pauses(self, record: Prediction) -> bool:
        """True for one that is to be tried again, but not yet."""
        if record.status is not Status.QUEUED or record.not_before is None:
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
