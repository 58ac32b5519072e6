"""What is to be known of a replica before there is one."""

from collections.abc import Sequence
from typing import Literal

import msgspec


class ReplicaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which model a replica loads, and how. Times are seconds, sizes bytes.

    `example` is an input as JSON text, in place of the model's own.
    """

    name: str
    target: str
    concurrency: int | None = None
    mock_delay: tuple[float, float] = (8.0, 15.0)
    max_result_size: int = 64_000_000
    setup_timeout: float = 300.0
    swap: Literal["overlap", "replace"] = "overlap"
    devices: Sequence[str] = ()
    threads: int | None = None
    example: bytes | None = None
    healthcheck_interval: float = 30.0
    healthcheck_timeout: float = 10.0
    recycle_after: int | None = None
    recycle_memory: int | None = None
    max_failures: int | None = None
