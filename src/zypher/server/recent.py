"""The predictions that are worth a look now: some that wait, some that run, some that ended."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zypher.brokers.base import Broker, Event, ModelStats, Seen
from zypher.prediction import Prediction, Status
from zypher.server.records import summary

# So many are shown that wait, that run, and that ended in each way.
MOST_WAITING = 10
MOST_RUNNING = 20
MOST_ENDED = 10

# Of what a run put out, and of any text of it, so many of the last characters.
MOST_TEXT = 400

_ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELED)


class Recent:
    """Looks at them again and again; of what a run told it asks only for what is new."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._told: dict[str, _Told] = {}

    async def rows(self, stats: Mapping[str, ModelStats]) -> dict[str, list[dict[str, Any]]]:
        """A few predictions of each kind, the newest first, without inputs and results."""
        waits = any(one.queued for one in stats.values())
        runs = any(one.processing for one in stats.values())
        waiting = await self._list(Status.QUEUED, MOST_WAITING) if waits else []
        running = await self._list(Status.PROCESSING, MOST_RUNNING) if runs else []
        ended = [row for status in _ENDED for row in await self._list(status, MOST_ENDED)]
        await self._listen(running)
        return {
            "waiting": [_brief(record) for record in waiting],
            "running": [_brief(record) | self._told[record.id].told for record in running],
            "ended": [_brief(record) for record in sorted(ended, key=_end, reverse=True)],
        }

    async def _listen(self, running: Sequence[Prediction]) -> None:
        self._told = {record.id: self._told.get(record.id, _Told()) for record in running}
        await asyncio.gather(*(told.update(self._broker, id) for id, told in self._told.items()))

    async def _list(self, status: Status, limit: int) -> Sequence[Prediction]:
        return (await self._broker.list(status=status, limit=limit)).predictions


class _Line(msgspec.Struct):
    """The data of a `log` event."""

    text: str


class _Told:
    """What one run told last."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self._seen = Seen()

    async def update(self, broker: Broker, id: str) -> None:
        """Take in what is new."""
        news = await broker.watch(id, self._seen, timeout=0)
        if news is None:
            return
        record = news.record
        if record.attempt != self._seen.attempt or news.has_gap:
            self.told = {}
        for _, event in news.events:
            self._take(event)
        last = self._seen.sequence if record.attempt == self._seen.attempt else 0
        sequence = news.events[-1][0] if news.events else last
        self._seen = Seen(record.status, record.attempt, sequence)

    def _take(self, event: Event) -> None:
        match event.type:
            case "progress":
                self.told["progress"] = msgspec.Raw(event.data)
            case "log":
                self.told["log"] = msgspec.json.decode(event.data, type=_Line).text[:MOST_TEXT]
            case "output":
                text = self.told.get("output", "") + _text(event.data)
                self.told["output"] = text[-MOST_TEXT:]


def _brief(record: Prediction) -> dict[str, Any]:
    """A summary, of which no member is long."""
    members = summary(record)
    members.pop("errors", None)
    members.pop("error", None)
    if "detail" in members:
        members["detail"] = members["detail"][:MOST_TEXT]
    return members


def _text(data: bytes) -> str:
    """A text as it is, anything else as JSON."""
    value = msgspec.json.decode(data)
    return value if isinstance(value, str) else data.decode() + "\n"


def _end(record: Prediction) -> float:
    return record.finished or record.created
