"""Time, so that it can be passed in: nothing below the program's edge reads a clock of its own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings, because one clock cannot be both true and steady."""

    def wall(self) -> float:
        """Seconds since the epoch: for records that people read. It may jump."""

    def steady(self) -> float:
        """Seconds that only ever grow at one pace: for leases and waits."""


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> float:
        return time.time()

    def steady(self) -> float:
        return time.monotonic()
