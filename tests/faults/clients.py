"""Clients of a server that may be gone at any moment."""

from collections.abc import Mapping

import httpx2

from tests.harness import PATIENCE
from zypher.server.webhooks.transport import Transport

_LIMITS = httpx2.Limits(max_connections=None)


def client_of(
    url: str, headers: Mapping[str, str] | None = None, *, patience: float = PATIENCE
) -> httpx2.AsyncClient:
    """A client to which a server that is gone is an error of the connection."""
    transport = Transport(limits=_LIMITS)
    return httpx2.AsyncClient(base_url=url, timeout=patience, headers=headers, transport=transport)
