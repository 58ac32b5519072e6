"""Moves in one process: how they are recorded, and what follows once they are.

A decided move goes to `_record`, which a broker fills in: memory shows it at once, sqlite writes it
down and shows it then. Nobody sees a move, and nothing follows from it outside of this process,
before it is recorded.
"""

import asyncio
import heapq
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

from msgspec.structs import replace

from zypher.brokers.alarms import Alarms
from zypher.brokers.base import Limits, Withdrawal
from zypher.brokers.decisions import Decisions
from zypher.brokers.deliveries import Deliveries
from zypher.brokers.events import EventLogs
from zypher.brokers.outbox import is_to_be_delivered
from zypher.brokers.queue import Entry, Move, Queues, resolve
from zypher.brokers.refusals import shutting_down
from zypher.brokers.waiters import Waiters
from zypher.brokers.withdrawals import Withdrawals
from zypher.clock import Clock
from zypher.prediction import NO_OPTIONS, QUEUED, Prediction, Status

# How long the outcome of an unkept prediction is held when nobody was there to take it: its
# waiter may have run out of patience in this very turn, and be about to keep it. And the log of
# events of any, for those who are about to read its end.
_LINGER = 60.0


class Moves(Deliveries):
    """The part of the engine that all verbs share: the entries, and who waits for their moves."""

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
        self._withdrawals = Withdrawals()
        self._logs = EventLogs()
        self._closed = False

    # What a broker fills in.

    @abstractmethod
    def _record(self, moves: Sequence[Move]) -> asyncio.Future[bool] | None:
        """See to it that `_show` is called for these moves, those of one entry in their order.

        None says that it was. The future is True once it was, and False when it will be, but
        nobody knows when; it raises for new predictions that will never be recorded.
        """

    @abstractmethod
    def _retain(self, entry: Entry) -> None:
        """A kept prediction has ended: hold on to it until it expires."""

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def _recorded(self, moves: Sequence[Move]) -> bool:
        """Record moves, and wait for it; False if that takes longer than anybody knows."""
        recording = self._record(moves) if moves else None
        return recording is None or await recording

    def _require_open(self) -> None:
        if self._closed:
            raise shutting_down()

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

    def _expire(self, entry: Entry) -> None:
        """Have `purge` forget an entry in memory when its time has come."""
        assert entry.record.expires is not None
        heapq.heappush(self._expiring, (entry.record.expires, entry.record.id))

    def _expired(self, record: Prediction) -> bool:
        return record.expires is not None and record.expires <= self._clock.wall()
