"""Where a server is, and the way to it."""

from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

import httpx2

from zypher.errors import ConfigurationError


def checked_url(url: str) -> str:
    """The root of a server, without a slash at its end. Raises `ConfigurationError`."""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{url!r} is no url of a server: it must begin with http:// or https://."
        )
    if "?" in url or "#" in url:
        raise ConfigurationError(
            f"{url!r} is no url of a server: give that of its root, without ? and #."
        )
    return url.rstrip("/")


def direct_hosts(url: str) -> dict[str, None]:
    """What is never asked through a proxy: this machine. As the mounts of an HTTP client."""
    host = httpx2.URL(url).host
    return {f"all://{_bracketed(host)}": None} if _is_loopback(host) else {}


def proxy_to(url: str) -> str | None:
    """The proxy through which a server is asked, without its password."""
    address = httpx2.URL(url)
    if _is_loopback(address.host) or proxy_bypass(address.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    return proxy and proxy.rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
