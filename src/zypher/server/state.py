"""What all endpoints of a server share."""

from enum import Enum, auto

from zypher.brokers.base import Broker, ModelInfo
from zypher.clock import Clock
from zypher.errors import NotFound, Unavailable
from zypher.server.door import Door
from zypher.server.webhooks import door_for
from zypher.settings import Settings


class Phase(Enum):
    """Where a server is in its life."""

    STARTING = auto()  # no model is described yet
    OPEN = auto()
    DRAINING = auto()  # still open, but /readyz sends callers elsewhere
    CLOSED = auto()  # takes nothing new in; what it has is still answered


class ServerState:
    """The broker, the settings and the door of one server; its phase."""

    def __init__(self, broker: Broker, settings: Settings, clock: Clock) -> None:
        self.broker = broker
        self.settings = settings
        self.clock = clock
        self.door = Door(settings.max_body_size)
        self.webhooks = door_for(settings)
        self.phase = Phase.STARTING

    async def model(self, name: str | None) -> ModelInfo:
        """The model of that name, or the default one.

        Raises `NotFound` for an unknown name.
        """
        models = await self.broker.models()
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            known = ", ".join(models)
            raise NotFound(f"There is no model {name!r} here. There is: {known}.")
        return models[name]

    def require_open(self) -> None:
        """Raise `Unavailable` while the server does not take predictions in."""
        if self.phase is Phase.STARTING:
            raise Unavailable("The models are still loading. Try again soon.", retry_after=1)
        if self.phase is Phase.CLOSED:
            raise Unavailable("The server is shutting down. Try again soon.", retry_after=1)
