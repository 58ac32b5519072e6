"""`/events`: how the whole server stands, as it changes, for everybody who follows.

Who sees only what is theirs is told of no other predictions; the counts are those of all.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

import msgspec
from fastapi import APIRouter, Request, Response

from zypher.brokers.base import ModelStats, Overview
from zypher.errors import Unavailable
from zypher.periodic import every
from zypher.server import operations
from zypher.server.broadcast import event
from zypher.server.gate import caller_of
from zypher.server.health import overview, report, report_of_absence, statistics
from zypher.server.recent import Recent
from zypher.server.records import timestamp
from zypher.server.state import ServerState
from zypher.server.streams import EventStream

# Seconds between two looks, and how long one may take before the broker counts as away.
_INTERVAL = 1.0
_PATIENCE = 2.0

# The part of the time that a duty may take.
_SHARE = 0.05


class Live:
    """The endpoint."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._audiences: dict[str | None, Audience] = {}

    def add_to(self, router: APIRouter) -> None:
        """Register the endpoint."""
        router.add_api_route("/events", self.events, methods=["GET"], **operations.LIVE)

    async def events(self, request: Request) -> Response:
        """How the server stands, as it changes, until it stops."""
        if self._state.broadcasts.is_closed:
            raise Unavailable("The server is shutting down. Try again soon.", retry_after=1)
        caller = caller_of(request)
        streams = self._state.streams.of(caller.name)
        streams.require_room()
        owner = caller.only
        audience = self._audiences.setdefault(owner, Audience(self._state, owner))
        return EventStream(streams, audience.follow())


class Audience:
    """All who are told the same: those who see all, or what is an owner's alone.

    It has a ticker while anybody follows, and one for all of them.
    """

    def __init__(self, state: ServerState, owner: str | None) -> None:
        self._state = state
        self._owner = owner
        self._followers = 0

    async def follow(self) -> AsyncGenerator[bytes]:
        """What there is to tell, until the server stops."""
        if not self._followers:
            self._ticking = asyncio.create_task(Ticker(self._state, self._owner).run())
        self._followers += 1
        try:
            async with aclosing(self._state.broadcasts.to(self._owner).follow()) as events:
                async for one in events:
                    yield one
        finally:
            self._followers -= 1
            if not self._followers:
                self._ticking.cancel()


class Ticker:
    """Looks about once a second, and tells what it sees."""

    def __init__(self, state: ServerState, owner: str | None) -> None:
        self._state = state
        self._broadcast = state.broadcasts.to(owner)
        self._recent = Recent(state.broker, owner)
        self._sample = state.history.newest  # that was told last
        self._stats: Mapping[str, ModelStats] | None = None  # while the broker is there
        self._predictions = b""  # as they were told last
        self._looking, self._listening = _Duty(), _Duty()

    async def run(self) -> None:
        """Tick until it is cancelled. A long look at the predictions holds up nothing else."""
        self._broadcast.clear()  # what was told to those who are gone
        self._broadcast.show("sample", self._history())
        await self.tick()
        async with asyncio.TaskGroup() as group:
            group.create_task(every(_INTERVAL, self.tick))
            await self.tell_predictions()
            group.create_task(every(_INTERVAL, self.tell_predictions))

    async def tick(self) -> None:
        """Tell how things stand; while the broker is away, only that."""
        self._tell_sample()
        try:
            async with asyncio.timeout(_PATIENCE):
                now = await overview(self._state.broker)
        except (Unavailable, TimeoutError) as error:
            self._tell_absence(error)
        else:
            self._tell_stats(now)

    async def tell_predictions(self) -> None:
        """Tell what there is, if it is something else than before."""
        if self._stats is None:
            return
        try:
            await self._looking.turn(partial(self._recent.look, self._stats))
            await self._listening.turn(self._recent.listen)
        except Unavailable:
            return  # as the next tick tells
        rows = msgspec.json.encode(self._recent.rows)
        if rows != self._predictions:
            self._predictions = rows
            self._tell("predictions", rows)

    def _tell_stats(self, now: Overview) -> None:
        self._stats = now.stats
        standing = report(self._state, now)
        more = {
            "time": timestamp(self._state.clock.wall()),
            "status": standing.status,
            "degraded": standing.degraded,
            "guarantee": standing.guarantee,
            "signatures": {name: m.signature for name, m in self._state.models.items()},
        }
        self._broadcast.hide("away")
        self._tell("stats", msgspec.json.encode(statistics(now) | more))

    def _tell_sample(self) -> None:
        """The newest sample; all of them to those who come later."""
        newest = self._state.history.newest
        if newest is not self._sample:
            self._sample = newest
            sample = event("sample", msgspec.json.encode(newest))
            self._broadcast.show("sample", sample, first=self._history())

    def _history(self) -> bytes:
        return event("history", msgspec.json.encode(self._state.history.samples))

    def _tell_absence(self, error: Exception) -> None:
        self._broadcast.hide("stats", "predictions")
        self._stats = None
        self._predictions = b""
        standing = report_of_absence(self._state, error, _PATIENCE)
        self._tell(
            "away", msgspec.json.encode({"status": standing.status, "degraded": standing.degraded})
        )

    def _tell(self, name: str, data: bytes) -> None:
        self._broadcast.show(name, event(name, data))


class _Duty:
    """What is done at every tick, or less often where it takes long, as in a list of a million."""

    def __init__(self) -> None:
        self._due = 0.0

    async def turn(self, do: Callable[[], Awaitable[None]]) -> None:
        """Do it, if its share of the time allows it."""
        now = asyncio.get_running_loop().time
        begun = now()
        if begun >= self._due:
            await do()
            self._due = now() + (now() - begun) / _SHARE
