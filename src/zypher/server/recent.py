"""The predictions that are worth a look now: some that wait, some that run, some that ended."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

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
    """Looks for them now and then, and listens all the while to those that run.

    `owner`: only for theirs; None: for those of all.
    """

    def __init__(self, broker: Broker, owner: str | None = None) -> None:
        self._broker = broker
        self._owner = owner
        self._waiting: Sequence[Prediction] = ()
        self._running: dict[str, _Run] = {}
        self._ended: list[Prediction] = []

    @property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """A few of each kind, the newest first, without inputs and results."""
        return {
            "waiting": [_brief(record) for record in self._waiting],
            "running": [_brief(run.record) | run.told for run in self._running.values()],
            "ended": [_brief(record) for record in self._ended],
        }

    async def look(self, stats: Mapping[str, ModelStats]) -> None:
        """See what there is. This looks through the list of all."""
        waits = any(one.queued for one in stats.values())
        runs = any(one.processing for one in stats.values())
        waiting = await self._list(Status.QUEUED, MOST_WAITING) if waits else []
        running = await self._list(Status.PROCESSING, MOST_RUNNING) if runs else []
        ended = [row for status in _ENDED for row in await self._list(status, MOST_ENDED)]
        self._waiting = waiting
        self._running = {one.id: self._running.get(one.id) or _Run(one) for one in running}
        self._ended = sorted(ended, key=_end, reverse=True)

    async def listen(self) -> None:
        """Take in what those that run have told, and that they have ended."""
        await asyncio.gather(*(run.update(self._broker) for run in self._running.values()))
        for id, run in list(self._running.items()):
            if run.record.status is not Status.PROCESSING:
                del self._running[id]
                if run.record.status.terminal:
                    self._ended.insert(0, run.record)
        del self._ended[MOST_ENDED * len(_ENDED) :]

    async def _list(self, status: Status, limit: int) -> Sequence[Prediction]:
        page = await self._broker.list(status=status, owner=self._owner, limit=limit)
        return page.predictions


class _Line(msgspec.Struct):
    """The data of a `log` event."""

    text: str


class _Run:
    """A run: its record, and what it told last."""

    def __init__(self, record: Prediction) -> None:
        self.record = record
        self.told: dict[str, Any] = {}
        self._seen = Seen()

    async def update(self, broker: Broker) -> None:
        """Take in what is new."""
        news = await broker.watch(self.record.id, self._seen, timeout=0)
        if news is None:
            return
        self.record = record = replace(news.record, input=b"", result=None)  # which may be large
        goes_on = record.attempt == self._seen.attempt and not news.has_gap
        if not goes_on:
            self.told = {}
        for _, event in news.events:
            self._take(event)
        last = self._seen.sequence if goes_on else 0
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
