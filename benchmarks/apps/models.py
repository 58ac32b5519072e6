"""The work that all of them do."""

import asyncio
import time
from typing import Any

import zypher


async def echo(value: Any) -> Any:
    """Answers at once."""
    return value


async def nap(value: Any) -> Any:
    """Takes 50 ms, with as many others as there are."""
    await asyncio.sleep(0.05)
    return value


@zypher.batch(max_size=32, max_wait=0.005)
def batched(values: list[Any]) -> list[Any]:
    """Takes 10 ms for up to 32 inputs, and blocks."""
    time.sleep(0.01)
    return values
