"""Brokers: where predictions wait and are recorded (`base` says what that means)."""

from zypher.brokers.base import Broker, Limits
from zypher.brokers.memory import MemoryBroker
from zypher.brokers.sqlite import SqliteBroker
from zypher.brokers.sqlite.files import path_of
from zypher.brokers.urls import is_shared, scheme_of, without_password
from zypher.clock import Clock
from zypher.errors import ConfigurationError

__all__ = ["Broker", "Limits", "is_shared", "open_broker", "without_password"]


def open_broker(url: str, limits: Limits, clock: Clock, *, salvage_damaged: bool = False) -> Broker:
    """The broker that `url` names, not started yet. Raises `ConfigurationError` if there is none.

    `salvage_damaged`: start with what can be read of a damaged file.
    """
    if is_shared(url):
        return _redis_broker(url, limits, clock)
    if scheme_of(url) == "memory":
        return MemoryBroker(limits, clock)
    if scheme_of(url) == "sqlite":
        return SqliteBroker(path_of(url), limits, clock, salvage_damaged=salvage_damaged)
    raise ConfigurationError(
        f"There is no broker for {without_password(url)!r}. There are: sqlite:///zypher.db (a "
        "file), redis://HOST:6379/0 (for many machines), memory: (nothing survives the end of the "
        "process)."
    )


def _redis_broker(url: str, limits: Limits, clock: Clock) -> Broker:
    try:
        import redis  # noqa: F401 - an extra, which the others do without
    except ImportError:
        raise ConfigurationError(
            f"The broker {without_password(url)} needs the redis package: "
            "pip install 'zypher[redis]'"
        ) from None
    from zypher.brokers.redis import RedisBroker

    return RedisBroker(url, limits, clock)
