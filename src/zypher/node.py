"""The node: one started program. Puts broker, worker, janitor and server together.

`Node` is also the order in which things start and stop, and why it is that order.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from zypher.brokers import Broker, Limits, open_broker
from zypher.clock import SystemClock
from zypher.errors import ConfigurationError, ModelLoadError
from zypher.model.loading import default_name
from zypher.periodic import every
from zypher.replicas.replica import ReplicaSpec
from zypher.server import Phase, Sender, ServerState, build_app, sender_for
from zypher.settings import ModelSettings, Settings, load_settings
from zypher.worker import Worker

log = logging.getLogger("zypher")

_PURGE_INTERVAL = 30.0
_CLOCKS_INTERVAL = 0.1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Node:
    """A server and a worker around one broker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._clock = SystemClock()
        self._models = [(_spec(name, settings), _size(name, settings)) for name in settings.models]
        self._broker = self._open_broker()
        self._state = ServerState(self._broker, settings, self._clock)
        self._duties: list[asyncio.Task[None]] = []
        self._worker: Worker | None = None
        self._sender: Sender | None = None
        self.app = build_app(self._state, self._lifespan)

    @property
    def guarantee(self) -> str:
        """What survives what, in one sentence."""
        return self._broker.guarantee()

    async def start(self) -> None:
        """Open the broker, start the replicas and the janitor.

        Returns once every model's code is loaded; `setup()` may go on: what is submitted
        meanwhile waits for it. Raises `ConfigurationError`.
        """
        if self._state.phase is not Phase.STARTING:  # a host starts it once more
            self._state.phase = Phase.STARTING
            self._state.broker = self._broker = self._open_broker()
        await self._broker.start()
        self._sender = sender_for(self._broker, self.settings, self._clock)
        self._sender.start()
        grace = self.settings.cancel_grace
        self._worker = Worker(self._broker, self._models, cancel_grace=grace)
        self._duties = [
            asyncio.create_task(every(self.settings.lease / 3, self._renew_and_reclaim)),
            asyncio.create_task(every(_CLOCKS_INTERVAL, self._broker.enforce_clocks)),
            asyncio.create_task(every(_PURGE_INTERVAL, self._purge)),
        ]
        await self._worker.start()
        for model in (await self._broker.models()).values():
            self._state.door.know(model)
        self._state.phase = Phase.OPEN

    def _open_broker(self) -> Broker:
        return open_broker(
            self.settings.broker,
            _limits(self.settings),
            self._clock,
            salvage_damaged=self.settings.on_corrupt == "salvage",
        )

    async def up(self) -> None:
        """Wait until every model has been ready. Raises `ModelLoadError` if one never is."""
        assert self._worker is not None
        await self._worker.up()

    async def unfinished(self) -> tuple[int, int]:
        """How many predictions run now, and how many wait."""
        stats = (await self._broker.stats()).values()
        return sum(s.processing for s in stats), sum(s.queued for s in stats)

    async def drain(self) -> None:
        """Take nothing new in, and let what runs finish, while the server still answers."""
        if self._state.phase is Phase.OPEN:
            self._state.phase = Phase.DRAINING
            await asyncio.sleep(self.settings.drain_delay)
        self._state.phase = Phase.CLOSED
        if self._worker is not None:
            await self._worker.drain(self.settings.grace)

    async def stop(self) -> None:
        """End everything. Stopping what never started, or twice, is fine."""
        self._state.phase = Phase.CLOSED
        # Replicas first: what they still run goes back to the broker. The broker last: it
        # tells those who still wait that they wait in vain.
        if self._worker is not None:
            await self._worker.stop()
        if self._sender is not None:
            await self._sender.stop()
        for duty in self._duties:
            duty.cancel()
        await self._broker.aclose()

    async def _renew_and_reclaim(self) -> None:
        # In this order: after a pause of the whole process, what runs here is still ours.
        if self._worker is not None:
            await self._worker.renew()
        await self._broker.reclaim()

    async def _purge(self) -> None:
        await self._broker.purge()

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
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


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application that serves the models of `settings`, by default as configured.

    It runs by itself under any ASGI server. To have its endpoints in an application of your
    own: `app.include_router(z.router)`, which brings `z`'s lifespan along.
    Raises `ConfigurationError`.
    """
    return Node(with_models(settings or load_settings(), [])).app


def with_models(settings: Settings, arguments: Sequence[str]) -> Settings:
    """The settings with the models that the command line names; without any, the mock.

    An argument is `TARGET`, `NAME=TARGET`, or the NAME of a table in `zypher.toml`; what such
    a table says beside its target holds for a model of that name in any case.
    Raises `ConfigurationError`.
    """
    if not arguments and not settings.models:
        arguments = ["mock"]
    models: dict[str, ModelSettings] = {}
    for argument in arguments or settings.models:
        name, table = _named(argument, settings)
        if name in models:
            raise ConfigurationError(
                f"Two models have the name {name!r}. Give one another: OTHER={table.target}"
            )
        models[name] = table
    return settings.model_copy(update={"models": models})


def _named(argument: str, settings: Settings) -> tuple[str, ModelSettings]:
    """The name and the table of one model argument."""
    if argument in settings.models:
        name, target = argument, settings.models[argument].target
    else:
        name, separator, target = argument.partition("=")
        if not separator:
            name, target = default_name(argument), argument
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"A model cannot have the name {name!r}: "
            "use letters, digits, dots, hyphens and underscores."
        )
    table = settings.models.get(name)
    if table is None:
        return name, ModelSettings(target=target)
    return name, table.model_copy(update={"target": target})


def _spec(name: str, settings: Settings) -> ReplicaSpec:
    table = settings.models[name]
    return ReplicaSpec(
        name=name,
        target=table.target,
        concurrency=table.concurrency or settings.concurrency,
        mock_delay=settings.mock_delay,
        max_result_size=settings.max_result_size,
        setup_timeout=table.setup_timeout or settings.setup_timeout,
    )


def _size(name: str, settings: Settings) -> int:
    return settings.models[name].replicas or settings.replicas


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_queued=settings.max_queued,
        max_queued_bytes=settings.max_queued_bytes,
        max_crashes=settings.max_crashes,
        lease=settings.lease,
        ttl=settings.ttl,
    )
