"""The redis broker: streams, hashes and scripts that make many nodes one queue."""

from zypher.brokers.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
