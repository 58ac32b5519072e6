"""The mock model: it stands in for a slow model and needs nothing."""

import asyncio
import random
from typing import Any


class Mock:
    """Waits a while and returns a random number as text, whatever the input."""

    def __init__(self, delay: tuple[float, float]) -> None:
        """`delay`: the shortest and the longest time of a prediction, in seconds."""
        self._delay = delay

    async def predict(self, input: Any) -> str:
        await asyncio.sleep(random.uniform(*self._delay))  # noqa: S311 - no secret
        return str(random.randint(1000, 20000))  # noqa: S311
