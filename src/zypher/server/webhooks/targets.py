"""Who may be called: hosts in the Internet, unless private ones are allowed.

A webhook is a request that a client has this server make, from where the server stands. So that
it cannot be aimed at what only the server can reach, every address is looked at before it is
connected to, whatever name led to it.
"""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpx2

from zypher.server.webhooks.reasons import Refused

_LONGEST = 2_000

_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE)

# What has been given out for the Internet; and where the last four bytes are an IPv4 address.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, best first.

    Each look-up has a thread of its own: it can take half a minute if a name server is dead, and
    the event loop has so few for this that a few such names would hold up all others.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(answers: Sequence[Any], error: Exception | None) -> None:
        if found.done():  # nobody waits any more
            return
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result([str(address[0]) for *_, address in answers])

    def look_up() -> None:
        answers: Sequence[Any] = ()
        error = None
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, answers, error)

    threading.Thread(target=look_up, name="zypher-dns", daemon=True).start()
    return await found


class Targets:
    """What may be called; `resolve` finds the addresses of a name."""

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve

    def require(self, text: str) -> httpx2.URL:
        """The URL, if it is one that may be called as far as can be seen. Raises `Refused`."""
        if len(text) > _LONGEST:
            raise Refused(f"The webhook is longer than {_LONGEST} characters.")
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL as error:
            raise Refused(f"The webhook is not a URL: {error}.") from None
        schemes = ("https", "http") if self._allow_private else ("https",)
        if url.scheme not in schemes:
            raise Refused(f"The webhook must begin with {' or '.join(f'{s}://' for s in schemes)}.")
        if url.userinfo:
            raise Refused("The webhook must not have a user name or a password in it.")
        if url.port is not None and not 0 < url.port < 65536:
            raise Refused(f"The webhook has a port that does not exist: {url.port}.")
        self._require_host(host_of(url))
        return url

    async def addresses(self, url: httpx2.URL) -> list[str]:
        """Where to connect to, all of it checked now. Raises `Refused` or `OSError`."""
        found = await self._resolve(host_of(url), url.port or _PORTS[url.scheme])
        for address in found:
            self._require_public(ip_address(address))
        return found

    def _require_host(self, host: str) -> None:
        try:
            address = ip_address(host)
        except ValueError:
            if not _NAME.fullmatch(host):
                raise Refused(f"The webhook has no valid host: {host!r}.") from None
        else:
            self._require_public(address)

    def _require_public(self, address: Address) -> None:
        if not (self._allow_private or is_public(address)):
            raise Refused(
                f"The webhook leads to {address}, which is not an address of the Internet: it is "
                "called only with the setting webhook-allow-private."
            )


_PORTS = {"http": 80, "https": 443}


def host_of(url: httpx2.URL) -> str:
    """The host as it goes over the wire."""
    return url.raw_host.decode()


def is_public(address: Address) -> bool:
    """True for one host in the Internet, also if it is written in the other version's form."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is reached by this one: mapped, 6to4, or behind a NAT64."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
