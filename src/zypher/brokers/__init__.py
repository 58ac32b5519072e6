"""Brokers: where predictions wait and are recorded (`base` says what that means)."""

from zypher.brokers.base import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.brokers.sqlite import SqliteBroker
from zypher.brokers.sqlite.files import path_of
from zypher.clock import Clock
from zypher.errors import ConfigurationError

__all__ = ["Broker", "Limits", "open_broker"]


def open_broker(url: str, limits: Limits, clock: Clock, *, salvage_damaged: bool = False) -> Broker:
    """The broker that `url` names, not started yet. Raises `ConfigurationError` if there is none.

    `salvage_damaged`: start with what can be read of a damaged file.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "memory":
        return MemoryBroker(limits, clock)
    if scheme == "sqlite":
        return SqliteBroker(path_of(url), limits, clock, salvage_damaged=salvage_damaged)
    raise ConfigurationError(
        f"There is no broker for {url!r}. There are: sqlite:///zypher.db (a file), "
        "memory: (nothing survives the end of the process)."
    )
