"""A blocking model that takes 50 ms."""

import time
from typing import Any


def nap(value: Any) -> Any:
    """Returns what it gets, after blocking for 50 ms."""
    time.sleep(0.05)
    return value
