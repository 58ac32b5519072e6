"""Zypher turns any Python model into a prediction server.

`import zypher` is light: models import it inside their replicas.
"""

from typing import TYPE_CHECKING, Any

from zypher.errors import InvalidInput
from zypher.model.author import ItemError, JoinedText, batch
from zypher.model.current import current

if TYPE_CHECKING:
    from zypher.node import create_app

__all__ = ["InvalidInput", "ItemError", "JoinedText", "batch", "create_app", "current"]


def __getattr__(name: str) -> Any:
    """Import the server only for those who ask for it."""
    if name == "create_app":
        from zypher.node import create_app

        return create_app
    raise AttributeError(f"module 'zypher' has no attribute {name!r}")
