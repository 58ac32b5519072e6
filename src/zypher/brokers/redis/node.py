"""One of the nodes that share a Redis: how it asks, what time it is, and how records move."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from zypher.brokers.base import Broker, Limits
from zypher.brokers.redis.address import parse
from zypher.brokers.redis.leases import Beats
from zypher.brokers.redis.link import Link
from zypher.brokers.redis.records import changes, dict_of, from_pairs
from zypher.brokers.refusals import shutting_down
from zypher.clock import Clock
from zypher.errors import Unavailable
from zypher.prediction import Prediction, Status


class Move(NamedTuple):
    """A decided change of a record, made if the record is still as it was before.

    `insists`: it is ended by others than its worker, who insist that its run stops, or do not.
    `only_unkept`: not if somebody has kept it or waits for it. `tally` is counted for its model,
    and `ran` are the seconds that its run took.
    """

    before: Prediction
    after: Prediction
    insists: bool | None = None
    only_unkept: bool = False
    tally: str = ""
    ran: float | None = None


class Node(Broker):
    """What all verbs of the redis broker are made of."""

    def __init__(self, url: str, limits: Limits, clock: Clock) -> None:
        self._address = parse(url)
        self._link = Link(self._address)
        self._limits = limits
        self._clock = clock
        self._beats = Beats(limits.lease)
        self._beats_over = 0  # the number of the connection over which they were seen
        # Told apart from all others, by those who tell it something.
        self._name = uuid4().hex[:12]
        self._names = count()
        # The time that all nodes share is so far ahead of this one's steady clock.
        self._ahead = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def _require_open(self) -> None:
        if self._closed:
            raise shutting_down()

    @property
    def _time(self) -> float:
        """The time that all nodes share. It advances like a steady clock, in seconds."""
        return self._clock.steady() + self._ahead

    def _new_name(self) -> str:
        """A name for something that must not be done twice."""
        return f"{self._name}:{next(self._names)}"

    async def _run(self, script: str, *arguments: Any) -> Any:
        """What a script answers."""
        self._require_open()
        return await self._answer_to(self._link.run(script, *arguments))

    async def _answer_to(self, call: asyncio.Future[Any]) -> Any:
        try:
            return await call
        except Unavailable:
            self._beats.forget()  # Redis is away: nobody can renew a lease meanwhile
            raise

    def _begin(self, task: Any) -> None:
        """Do something that nobody waits for."""
        begun = asyncio.create_task(task)
        self._tasks.add(begun)
        begun.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Redis is away; what this was for is found out otherwise

    def _note_beat(self, beat: int) -> None:
        if self._beats_over != self._link.connections:  # those before may be of another count
            self._beats_over = self._link.connections
            self._beats.forget()
        self._beats.note(self._clock.steady(), beat)

    async def _read(self, id: str, *, any: bool = False) -> Prediction | None:
        """A record; with `any` also one that has expired or is forgotten, if it is still there."""
        record, _ = await self._look_up(id, any=any)
        return record

    async def _look_up(self, id: str, *, any: bool = False) -> tuple[Prediction | None, float]:
        """A record, and the shared time of its last move."""
        self._require_open()
        seen: tuple[Prediction | None, float]
        seen = await self._answer_to(self._ask_for(id, partial(self._seen, id, any)))
        return seen

    def _ask_for(self, id: str, means: Callable[[Any], Any]) -> asyncio.Future[Any]:
        """What the hash of a record means; its fields and values follow each other."""
        return self._link.run("read", id, means=means)

    def _seen(self, id: str, any: bool, words: Sequence[bytes]) -> tuple[Prediction | None, float]:
        hash = dict_of(words)
        if b"status" not in hash or (b"gone" in hash and not any):
            return None, 0.0
        record = from_pairs(id, hash.items())
        has_expired = record.expires is not None and record.expires <= self._clock.wall()
        return (None if has_expired and not any else record), float(hash[b"since"])

    async def _move(self, moves: Sequence[Move], name: str | None = None) -> list[bool]:
        """Make moves; False for those whose record is not as it was.

        Under the same name they are made once, however often they are asked for.
        """
        if not moves:
            return []
        encoded = [msgspec.msgpack.encode(self._arguments(move)) for move in moves]
        name = name or self._new_name()
        answers = await self._run("move", self._clock.wall(), self._time, name, *encoded)
        for move, answer in zip(moves, answers, strict=True):
            if answer != b"refused":
                self._count(move, waits=answer == b"waits")
        return [answer != b"refused" for answer in answers]

    def _count(self, move: Move, *, waits: bool) -> None:
        """Count a move that was made; `waits`: a caller still did."""
        if move.tally == "crashes":
            self.metrics.crashes.count(move.after.model)
        if move.after.status.terminal:
            after = move.after
            self.metrics.ended(after.model, after.status, [after.took], waits=waits)

    def _arguments(self, move: Move) -> list[Any]:
        before, after = move.before, move.after
        insists = "" if move.insists is None else flag(move.insists)
        ran = "" if move.ran is None else max(0.0, move.ran)
        return [
            *(before.id, str(before.attempt), before.status.value),
            *(insists, move.only_unkept, move.tally, ran, self._pause_ends(after)),
            changes(before, after),
        ]

    def _pause_ends(self, record: Prediction) -> float | str:
        """When one that is to be tried again may be; nothing if that is now."""
        if record.status is not Status.QUEUED or record.not_before is None:
            return ""
        pause = record.not_before - self._clock.wall()
        return self._time + pause if pause > 0 else ""


async def happens(event: Awaitable[bool], deadline: float) -> bool:
    """Wait for an event; False if the loop's time `deadline` comes first."""
    try:
        async with asyncio.timeout_at(deadline):
            return await event
    except TimeoutError:
        return False


def flag(value: bool) -> str:
    """A truth for a script."""
    return "1" if value else "0"
