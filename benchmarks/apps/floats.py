"""Models that take and give 1 MB of floats."""

import time

from benchmarks.payloads import FLOATS


def floats_in(values: list[float]) -> int:
    """Takes them."""
    return 1


def floats_out(value: int) -> list[float]:
    """Gives them."""
    return FLOATS


def floats_both(values: list[float]) -> list[float]:
    """Gives back what it takes."""
    return values


def floats_timed(values: list[float]) -> dict[str, object]:
    """Gives back what it took, and says when."""
    now = time.perf_counter()
    return {"began": now, "ended": now, "values": values}
