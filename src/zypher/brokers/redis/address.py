"""Where Redis is: the URLs that name a server, or sentinels that know it."""

from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from zypher.errors import ConfigurationError

_PORT = 6379
_SENTINEL_PORT = 26379

# How long it may take to connect, in seconds. How long answers may take, and what is sent again
# when they do not come, is decided in one place, and not here: `link`.
_TIMEOUT = 2.0


class Address(NamedTuple):
    """One of the ways to reach Redis.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]      a server; rediss:// with TLS
    redis+sentinel://[...@]HOST[:PORT],.../SERVICE[/DB]   the primary that sentinels name
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None
    db: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """For people, without the password."""
        hosts = ", ".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.service!r} of the sentinels {hosts}" if self.service else hosts

    def client(self) -> Redis:
        """A client for it, which tries nothing twice by itself."""
        options = {
            **self.options,
            "db": self.db,
            "socket_timeout": None,
            "socket_connect_timeout": _TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
        }
        if self.service is None:
            ((host, port),) = self.hosts
            return Redis(host=host, port=port, **options)
        sentinels: Any = Sentinel(self.hosts, sentinel_kwargs={"socket_timeout": 0.5}, **options)  # type: ignore[no-untyped-call]
        client: Redis = sentinels.master_for(self.service)
        return client


async def close(client: Redis) -> None:
    """Let go of a client's connections, and of those to the sentinels that it asked."""
    manager: Any = getattr(client.connection_pool, "sentinel_manager", None)
    for one in (client, *(manager.sentinels if manager else ())):
        await one.aclose()


def parse(url: str) -> Address:
    """The address that a URL names. Raises `ConfigurationError`."""
    try:
        return _parse(urlsplit(url))
    except ValueError as error:
        raise ConfigurationError(
            f"The broker's URL is wrong: {error}. Write redis://HOST:PORT/DB, rediss:// for TLS, "
            "or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB."
        ) from None


def _parse(url: SplitResult) -> Address:
    scheme, _, kind = url.scheme.partition("+")
    credentials, _, hosts = url.netloc.rpartition("@")
    if scheme not in ("redis", "rediss") or kind not in ("", "sentinel"):
        raise ValueError(f"nothing is reached by {url.scheme!r}")
    path = [unquote(part) for part in url.path.split("/") if part]
    options = _options(scheme, credentials, url.query)
    if kind == "sentinel":
        if not path:
            raise ValueError("it names no service of the sentinels")
        where = tuple(_host(host, _SENTINEL_PORT) for host in hosts.split(","))
        return Address(where, path[0], _db(path[1:]), options)
    if "," in hosts:
        raise ValueError("it names several servers, which only sentinels may be")
    return Address((_host(hosts, _PORT),), None, _db(path), options)


def _options(scheme: str, credentials: str, query: str) -> dict[str, Any]:
    user, _, password = credentials.partition(":")
    options: dict[str, Any] = {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
    }
    if scheme == "rediss":
        options["ssl"] = True
    for name, values in parse_qs(query, strict_parsing=bool(query)).items():
        if name not in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"):
            raise ValueError(f"{name!r} is no option of it")
        options[name] = values[0]
    return options


def _host(text: str, default_port: int) -> tuple[str, int]:
    # Neither here nor below is it repeated what stands there: with a slash in it, unescaped, that
    # is a part of the password.
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port or default_port
    except ValueError:
        raise ValueError("what stands behind the host is not a port") from None
    return parts.hostname or "localhost", port


def _db(path: list[str]) -> int:
    if len(path) > 1 or (path and not path[0].isdigit()):
        raise ValueError("what stands behind the host is not the number of a database")
    return int(path[0]) if path else 0
