"""The sqlite broker: the engine with a journal.

Every move of a kept prediction is on the disk before anybody sees it. What nobody kept, the
synchronous predictions, never touches the disk. Of a long queue only a window is in memory.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from zypher.brokers.base import Limits, ModelStats, Overview, Page
from zypher.brokers.engine import Engine, Key
from zypher.brokers.lanes import Lanes
from zypher.brokers.outbox import Undelivered
from zypher.brokers.queue import Entry, ModelQueue, Move
from zypher.brokers.sqlite.backlog import WINDOW, WINDOW_BYTES, Backlogs
from zypher.brokers.sqlite.backup import BackupService
from zypher.brokers.sqlite.files import Lock, create, require_place
from zypher.brokers.sqlite.foresight import following, foreseeing, missed, shown, was_foreseen
from zypher.brokers.sqlite.journal import Journal, KnownId
from zypher.brokers.sqlite.opening import is_damage
from zypher.brokers.sqlite.recent import Recent
from zypher.brokers.sqlite.records import START, DuePlace, Stored
from zypher.brokers.sqlite.salvage import finish_salvage, salvage
from zypher.brokers.sqlite.store import LaneCount, Store
from zypher.clock import Clock
from zypher.errors import QueueFull, Unavailable
from zypher.prediction import Due, Prediction, Priority, Status

log = logging.getLogger("zypher.broker")

# A claim waits so long, in seconds, for what is being read from the disk, whatever its patience;
# and so long after a read that failed the next is tried.
_LOADING = 1.0


class Found(NamedTuple):
    """What was in the file when it was opened; `salvaged` tells of a damaged one before it."""

    queued: list[LaneCount]
    owned: dict[str, int]
    last_place: int
    first_due: float
    salvaged: str | None


class SqliteBroker(Engine):
    """Predictions in a file, used by this process alone."""

    def __init__(
        self, path: Path, limits: Limits, clock: Clock, *, salvage_damaged: bool = False
    ) -> None:
        super().__init__(limits, clock)
        self._path = path
        self._salvage_damaged = salvage_damaged
        self._lock: Lock | None = None
        self._journal = Journal(path, self._open, self)
        self._backups = BackupService(path, self._journal.backup)
        self._backlogs: dict[str, Backlogs] = {}
        self._recent = Recent()
        self._glance: Overview | None = None
        self._disk_due = inf  # wall time: of what waits on the disk alone, a clock runs out then
        self._salvaged: str | None = None
        self._missing = 0  # queued predictions that were counted in the file and not found

    async def start(self) -> None:
        require_place(self._path)
        self._lock = Lock(self._path)
        create(self._path)
        await self._backups.start()
        await self._journal.start()
        if self._journal.trouble is None:
            for model in self._backlogs:
                self._fill_up(model)
            with suppress(Unavailable):  # the journal has told why
                await self._journal.settled()  # what is claimed first is in memory now

    # The verbs, where the disk makes a difference.

    async def submit(
        self, prediction: Prediction, *, keep: bool, waits: bool = False
    ) -> Prediction:
        if keep:
            self._journal.require_health()
        try:
            return await super().submit(prediction, keep=keep, waits=waits)
        except QueueFull:
            known = await self.get(prediction.id) if keep else None
            if known is None:
                raise
            return known
        except KnownId:
            return await self._known_or_new(prediction, waits)

    def take(self, prediction: Prediction) -> asyncio.Future[bool]:
        self._journal.require_health()
        return super().take(prediction)

    async def keep(self, id: str) -> Prediction | None:
        self._journal.require_health()
        await self._settled(id)
        return await super().keep(id)

    async def cancel(self, id: str) -> Prediction | None:
        self._journal.require_health()
        await self._settled(id)
        return await super().cancel(id)

    async def delete(self, id: str) -> bool:
        self._journal.require_health()
        await self._settled(id)
        return await super().delete(id)

    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        now = self._clock.wall()
        rows = await self._journal.ask(
            lambda store: store.page(status, model, owner, cursor, now, limit + 1)
        )
        return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)

    async def stats(self) -> dict[str, ModelStats]:
        stats = await super().stats()
        if self._journal.trouble is None:
            return stats
        now = self._clock.steady()
        for entry in self._entries.values():
            if entry.stalled and entry.record.status is Status.QUEUED:  # it is in no lane now
                model = stats[entry.record.model]
                age = max(model.oldest_queued_age, now - entry.since)
                stats[entry.record.model] = replace(model, oldest_queued_age=age)
        return stats

    def glance(self) -> Overview | None:
        if self._glance is None and self._journal.trouble is None:
            # What one commit has taken in asks in one turn of the loop.
            self._glance = super().glance()
            asyncio.get_running_loop().call_soon(self._look_away)
        return self._glance

    def _look_away(self) -> None:
        self._glance = None

    async def enforce_clocks(self) -> int:
        count = await super().enforce_clocks()
        now = self._clock.wall()
        if self._disk_due <= now:
            self._disk_due = inf  # what goes to the disk meanwhile brings it down again
            try:
                count += await self._enforce_on_disk(now)
            except BaseException:
                self._disk_due = now
                raise
        return count

    async def purge(self) -> int:
        now = self._clock.wall()
        count = await super().purge()
        for entry in self._recent.expired(now):
            self._leave_to_disk(entry)
        with suppress(Unavailable):  # later, then; the journal has told why
            # In steps, between which others are served.
            while some := await self._journal.ask(lambda store: store.purge(now), follows=True):
                count += some
            while await self._journal.ask(Store.shrink, follows=True):
                pass
        return count

    def guarantee(self) -> str:
        if self._journal.trouble is not None:
            return "Nothing is accepted asynchronously now; what was accepted stays in its file."
        return (
            f"Accepted predictions are on the disk in {self._path} before their 202: they survive "
            "a kill of any process and a power cut, but not the loss of that disk."
        )

    def degraded(self) -> Sequence[str]:
        trouble = self._journal.trouble
        return [
            *([trouble.sentence] if trouble is not None else []),
            *([self._salvaged] if self._salvaged is not None else []),
            *([self._unreadable()] if self._missing else []),
        ]

    async def aclose(self) -> None:
        await super().aclose()
        with suppress(OSError):  # its socket stays where nothing can be removed now
            self._backups.close()
        await self._journal.stop()
        if self._lock is not None:
            self._lock.close()

    # What the engine leaves open.

    def _record(self, moves: Sequence[Move]) -> asyncio.Future[bool] | None:
        at_once, to_write = [], []
        for move in moves:
            if not move.entry.kept or was_foreseen(move):
                at_once.append(move)
            else:
                to_write.append(following(move))
        if at_once:
            self._show(at_once)
        if not to_write:
            return None
        first, model = to_write[0], to_write[0].after.model
        is_new = first.before is None and self._entries.get(first.after.id) is not first.entry
        if is_new:
            to_write = [foreseeing(first, self._queues[model], self._clock.wall())]
        written = self._journal.write(to_write, refusable=is_new)
        self._fill_up(model)
        return written

    async def _find(self, id: str) -> Entry | None:
        entry = self._entries.get(id)
        if entry is None:
            stored = await self._journal.ask(lambda store: store.find(id))
            entry = self._entries.get(id) or (stored and self._entry(*stored))
        return entry

    async def _find_by_key(self, key: Key) -> Entry | None:
        # After what was written before: a submit with this key may have been given up midway.
        stored = await self._journal.ask(lambda store: store.find_by_key(*key), follows=True)
        return stored and (self._entries.get(stored.record.id) or self._entry(*stored))

    async def _free_key(self, entry: Entry) -> None:
        await self._journal.ask(lambda store: store.free_key(entry.place), follows=True)

    def _waiting_in(self, queue: ModelQueue) -> tuple[int, int, int]:
        high, normal, low = super()._waiting_in(queue)
        if queue.model not in self._backlogs:
            return high, normal, low
        on_disk = [self._backlogs[queue.model][lane].queued for lane in Priority]
        return high + on_disk[0], normal + on_disk[1], low + on_disk[2]

    def _take_up(self, entry: Entry) -> None:
        is_queued = entry.record.status is Status.QUEUED
        if is_queued and entry.record.id not in self._entries:
            self._entries[entry.record.id] = entry
            self._backlogs_of(entry.record).take(entry.record)

    def _retain(self, entry: Entry) -> None:
        was_full = self._recent.is_full
        self._recent.add(entry)
        if self._recent.is_full and not was_full:
            # Who has just read on the disk how it was before finds it here in this turn.
            asyncio.get_running_loop().call_soon(self._make_room)

    def _make_room(self) -> None:
        for entry in self._recent.superfluous():
            self._leave_to_disk(entry)

    def _leave_to_disk(self, entry: Entry) -> None:
        if self._entries.get(entry.record.id) is entry:
            del self._entries[entry.record.id]

    async def _erase(self, entry: Entry) -> None:
        await self._journal.ask(lambda store: store.erase(entry.place), follows=True)

    async def _undelivered(self, now: float) -> tuple[Undelivered | None, float]:
        taken, busy = self._outbox.places, self._outbox.busy_hosts
        found, first_due = await self._journal.ask(
            lambda store: store.undelivered(now, taken, busy), follows=True
        )
        if found is None:
            return None, first_due
        entry = self._entry(*found.stored)
        return Undelivered(found.due, entry.place, entry, found.failures), first_due

    async def _drop_delivery(self, one: Undelivered) -> None:
        await self._journal.ask(lambda store: store.drop_delivery(one.place), follows=True)

    async def _put_off_delivery(self, one: Undelivered) -> None:
        await self._journal.ask(
            lambda store: store.put_off_delivery(one.place, one.due, one.failures), follows=True
        )

    def _line_up(self, entry: Entry) -> None:
        if entry.kept and not entry.recorded:
            return  # it lines up once it is on the disk
        outside = entry.kept and not entry.waits and entry.foreseen is None
        if outside and self._backlogs_of(entry.record).keep_out(entry):
            self._queues[entry.record.model].lanes.left(entry)
            del self._entries[entry.record.id]
            self._alarms.turn_off(entry)
            self._look_at_disk_at(entry.record.due)
            self._fill_up(entry.record.model)
        else:
            super()._line_up(entry)

    async def _arrival(
        self, queue: ModelQueue, deadline: float, *, limit: int, suspects: bool
    ) -> bool:
        self._fill_up(queue.model)
        if queue.model in self._backlogs and self._backlogs[queue.model].are_loading:
            deadline = max(deadline, asyncio.get_running_loop().time() + _LOADING)
        return await super()._arrival(queue, deadline, limit=limit, suspects=suspects)

    async def _enforce_on_disk(self, now: float) -> int:
        """End all that waits on the disk alone and is past one of its clocks; how many."""
        count = 0
        after: DuePlace | None = START
        # Some of it may be in memory, so only going on behind what was seen comes to an end.
        while after is not None:
            late, after = await self._journal.ask(partial(Store.overdue, now=now, after=after))
            count += await self._time_out_on_disk(late)
        first_due = await self._journal.ask(lambda store: store.first_due(after=now))
        self._disk_due = min(self._disk_due, first_due)
        return count

    async def _time_out_on_disk(self, late: Sequence[Stored]) -> int:
        """End what waits on the disk alone and is past one of its clocks; how many."""
        entries = [self._entry(*one) for one in late if one.record.id not in self._entries]
        for entry in entries:
            self._take_up(entry)
        await self._recorded([self._decisions.time_out(entry) for entry in entries])
        return len(entries)

    def _look_at_disk_at(self, due: Due | None) -> None:
        """Something that waits on the disk alone has this clock."""
        if due is not None:
            self._disk_due = min(self._disk_due, due.at)

    async def _known_or_new(self, prediction: Prediction, waits: bool) -> Prediction:
        """The record that has this id on the disk; if it has expired, a new one takes its place."""
        stored = await self._journal.ask(lambda store: store.find(prediction.id))
        if stored is not None:
            entry = self._entries.get(prediction.id)
            record = entry.shown if entry is not None and entry.kept else stored.record
            if not self._expired(record):
                return record
            await self._journal.ask(lambda store: store.erase(stored.place), follows=True)
        return await self.submit(prediction, keep=True, waits=waits)

    async def _settled(self, id: str) -> None:
        """Wait until an id, or its end, that is on its way to the disk is there, or was refused."""
        while (entry := self._entries.get(id)) and entry.kept and not entry.recorded:
            self._journal.require_health()
            await self._journal.settled()
        if entry and entry.record.status.terminal and entry.shown is not entry.record:
            await self._journal.settled()
            self._journal.require_health()

    # What the journal tells.

    def opened(self, found: Found) -> None:
        if found.salvaged is not None:
            log.warning("%s", found.salvaged)
            self._salvaged = found.salvaged
        self._places += found.last_place
        self._disk_due = found.first_due
        for queue in self._queues.values():
            queue.lanes = Lanes()
            for priority in Priority:
                queue.newest_places[priority] += found.last_place
        for entry in self._entries.values():  # of callers who came before the file could be opened
            entry.place += found.last_place
            entry.queued_in = None
            self._queues[entry.record.model].push(entry)
        for lane in found.queued:
            queue = self._queues[lane.model]
            queue.add(lane.queued, lane.queued_bytes)
            queue.newest_places[lane.priority] = self._places
            self._backlogs_of(lane).add(lane.priority, lane.queued, lane.queued_bytes)
        self._queues.owned.update(found.owned)

    def written(self, moves: Sequence[Move]) -> None:
        foreseen = [move.entry for move in moves if move.after is move.entry.foreseen]
        for move in moves:
            move.entry.recorded = True
        self._show([shown(move) for move in moves] if foreseen else moves)
        if foreseen:  # those who wait for them are woken in the next turn, and claim them first
            self._loop.call_soon(self._loop.call_soon, self._write_missed, foreseen)

    def _write_missed(self, foreseen: Sequence[Entry]) -> None:
        if moves := missed(foreseen):
            self._journal.write(moves)

    def refused(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if move.before is None:
                self._queues[move.after.model].leave(move.after)

    def stalled(self) -> None:
        for entry in self._entries.values():
            entry.stalled = entry.kept
        for backlogs in self._backlogs.values():
            backlogs.let_go()

    def resumed(self) -> None:
        for entry in self._entries.values():
            entry.stalled = False
            is_queued = entry.record.status is Status.QUEUED
            if is_queued and entry.recorded and entry.shown is entry.record:
                super()._line_up(entry)
                self._set_alarm(entry)
        for model, backlogs in self._backlogs.items():
            backlogs.resume()
            self._fill_up(model)

    # The window of a long queue.

    def _backlogs_of(self, record: Prediction | LaneCount) -> Backlogs:
        backlogs = self._backlogs.get(record.model)
        if backlogs is None:
            backlogs = self._backlogs[record.model] = Backlogs(self._queues[record.model])
        return backlogs

    def _fill_up(self, model: str) -> None:
        """Begin to load what should be in memory and is not."""
        if model not in self._backlogs or self._journal.trouble is not None or self._closed:
            return
        for lane in self._backlogs[model].to_load():
            backlog = self._backlogs[model][lane]
            backlog.is_loading = True
            self._journal.call(
                partial(
                    Store.queued,
                    model=model,
                    lane=lane,
                    after=backlog.loaded,
                    limit=WINDOW // 2,
                    size=WINDOW_BYTES // 2,
                ),
                partial(self._loaded, model, lane),
                partial(self._not_loaded, model, lane),
            )

    def _loaded(self, model: str, lane: Priority, rows: Sequence[Stored]) -> None:
        queue, backlogs = self._queues[model], self._backlogs[model]
        backlog = backlogs[lane]
        backlog.is_loading = False
        if not rows:
            self._missing += backlog.queued
            log.error("%s", self._unreadable())
            queue.add(-backlog.queued, -backlog.queued_bytes)
            backlogs.add(lane, -backlog.queued, -backlog.queued_bytes)
        is_stalled = self._journal.trouble is not None
        new = [self._entry(*stored) for stored in rows if stored.record.id not in self._entries]
        for entry in new:
            self._entries[entry.record.id] = entry
            entry.stalled = is_stalled
            super()._line_up(entry)
            self._set_alarm(entry)
        if rows:
            backlog.loaded = rows[-1].place
        backlogs.add(lane, -len(new), -sum(entry.record.size for entry in new))
        queue.ring()
        self._fill_up(model)

    def _not_loaded(self, model: str, lane: Priority, error: Exception) -> None:
        def try_again() -> None:
            self._backlogs[model][lane].is_loading = False
            if self._journal.trouble is None:
                self._backlogs[model].resume()
            self._fill_up(model)

        self._backlogs[model].let_go()
        log.error("What waits for %s cannot be read: %s", model, error)
        asyncio.get_running_loop().call_later(_LOADING, try_again)

    def _unreadable(self) -> str:
        return (
            f"{self._missing} queued predictions cannot be read, and are left in {self._path}. "
            "A restart with --on-corrupt salvage tells more if the file is damaged."
        )

    def _entry(self, record: Prediction, place: int) -> Entry:
        """The entry of a record from the disk."""
        age = max(0.0, self._clock.wall() - record.created)
        since = self._clock.steady() - age
        entry = Entry(record, record, place=place, kept=True, waits=False, since=since)
        entry.recorded, entry.delayed = True, self._decisions.pauses(record)
        return entry

    def _open(self) -> tuple[Store, Found]:
        """Open the file, on the journal's thread."""
        finish_salvage(self._path)
        try:
            return self._look_into()
        except Exception as error:
            if not (self._salvage_damaged and is_damage(error)):
                raise
        return self._look_into(salvaged=salvage(self._path))

    def _look_into(self, salvaged: str | None = None) -> tuple[Store, Found]:
        store = Store(self._path)
        try:
            store.give_back(self._clock.wall(), self._limits)
            queued, owned = store.queued_by_lane(), store.queued_by_owner()
            return store, Found(queued, owned, store.last_place(), store.first_due(), salvaged)
        except BaseException:
            store.close(clean=False)
            raise
