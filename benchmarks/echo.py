"""A model that answers at once."""

from typing import Any


async def echo(value: Any) -> Any:
    """Returns what it gets."""
    return value
