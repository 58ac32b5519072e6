"""What a broker must do, in the plainest code: the other side of `BrokerMachine`'s comparison.

It never waits, stores nothing and need not be fast. Where the contract leaves a broker the
choice, as to which lane comes next, it takes what the broker chose and checks that it may.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

from msgspec.structs import replace

from zypher.brokers.base import Limits, Withdrawal
from zypher.clock import Clock
from zypher.errors import Conflict, IdempotencyMismatch, QueueFull
from zypher.prediction import Claim, Outcome, Prediction, Priority, Status
from zypher.testing.machine.turns import Turns


@dataclass
class Row:
    """A prediction, and what there is to know beside its record."""

    record: Prediction
    kept: bool
    waits: bool
    place: int
    worker: str = ""
    claimed_at: float = 0.0
    leased_until: float = 0.0
    waiters: int = 0
    expires: float | None = None  # as the broker says: it may choose, within bounds
    alarm: float | None = None  # steady: when its pause is over, or the first of its clocks
    pauses: bool = False

    @property
    def lane(self) -> Priority:
        """Where it waits while it is queued. A caller who waits goes ahead."""
        return Priority.HIGH if self.waits else self.record.priority


class Reference:
    """A queue and its records. Its verbs are those of `zypher.brokers.base.Broker`."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._places = count()
        self._turns: dict[str, Turns] = defaultdict(Turns)
        self._withdrawals: dict[str, list[Withdrawal]] = {}
        self._run_times: dict[str, list[float]] = defaultdict(list)

    # The life of a prediction.

    def submit(self, prediction: Prediction, *, keep: bool, waits: bool = False) -> Prediction:
        waits = waits or not keep
        row = self.find(prediction.id) or self._same_key(prediction)
        if row and not self._expired(row):
            if row.record.fingerprint != prediction.fingerprint:
                raise IdempotencyMismatch("It is another one's.")
            return row.record
        self._free_expired_key(prediction)
        self._admit(prediction, waits)
        row = self._rows[prediction.id] = Row(prediction, keep, waits, next(self._places))
        self._set_alarm(row)
        return prediction

    def keep(self, id: str) -> Prediction | None:
        row = self.find(id)
        if row is None:
            return None
        row.waits = False
        if not row.kept:
            row.kept, row.expires = True, None
        return row.record

    def abandon(self, id: str) -> None:
        row = self.find(id)
        if row and not row.kept and not row.waiters and not row.record.status.terminal:
            self._withdraw(row, insists=False)
            self._move(row, row.record.canceled(self._clock.wall()))

    def find(self, id: str) -> Row | None:
        """What is known under this id. What has expired is unknown, purged or not."""
        row = self._rows.get(id)
        return None if row is None or self._expired(row) else row

    def cancel(self, id: str) -> Prediction | None:
        row = self.find(id)
        if row is None:
            return None
        if row.record.status.terminal:
            raise Conflict("It has ended.")
        self._withdraw(row, insists=True)
        self._move(row, row.record.canceled(self._clock.wall()))
        return row.record

    def delete(self, id: str) -> bool:
        row = self.find(id)
        if row is None:
            return False
        if not row.record.status.terminal:
            raise Conflict("It has not ended.")
        del self._rows[id]
        return True

    def listing(
        self, status: Status | None, model: str | None, owner: str | None
    ) -> list[Prediction]:
        """All pages of a listing in one."""
        return [
            replace(row.record, input=b"", result=None)
            for _, row in sorted(self._rows.items(), reverse=True)
            if row.kept
            and not self._expired(row)
            and status in (None, row.record.status)
            and model in (None, row.record.model)
            and owner in (None, row.record.owner)
        ]

    # Runs.

    def claim(
        self,
        worker: str,
        model: str,
        *,
        limit: int,
        suspects: bool,
        taken: Sequence[str],
        full: bool,
    ) -> None:
        """A worker claimed up to `limit` of a model and got `taken`, which it must be.

        `full`: that is all it could have, and a caller who waits went ahead of no kept one that
        is of high priority and older.
        """
        group: list[Row] = []
        for id in taken:
            heads = self._heads(model, suspects=suspects)
            row = self._rows[id]
            assert suspects or row.record.company is None, f"{id} was to be passed over"
            is_next = row in heads.values() or (row.waits and not full)
            assert is_next, f"{id} was claimed before those ahead of it in its lane"
            group.append(row)
            assert may_run_together(group), f"{id} was claimed in company that it must not have"
            self._turns[model].took(row.lane, set(heads))
            self._lease(row, worker)
        heads = self._heads(model, suspects=suspects)
        stopped = any(not may_run_together([*group, head]) for head in heads.values())
        is_full = len(group) == limit or stopped or not heads
        assert is_full or (group and not full), "a claim left out what it could take"

    def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        lost = set()
        for claim in claims:
            row = self._held(claim)
            if row is None or row.worker != worker:
                lost.add(claim)
            else:
                row.leased_until = self._clock.steady() + self._limits.lease
        return lost

    def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        refused = set()
        for claim, outcome in ended:
            if row := self._held(claim):
                self._run_times[row.record.model].append(self._clock.steady() - row.claimed_at)
                self._move(row, row.record.finished_with(outcome, self._clock.wall()))
            else:
                refused.add(claim)
        return refused

    def release(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if row := self._held(claim):
                self._move(row, row.record.released())

    def withdrawn(self, worker: str) -> list[Withdrawal]:
        return self._withdrawals.pop(worker, [])

    def crash(self, claims: Sequence[Claim], ending: str) -> None:
        for claim in claims:
            if row := self._held(claim):
                self._crash(row, ending, company=len(claims))

    # Upkeep.

    def reclaim(self) -> int:
        now = self._clock.steady()
        late = [row for row in self.rows(Status.PROCESSING) if row.leased_until <= now]
        together = Counter((row.worker, row.record.model) for row in late)
        for row in late:
            most = together[row.worker, row.record.model]
            self._crash(row, "was lost", company=min(row.record.company or most, most))
        return len(late)

    def enforce_clocks(self) -> int:
        count = 0
        while late := self._late():  # once more: a clock may be over that was behind a pause
            count += len(late)
            for row in late:
                if row.pauses:
                    row.pauses = False
                    self._set_alarm(row)
                else:
                    self._withdraw(row, insists=True)
                    self._move(row, row.record.timed_out(self._clock.wall()))
        return count

    def purge(self) -> int:
        expired = [id for id, row in self._rows.items() if self._expired(row)]
        for id in expired:
            del self._rows[id]
        return len(expired)

    def restart(self) -> None:
        """The broker ended and was opened again: what ran was lost with it."""
        self._rows = {id: row for id, row in self._rows.items() if row.kept}
        self._turns.clear()
        self._withdrawals.clear()
        for row in self._rows.values():
            row.waiters, row.waits = 0, False
        for model in {row.record.model for row in self._rows.values()}:
            running = self.rows(Status.PROCESSING, model)
            for row in running:
                company = min(len(running), row.record.company or len(running))
                self._crash(row, "was lost", company=company)
        for row in self.rows(Status.QUEUED):
            row.pauses = False
            self._pause(row)
            self._set_alarm(row)

    # What there is to see.

    def rows(self, status: Status, model: str | None = None) -> list[Row]:
        """All of this status, in the order of their submission."""
        rows = [row for row in self._rows.values() if row.record.status is status]
        rows.sort(key=lambda row: row.place)
        return [row for row in rows if model in (None, row.record.model)]

    def check_service_time(self, model: str, seconds: float | None) -> None:
        """It is that of the finished runs, smoothed; a restart may forget it."""
        if times := self._run_times[model]:
            assert seconds is None or min(times) <= seconds <= max(times), f"it is {seconds}"
        else:
            assert seconds is None, "there is a service time, and nothing was finished"

    def check_expiry(self, row: Row, expires: float | None) -> None:
        """The broker says when this one expires; it may choose once, within bounds."""
        now, ttl = self._clock.wall(), self._ttl(row.record)
        if not row.record.status.terminal:
            assert expires is None, "it expires without having ended"
            return
        assert expires is not None, "it has ended, and never expires"
        if row.expires is not None:
            assert expires == row.expires, "it expires at another time than it said"
        elif row.kept:
            assert row.record.finished is not None
            first, last = sorted((row.record.finished, now))
            assert first + ttl <= expires <= last + ttl, "it is not kept for its ttl"
        else:
            assert now < expires <= now + self._limits.ttl, "nobody has time to keep it"
        row.expires = expires

    # What the verbs are made of.

    def _same_key(self, prediction: Prediction) -> Row | None:
        """What has this one's idempotency key, expired or not."""
        if prediction.idempotency_key is None:
            return None
        key = prediction.owner, prediction.idempotency_key
        for row in self._rows.values():
            if (row.record.owner, row.record.idempotency_key) == key:
                return row
        return None

    def _free_expired_key(self, prediction: Prediction) -> None:
        """The key of one that has expired is free."""
        if row := self._same_key(prediction):
            row.record = replace(row.record, idempotency_key=None)

    def _ttl(self, record: Prediction) -> float:
        ttl = self._limits.ttl if record.options.ttl is None else record.options.ttl
        return max(ttl, self._limits.key_ttl) if record.idempotency_key is not None else ttl

    def _admit(self, prediction: Prediction, waits: bool) -> None:
        owned = sum(row.record.owner == prediction.owner for row in self.rows(Status.QUEUED))
        if owned >= self._limits.max_queued_of.get(prediction.owner or "", inf):
            raise QueueFull("It is full for this owner.")
        share = 1 if waits else 1 - self._limits.waiting_share
        queued = len(self.rows(Status.QUEUED, prediction.model)) + 1
        size = sum(row.record.size for row in self.rows(Status.QUEUED)) + prediction.size
        if queued > self._limits.max_queued * share or size > self._limits.max_queued_bytes * share:
            raise QueueFull("It is full.")

    def _heads(self, model: str, *, suspects: bool) -> dict[Priority, Row]:
        """The first of every lane in which something waits; without `suspects`, of the others."""
        rows = [row for row in self.rows(Status.QUEUED, model) if not row.pauses]
        rows = [row for row in rows if suspects or row.record.company is None]
        return {row.lane: row for row in reversed(rows)}

    def _lease(self, row: Row, worker: str) -> None:
        row.record = row.record.claimed(self._clock.wall())
        self._set_alarm(row)
        row.worker = worker
        row.claimed_at = self._clock.steady()
        row.leased_until = row.claimed_at + self._limits.lease

    def _held(self, claim: Claim) -> Row | None:
        """The row that this claim is the right to."""
        row = self._rows.get(claim.id)
        if row is None or row.record.status is not Status.PROCESSING:
            return None
        return row if row.record.claim == claim else None

    def _crash(self, row: Row, ending: str, *, company: int) -> None:
        now, most = self._clock.wall(), self._limits.max_crashes
        self._move(row, row.record.crashed(now, ending, company=company, max_crashes=most))

    def _move(self, row: Row, record: Prediction) -> None:
        """Take the record, and forget it if it is final and all who wanted it have it."""
        if record.status is Status.CANCELED and not row.kept:
            record = replace(record, input=b"")  # nobody wants it back
        row.record, row.pauses = record, False
        self._pause(row)
        self._set_alarm(row)
        if record.status.terminal and not row.kept and row.waiters:
            del self._rows[record.id]

    def _pause(self, row: Row) -> None:
        record = row.record
        if record.status is Status.QUEUED and record.not_before is not None:
            row.pauses = record.not_before > self._clock.wall()

    def _set_alarm(self, row: Row) -> None:
        """When a clock runs out is decided by the wall, and measured steadily from then on."""
        due = row.record.due
        at = row.record.not_before if row.pauses else due and due.at
        offset = self._clock.steady() - self._clock.wall()
        row.alarm = None if at is None else at + offset

    def _late(self) -> list[Row]:
        """Whose pause, or the first of whose clocks, is over."""
        now = self._clock.steady()
        return [row for row in self._rows.values() if row.alarm is not None and row.alarm <= now]

    def _withdraw(self, row: Row, *, insists: bool) -> None:
        if row.record.status is Status.PROCESSING:
            withdrawal = Withdrawal(row.record.claim, insists)
            self._withdrawals.setdefault(row.worker, []).append(withdrawal)

    def _expired(self, row: Row) -> bool:
        return row.expires is not None and row.expires <= self._clock.wall()


def may_run_together(rows: Sequence[Row]) -> bool:
    """Suspects only among themselves, and no more than the least company of any of them."""
    companies = [row.record.company for row in rows if row.record.company is not None]
    return not companies or len(companies) == len(rows) <= min(companies)
