"""The server: the HTTP side of one node, from its start to its stop."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from zypher.brokers.base import Broker, ReplicaCounts
from zypher.clock import Clock
from zypher.errors import Unavailable
from zypher.periodic import every, insist
from zypher.server import history
from zypher.server.app import Lifespan, build_app
from zypher.server.state import Phase, ServerState
from zypher.server.webhooks import Sender, sender_for
from zypher.settings import Settings
from zypher.tracing import tracing

# How often it looks for models that are new or have changed, in seconds.
_LEARNING_INTERVAL = 1.0


class Server:
    """The application, the sender of webhooks, and what the server notes of others by itself."""

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        clock: Clock,
        lifespan: Lifespan,
    ) -> None:
        self._state = ServerState(broker, settings, clock)
        self._sender: Sender | None = None
        self._duties: list[asyncio.Task[None]] = []
        self.app = build_app(self._state, lifespan)

    def start(
        self, broker: Broker, own_replicas: Callable[[], Mapping[str, ReplicaCounts]] | None
    ) -> None:
        """Answer, and begin to call webhooks; predictions are refused until it is open."""
        state = self._state
        state.phase = Phase.STARTING
        state.broker = broker
        state.own_replicas = own_replicas
        state.tracing = tracing()
        state.broadcasts.open()
        self._sender = sender_for(broker, state.settings, state.clock)
        self._sender.start()

    async def open(self, needed: Iterable[str]) -> None:
        """Take predictions in. Raises `ModelLoadError` if one of the needed models cannot be."""
        await self._learn()
        for name in needed:
            if error := self._state.catalog.unusable.get(name):
                raise error
        self._duties = [
            asyncio.create_task(every(_LEARNING_INTERVAL, self._learn)),
            asyncio.create_task(every(history.INTERVAL, self._sample)),
        ]
        self._state.phase = Phase.OPEN

    async def learn(self) -> None:
        """Take over what models there are now. Raises `Unavailable`."""
        await self._state.learn()

    async def close(self) -> None:
        """Take nothing new in, once callers have had the time to go elsewhere."""
        if self._state.phase is Phase.OPEN:
            self._state.phase = Phase.DRAINING
            await asyncio.sleep(self._state.settings.drain_delay)
        self._state.phase = Phase.CLOSED

    def end_broadcast(self) -> None:
        """Send those away who follow the server: their streams have no end of their own."""
        self._state.broadcasts.close()

    async def stop(self) -> None:
        """End what goes on beside the requests."""
        self._state.phase = Phase.CLOSED
        self.end_broadcast()
        for duty in self._duties:
            duty.cancel()
        if self._sender is not None:
            await self._sender.stop()

    async def _learn(self) -> None:
        await insist(self._state.learn)

    async def _sample(self) -> None:
        with suppress(Unavailable):  # a gap in the history, which shows that it was away
            self._state.history.add(await self._state.broker.stats())
