"""Brokers: where predictions wait and are recorded (`base` says what that means)."""

from urllib.parse import urlsplit

from zypher.brokers.base import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.clock import Clock
from zypher.errors import ConfigurationError

__all__ = ["Broker", "Limits", "open_broker"]


def open_broker(url: str, limits: Limits, clock: Clock) -> Broker:
    """The broker that `url` names. Raises `ConfigurationError` for one that does not exist."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBroker(limits, clock)
    raise ConfigurationError(
        f"There is no broker for {url!r}. This version has one: set broker to 'memory:'."
    )
