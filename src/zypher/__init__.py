"""Zypher turns any Python model into a prediction server.

`import zypher` is light: models import it inside their replicas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zypher.errors import InvalidInput
from zypher.model.author import ItemError, JoinedText, batch
from zypher.model.current import current

if TYPE_CHECKING:
    from zypher.client import AsyncClient, Client
    from zypher.node import create_app

    __version__: str

__all__ = [
    "AsyncClient",
    "Client",
    "InvalidInput",
    "ItemError",
    "JoinedText",
    "batch",
    "create_app",
    "current",
]

# What is imported only for those who ask for it, and where it is.
_LATER = {
    "AsyncClient": "zypher.client",
    "Client": "zypher.client",
    "create_app": "zypher.node",
}


def __getattr__(name: str) -> Any:
    """Import the client and the server only for those who ask for them; so with the version."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("zypher")  # as pyproject.toml says, which is the one place
    raise AttributeError(f"module 'zypher' has no attribute {name!r}")
