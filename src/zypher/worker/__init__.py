"""The worker: claims predictions from the broker and has replicas run them."""

from zypher.worker.worker import Worker

__all__ = ["Worker"]
