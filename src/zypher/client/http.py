"""How requests are sent over HTTP, the same in both clients."""

import os
import re
from collections.abc import Mapping
from typing import Any

import httpx2

from zypher.client.requests import Request
from zypher.client.urls import direct_hosts
from zypher.errors import ConfigurationError

# Where the API key is found that a caller does not give.
VARIABLE = "ZYPHER_API_KEY"

_VISIBLE = re.compile(r"[!-~]*")

_CONNECT_TIMEOUT = 10.0
_WRITE_TIMEOUT = 30.0

# Less than the 5 s after which a server closes a connection that is not used: what is sent just
# then is lost, and nobody knows whether it was received.
_KEEPALIVE = 3.0


def client_options(
    url: str, headers: Mapping[str, str] | None, api_key: str | None
) -> dict[str, Any]:
    """What an HTTP client is made with. A call has a connection of its own, and waits for none."""
    limits = httpx2.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE)
    headers = _with_api_key(headers or {}, api_key)
    return {"base_url": url, "headers": headers, "limits": limits, "mounts": direct_hosts(url)}


def _with_api_key(headers: Mapping[str, str], key: str | None) -> Mapping[str, str]:
    """The headers with the API key that a caller gives, in whatever way, else that of the variable.

    Not in `Authorization`, which may be for a proxy on the way: of the url, or of `.netrc`.
    """
    if key is None:
        given = {name.lower() for name in headers}
        is_given = not given.isdisjoint(("authorization", "x-api-key"))
        key = "" if is_given else os.environ.get(VARIABLE, "").strip()
    if not isinstance(key, str) or not _VISIBLE.fullmatch(key):
        raise ConfigurationError(
            "An API key is a text of visible ASCII characters, without blanks."
        )
    return {**headers, "X-API-Key": key} if key else headers


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
