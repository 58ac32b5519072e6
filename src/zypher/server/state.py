"""What all endpoints of a server share."""

import math
from collections.abc import Callable, Mapping
from enum import Enum, auto

from zypher.brokers.base import Broker, ModelInfo, ReplicaCounts
from zypher.clock import Clock
from zypher.errors import NotFound, Unavailable
from zypher.server.broadcast import Broadcasts
from zypher.server.catalog import Catalog
from zypher.server.door import Door
from zypher.server.gate import Gate
from zypher.server.history import History
from zypher.server.quota import Quota
from zypher.server.standing import paused, standing
from zypher.server.webhooks import door_for
from zypher.settings import Settings
from zypher.tracing import Tracing

# How long, at most, a caller of a model out of service is told to stay away, in seconds: how much
# of its pause is over, only its worker knows.
_LONGEST_RETRY = 30


class Phase(Enum):
    """Where a server is in its life."""

    STARTING = auto()  # not all models are described yet
    OPEN = auto()
    DRAINING = auto()  # still open, but /readyz sends callers elsewhere
    CLOSED = auto()  # takes nothing new in; what it has is still answered


class ServerState:
    """The broker, the settings and the door of one server; its phase, and the models it knows.

    `own_replicas`: what the worker beside it has; None if there is no worker beside it.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        clock: Clock,
        own_replicas: Callable[[], Mapping[str, ReplicaCounts]] | None = None,
    ) -> None:
        self.broker = broker
        self.settings = settings
        self.clock = clock
        self.own_replicas = own_replicas
        keys = settings.callers()
        self.gate = Gate(keys, clock, self.note_refusal) if keys else None
        self.door = Door(settings.max_body_size)
        self.catalog = Catalog(self.door)
        self.webhooks = door_for(settings)
        self.history = History(clock)
        self.broadcasts = Broadcasts()
        self.paused: Mapping[str, ReplicaCounts] = {}  # models that are out of service
        self.streams = Quota(settings.max_streams)
        self.phase = Phase.STARTING
        self.tracing: Tracing | None = None

    def note_refusal(self, code: str) -> None:
        """Count a call that was refused, by this code."""
        self.broker.metrics.rejections.count(code)

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """The models that this server knows by name, the default first."""
        return self.catalog.models

    async def learn(self) -> None:
        """Find out what models there are now, and whether they are in service.

        Requests ask what is known, and not the broker.
        """
        self.catalog.learn(await self.broker.models())
        self.paused = paused(standing((await self.broker.workers()).values()))
        for name in self.models:
            self.broker.metrics.upgrades.count(name, by=0)  # so that the first one is seen

    async def model(self, name: str | None) -> ModelInfo:
        """The model of that name, or the default one.

        Raises `NotFound` for an unknown name, `Unavailable` while there is none at all.
        """
        models = self.catalog.models
        if not models or (name is not None and name not in models):
            await self.learn()
            models = self.catalog.models
        if not models:
            raise Unavailable(
                "No worker has registered a model yet. Start one with `zypher worker`.",
                retry_after=1,
            )
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            known = ", ".join(models)
            raise NotFound(f"There is no model {name!r} here. There is: {known}.")
        return models[name]

    def in_service(self, name: str | None) -> ModelInfo | None:
        """The model of that name, or the default one, if it is known and takes calls in."""
        models = self.catalog.models
        model = models.get(name or next(iter(models), ""))
        return None if model is None or model.name in self.paused else model

    def out_of_service(self, name: str) -> Unavailable:
        """The refusal of what is new for a model that is `paused`."""
        counts = self.paused[name]
        return Unavailable(
            f"The model {name!r} is out of service: {counts.suspended}. What waits for it, waits.",
            retry_after=min(_LONGEST_RETRY, math.ceil(counts.pause)),
        )

    def require_described(self) -> None:
        """Raise `Unavailable` while there are models that are not described yet."""
        if self.phase is Phase.STARTING:
            raise Unavailable("The models are still loading. Try again soon.", retry_after=1)

    def require_open(self) -> None:
        """Raise `Unavailable` while the server does not take predictions in."""
        if self.phase is Phase.OPEN:
            return
        self.require_described()
        if self.phase is Phase.CLOSED:
            raise Unavailable("The server is shutting down. Try again soon.", retry_after=1)
