"""The sqlite broker: predictions in one file, on the disk before anybody sees them."""

from zypher.brokers.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
