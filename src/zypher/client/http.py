"""How requests are sent over HTTP, the same in both clients."""

from collections.abc import Mapping
from typing import Any

import httpx2

from zypher.client.requests import Request
from zypher.client.urls import direct_hosts

_CONNECT_TIMEOUT = 10.0
_WRITE_TIMEOUT = 30.0

# Less than the 5 s after which a server closes a connection that is not used: what is sent just
# then is lost, and nobody knows whether it was received.
_KEEPALIVE = 3.0


def client_options(url: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """What an HTTP client is made with. A call has a connection of its own, and waits for none."""
    limits = httpx2.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE)
    return {"base_url": url, "headers": headers, "limits": limits, "mounts": direct_hosts(url)}


def arguments(request: Request) -> dict[str, Any]:
    """What an HTTP client is called with."""
    prefer = {} if request.wait is None else {"Prefer": f"wait={request.wait}"}
    longest = (request.wait or 0) + request.margin
    timeout = httpx2.Timeout(
        connect=min(_CONNECT_TIMEOUT, longest),
        read=longest,
        write=min(_WRITE_TIMEOUT, longest),
        pool=None,
    )
    return {
        "method": request.method,
        "url": request.path,
        "content": request.body,
        "headers": {**request.headers, **prefer},
        "params": request.query,
        "timeout": timeout,
    }
