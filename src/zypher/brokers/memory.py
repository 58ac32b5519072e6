"""The memory broker: the whole contract in one process, without a durable byte."""

import heapq
from collections.abc import Sequence
from math import inf

from msgspec.structs import replace

from zypher.brokers.base import Limits, Page
from zypher.brokers.engine import Engine, Key, key_of
from zypher.brokers.outbox import Undelivered, host_of, is_to_be_delivered
from zypher.brokers.queue import Entry, Move
from zypher.clock import Clock
from zypher.prediction import Status


class MemoryBroker(Engine):
    """Predictions in this process's memory."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        super().__init__(limits, clock)
        self._keys: dict[Key, Entry] = {}
        self._heaps: dict[str, list[Undelivered]] = {}  # by host

    async def start(self) -> None:
        pass  # there is nothing to open

    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        owner: str | None = None,
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
            and (owner is None or entry.record.owner == owner)
            and not self._expired(entry.record)
        )
        newest = heapq.nlargest(limit + 1, ids)
        rows = [replace(self._entries[id].record, input=b"", result=None) for id in newest[:limit]]
        return Page(rows, rows[-1].id if len(newest) > limit else None)

    def guarantee(self) -> str:
        return "Predictions are held in this process's memory and are lost when it ends."

    def _record(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if move.before is None and move.after.idempotency_key is not None:
                self._keys[key_of(move.after)] = move.entry
        self._show(moves)

    async def _find(self, id: str) -> Entry | None:
        return self._entries.get(id)

    async def _find_by_key(self, key: Key) -> Entry | None:
        return self._keys.get(key)

    async def _free_key(self, entry: Entry) -> None:
        del self._keys[key_of(entry.record)]
        entry.record = entry.shown = replace(entry.record, idempotency_key=None)

    def _retain(self, entry: Entry) -> None:
        self._expire(entry)
        if is_to_be_delivered(entry.record):
            self._post(Undelivered(self._clock.wall(), entry.place, entry, failures=0))

    def _post(self, one: Undelivered) -> None:
        heapq.heappush(self._heaps.setdefault(one.host, []), one)

    async def _undelivered(self, now: float) -> tuple[Undelivered | None, float]:
        busy = self._outbox.busy_hosts
        firsts = (heap[0] for host, heap in self._heaps.items() if host not in busy)
        first = min(firsts, default=None)
        if first is None or first.due > now:
            return None, inf if first is None else first.due
        heapq.heappop(self._heaps[first.host])
        self._forget_if_empty(first.host)
        return first, inf

    async def _drop_delivery(self, one: Undelivered) -> None:
        pass  # it is in no heap while it is taken

    async def _put_off_delivery(self, one: Undelivered) -> None:
        self._post(one)

    def _forget_if_empty(self, host: str) -> None:
        if not self._heaps[host]:
            del self._heaps[host]

    async def _erase(self, entry: Entry) -> None:
        host = host_of(entry.record)
        if host in self._heaps:
            self._heaps[host] = [one for one in self._heaps[host] if one.entry is not entry]
            heapq.heapify(self._heaps[host])
            self._forget_if_empty(host)
        if entry.record.idempotency_key is not None:
            self._keys.pop(key_of(entry.record), None)

    async def purge(self) -> int:
        count = await super().purge()
        if count:
            self._keys = {
                key: entry
                for key, entry in self._keys.items()
                if self._entries.get(entry.record.id) is entry
            }
        return count
