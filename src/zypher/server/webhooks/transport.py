"""Connections to the addresses that were checked, and to no others."""

import ssl

import httpx2

from zypher.server.webhooks.targets import Targets, host_of

# No connection is used twice: the next call to its address may be for another name, which the
# certificate that was seen here says nothing of.
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=0)


class Transport(httpx2.AsyncHTTPTransport):
    """Has an error of the connection for one that is lost as soon as it is made.

    uvloop has let go of its socket by then, and httpx asks that for its peer.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it over a connection."""
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            if error.name != "getpeername":
                raise
            raise httpx2.ConnectError("the connection was lost", request=request) from None


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Resolves and checks a host once for each request, and connects to what was checked.

    Were the name left to the connection, it would be resolved again, and the answer may be
    another one by then (DNS rebinding). Neither proxies nor redirects are followed.
    """

    def __init__(self, targets: Targets, verify: ssl.SSLContext | None = None) -> None:
        self._targets = targets
        self._transport = Transport(
            verify=True if verify is None else verify, trust_env=False, limits=_LIMITS
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it to the first address that takes the connection."""
        url = request.url
        request.extensions["sni_hostname"] = host_of(url)  # whose certificate it has to be
        error: httpx2.TransportError = httpx2.ConnectError("its name has no address")
        for address in await self._targets.addresses(url):
            request.url = url.copy_with(host=address)  # the Host header has the name already
            try:
                return await self._transport.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as failed:
                error = failed
        raise error
