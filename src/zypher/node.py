"""The node: one started program. Puts broker, janitor, worker and server together.

`Node` is also the order in which things start and stop, and why it is that order.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from zypher.brokers import Broker, Limits, is_shared, open_broker
from zypher.clock import SystemClock
from zypher.errors import ModelLoadError
from zypher.metrics import Metrics
from zypher.periodic import every, insist
from zypher.selection import replicas_of, with_models
from zypher.settings import Settings, load_settings
from zypher.worker import Worker

if TYPE_CHECKING:
    from fastapi import FastAPI

    from zypher.scrape import Exposition
    from zypher.server import Server

log = logging.getLogger("zypher")

_PURGE_INTERVAL = 30.0
_CLOCKS_INTERVAL = 0.1

# How long the answers may take that are given when grace is over, in seconds.
_LAST_ANSWERS = 1.0


async def _no_server() -> None:
    """Nobody has asked anything."""


class Node:
    """What there is around one broker: a worker if there are models, a server if it `serves`."""

    def __init__(self, settings: Settings, *, serves: bool = True) -> None:
        self.settings = settings
        self._clock = SystemClock()
        self._broker = broker_for(settings, self._clock)
        self._metrics = self._broker.metrics
        self._was_stopped = False
        self._duties: list[asyncio.Task[None]] = []
        self._worker: Worker | None = None
        self._server = self._new_server() if serves else None

    @property
    def app(self) -> "FastAPI":
        """The application, if it serves."""
        assert self._server is not None
        return self._server.app

    @property
    def guarantee(self) -> str:
        """What survives what, in one sentence."""
        return self._broker.guarantee()

    @property
    def metrics(self) -> Metrics:
        """What it counts."""
        return self._metrics

    @property
    def status(self) -> str:
        """How its worker stands, as `Worker.status` says. Any thread may ask."""
        return "starting" if self._worker is None else self._worker.status

    async def scrape(self, accept: str) -> "Exposition":
        """Its metrics, in the format that `accept` asks for."""
        from zypher.scrape import scrape  # most workers do without it

        return await scrape(self._broker, accept)

    async def start(self) -> None:
        """Open the broker, start the replicas and the janitor.

        Returns once every model's code is loaded; `setup()` may go on: what is submitted
        meanwhile waits for it. Raises `ConfigurationError`.
        """
        if self._was_stopped:  # a host starts it once more
            self._was_stopped = False
            self._broker = broker_for(self.settings, self._clock)
            self._broker.metrics = self._metrics
        await self._broker.start()
        if self.settings.replicas:
            self._worker = Worker(
                self._broker,
                replicas_of(self.settings),
                cancel_grace=self.settings.cancel_grace,
                reload=self.settings.reload,
                registered=None if self._server is None else self._server.learn,
            )
        if self._server is not None:
            own_replicas = None if self._worker is None else self._worker.replicas
            self._server.start(self._broker, own_replicas)
        self._duties = [
            asyncio.create_task(every(self.settings.lease / 3, self._renew_and_reclaim)),
            asyncio.create_task(every(_CLOCKS_INTERVAL, self._enforce_clocks)),
            asyncio.create_task(every(_PURGE_INTERVAL, self._purge)),
        ]
        if self._worker is not None:
            await self._worker.start()
        if self._server is not None:
            await self._server.open(self.settings.models)

    async def up(self) -> None:
        """Wait until every model has been ready. Raises `ModelLoadError` if one never is."""
        if self._worker is not None:
            await self._worker.up()

    def reload(self) -> None:
        """Have its replicas swapped for such as run the models' code as it is now."""
        if self._worker is not None:
            self._worker.reload()

    async def unfinished(self) -> tuple[int, int]:
        """How many predictions run here, and how many wait for this node to be started again."""
        running = 0 if self._worker is None else self._worker.running
        if is_shared(self.settings.broker):
            return running, 0
        return running, sum(stats.queued for stats in (await self._broker.stats()).values())

    async def drain(self, answered: Callable[[], Awaitable[None]] = _no_server) -> None:
        """Take nothing new in, and let what runs finish, while the server still answers.

        Over a shared broker others go on with what callers wait for here. `answered` waits until
        these have been told the end; when grace is over, they are told how it stands.
        """
        grace = self.settings.grace
        if self._server is not None:
            await self._server.close()
        async with _at_most(grace):
            if self._worker is not None:
                await self._worker.drain(grace)
            if self._server is not None and is_shared(self.settings.broker):
                self._server.end_broadcast()
                await answered()
        self._broker.hurry()
        if is_shared(self.settings.broker):
            async with _at_most(_LAST_ANSWERS):
                await answered()

    async def stop(self) -> None:
        """End everything. Stopping what never started, or twice, is fine."""
        self._was_stopped = True
        # Replicas first: what they still run goes back to the broker. The broker last: it
        # tells those who still wait that they wait in vain.
        if self._worker is not None:
            await self._worker.stop()
        if self._server is not None:
            await self._server.stop()
        for duty in self._duties:
            duty.cancel()
        await self._broker.aclose()

    def _new_server(self) -> "Server":
        from zypher.server import Server  # a worker does without it, and starts sooner

        return Server(self._broker, self.settings, self._clock, self._lifespan)

    async def _renew_and_reclaim(self) -> None:
        # In this order: after a pause of the whole process, what runs here is still ours.
        if self._worker is not None:
            await self._worker.renew()
        if taken := await self._timed("reclaim", self._broker.reclaim):
            self._metrics.reclaims.count(by=taken)
            log.warning("%d predictions were taken back: the lease of their worker ran out", taken)

    async def _enforce_clocks(self) -> None:
        await self._timed("enforce_clocks", self._broker.enforce_clocks)

    async def _purge(self) -> None:
        await self._timed("purge", self._broker.purge)

    async def _timed(self, verb: str, ask: Callable[[], Awaitable[int]]) -> int:
        return await insist(lambda: self._metrics.timed(verb, ask()))

    @asynccontextmanager
    async def _lifespan(self, app: "FastAPI") -> AsyncIterator[None]:
        """What a host application enters and leaves."""
        try:
            await self.start()
            self._duties.append(asyncio.create_task(self._tell_if_never_up()))
            yield
            await self.drain()
        finally:
            await self.stop()

    async def _tell_if_never_up(self) -> None:
        # A host is not ours to end: /readyz and the log say what is wrong.
        try:
            await self.up()
        except ModelLoadError as error:
            log.error("%s", error.report)


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """What is not done by then is given up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield


def create_app(settings: Settings | None = None) -> "FastAPI":
    """The ASGI application that serves the models of `settings`, by default as configured.

    It runs by itself under any ASGI server. To have its endpoints in an application of your
    own: `app.include_router(z.router)`, which brings `z`'s lifespan along.
    Raises `ConfigurationError`.
    """
    return Node(with_models(settings or load_settings(), [])).app


async def guarantee_of(settings: Settings) -> str | None:
    """What a broker guarantees that is there already; None for one that comes with its server.

    Raises `ConfigurationError` if there can be no such broker.
    """
    broker = broker_for(settings, SystemClock())
    if not is_shared(settings.broker):
        return None
    try:
        await broker.start()
        return broker.guarantee()
    finally:
        await broker.aclose()


def broker_for(settings: Settings, clock: SystemClock) -> Broker:
    """The broker of these settings, not started yet. Raises `ConfigurationError`."""
    return open_broker(
        settings.broker,
        limits_of(settings),
        clock,
        salvage_damaged=settings.on_corrupt == "salvage",
    )


def limits_of(settings: Settings) -> Limits:
    """What the broker may hold."""
    return Limits(
        max_queued=settings.max_queued,
        max_queued_bytes=_max_queued_bytes(settings),
        max_queued_of={
            key.name: key.max_queued for key in settings.callers() if key.max_queued is not None
        },
        max_crashes=settings.max_crashes,
        lease=settings.lease,
        ttl=settings.ttl,
    )


def _max_queued_bytes(settings: Settings) -> int:
    """As set; by default, what a disk bears, or the memory of a broker that is a server."""
    if settings.max_queued_bytes is not None:
        return settings.max_queued_bytes
    return 256_000_000 if is_shared(settings.broker) else 1_000_000_000
