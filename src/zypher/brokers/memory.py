"""The memory broker: the whole contract in one process, without a durable byte."""

import heapq
from collections.abc import Sequence

from msgspec.structs import replace

from zypher.brokers.base import Page
from zypher.brokers.engine import Engine
from zypher.brokers.queue import Entry, Move
from zypher.prediction import Status


class MemoryBroker(Engine):
    """Predictions in this process's memory."""

    async def start(self) -> None:
        pass  # there is nothing to open

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

    def guarantee(self) -> str:
        return "Predictions are held in this process's memory and are lost when it ends."

    def _record(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self._show(move)

    async def _find(self, id: str) -> Entry | None:
        return self._entries.get(id)

    def _retain(self, entry: Entry) -> None:
        self._expire(entry)

    async def _erase(self, entry: Entry) -> None:
        pass  # being forgotten is all there is to it
