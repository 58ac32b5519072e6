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


async def sleep(seconds: float) -> float:
    """Takes as long as it is told."""
    await asyncio.sleep(seconds)
    return seconds


async def failing(value: Any) -> Any:
    """Returns what it gets, and raises where that is negative."""
    if value < 0:
        raise ValueError("It is negative.")
    return value


@zypher.batch(max_size=32, max_wait=0.005)
def batched(values: list[Any]) -> list[Any]:
    """Takes 10 ms for up to 32 inputs, and blocks."""
    time.sleep(0.01)
    return values
