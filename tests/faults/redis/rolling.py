"""One server and one worker after the other is replaced, behind a load balancer, under load."""

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.faults import invariants
from tests.faults.callers import Callers
from tests.faults.clients import client_of
from tests.faults.history import History
from tests.faults.load import look
from tests.faults.redis.balancer import Balancer
from tests.faults.redis.cluster import Cluster, durable_redis
from tests.faults.report import Report, Size
from tests.faults.servers import stopped
from tests.harness import Server

_GRACE = 3.0
# The balancer has to notice within it.
_DRAIN_DELAY = 1.0

# How long most runs take, in seconds; and some, that callers wait for longer than for the drain.
_SHORT = 0.05
_LONGER = 1.8

# So many wait for the long run, as many seconds at a time.
_POLLERS = 4
_LONG_POLL = 20

# How long a client pauses who is in no hurry: its connection is idle meanwhile.
_LEISURE = 0.7


class Fleet(Cluster):
    """Two servers behind a balancer, and two workers. Clients know the balancer alone."""

    def __init__(self, directory: Path, broker: str, balancer: Balancer, *arguments: str) -> None:
        super().__init__(directory, broker, *arguments, workers=2)
        self.url = balancer.url
        self.servers: list[Server] = []
        self._balancer = balancer

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            await self._join(self.running)
            await self.start_server()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        for server in self.servers:
            await asyncio.to_thread(server.kill)

    async def start_server(self) -> None:
        """Start one more server, and wait until the balancer leads clients to it."""
        await self._join(await self.start("--port", "0"))

    async def stop_server(self, server: Server) -> int:
        """Ask a server to stop; its exit code."""
        self.servers.remove(server)
        self.history.note("a server is asked to stop", server.process.pid)
        code = await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.kill)
        await self._balancer.remove(server.url)
        return code

    async def _join(self, server: Server) -> None:
        self.servers.append(server)
        await self._balancer.add(server.url)


async def rolling_restarts(size: Size, directory: Path) -> Report:
    """A new one is started, and then an old one is asked to stop: servers and workers by turns."""
    arguments = ("--grace", f"{_GRACE:g}", "--drain-delay", f"{_DRAIN_DELAY:g}")
    patient = directory / "the long run may end"
    with durable_redis(directory) as redis:
        async with (
            Balancer() as balancer,
            Fleet(directory, redis.url, balancer, *arguments) as fleet,
        ):
            wrong: list[str] = []
            polls = History()
            callers = [_callers(fleet, _SHORT, clients=2), _callers(fleet, _LONGER, clients=8)]
            async with (
                callers[0],
                callers[1],
                fleet.load(seconds=_SHORT, clients=1, pause=_LEISURE),
                fleet.load(seconds=_SHORT) as load,
            ):
                long = await load.submit("long", fleet.work("long", until=str(patient)))
                async with asyncio.TaskGroup() as pollers:
                    for _ in range(_POLLERS):
                        pollers.create_task(_poll(fleet.url, long.id, polls))
                    for _ in range(size.of(1, 20)):
                        await load.accepts(10)
                        wrong += await _replace_each(fleet)
                    patient.touch()
            fleet.history.runs = fleet.runs()
            return await fleet.report(
                "rolling restart of servers and workers",
                *wrong,
                *invariants.noticed(polls),
                *_failed(fleet, *callers),
                remarks=[f"{sum(len(c.calls) for c in callers)} calls that waited"],
            )


async def _replace_each(fleet: Fleet) -> list[str]:
    """Replace the oldest server and the oldest worker; what is wrong with how they stopped."""
    await fleet.start_server()
    of_server = await stopped(fleet.stop_server(fleet.servers[0]), _DRAIN_DELAY + _GRACE)
    await fleet.start_worker()
    of_worker = await stopped(fleet.stop_worker(fleet.workers[0]), _GRACE)
    return of_server + of_worker


async def _poll(url: str, id: str, polls: History) -> None:
    """Wait for a prediction until it has ended, longer at a time than a server takes to stop."""
    async with client_of(url) as client:
        while True:
            seen = await look(client, polls, id, {"Prefer": f"wait={_LONG_POLL}"})
            if seen is None or seen.final:
                return


def _callers(fleet: Fleet, seconds: float, *, clients: int) -> Callers:
    work = functools.partial(fleet.work, seconds=seconds)
    return Callers(fleet.url, work, clients=clients)


def _failed(fleet: Fleet, *callers: Callers) -> Iterator[str]:
    """What clients noticed, and what ran more than once."""
    for some in callers:
        yield from some.wrong()
        for call in some.refused():
            yield f"The call of {call.token} was answered {call.status}."
    yield from invariants.noticed(fleet.history)
    yield from invariants.failed(fleet.history)
    for token in invariants.run_again(fleet.history):
        if token != "long":
            yield f"{token} ran again, although it was shorter than grace."
