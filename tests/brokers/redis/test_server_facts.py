"""What a node says of the server, which servers it refuses, and what it may be allowed there."""

import asyncio
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.redis_servers import ALWAYS, EVERY_SECOND, Program, RedisServer
from tests.sentinels import Sentinels
from zypher.brokers.redis import RedisBroker, link
from zypher.brokers.redis.server import Facts
from zypher.clock import SystemClock
from zypher.errors import ConfigurationError
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, LIMITS, PATIENCE, new

pytestmark = pytest.mark.anyio

# All that a node does there.
COMMANDS = (
    *("+@hash", "+@sortedset", "+@set", "+@string", "+@stream", "+@keyspace", "-@dangerous"),
    *("+evalsha", "+script|load", "+publish", "+subscribe", "+unsubscribe", "+time", "+info"),
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are given up after a short while, so that a test is done soon."""
    monkeypatch.setattr(link, "PATIENCE", 1.0)


async def guarantee(url: str) -> str:
    """What a node promises there, once a prediction has had its whole life."""
    node = RedisBroker(url, LIMITS, SystemClock())
    try:
        await node.start()
        made = await node.submit(new(), keep=False)
        waiting = asyncio.create_task(node.wait(made.id, PATIENCE))
        (claimed,) = await node.claim("w", "m", limit=1, timeout=PATIENCE)
        assert not await node.finish([(claimed.claim, GOOD)])
        assert await waiting
        return node.guarantee()
    finally:
        await node.aclose()


@pytest.mark.parametrize(
    ("arguments", "promise"),
    [
        (ALWAYS, "survives the death of Redis and of its machine."),
        (EVERY_SECOND, "in the last second or two may be lost when Redis or its machine dies"),
        ((*ALWAYS[:2], "--appendfsync", "no"), "the last half minute may be lost"),
        ((), "write nothing to its disk"),
        (("--save", "60 1"), "write nothing to its disk"),
        ((*ALWAYS, "--rename-command", "CONFIG", ""), "does not tell how often"),
    ],
    ids=["always", "everysec", "no", "nothing", "save-is-overridden", "without-config"],
)
async def test_what_is_promised_is_what_the_server_keeps(
    tmp_path: Path, arguments: tuple[str, ...], promise: str
) -> None:
    with RedisServer(tmp_path, *arguments) as server:
        assert promise in await guarantee(server.url)


async def test_snapshots_alone_are_no_promise_for_what_came_after_them(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.call("CONFIG", "SET", "save", "3600 1")
        assert "loses what came after the last" in await guarantee(server.url)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"), "volatile-ttl"),
        (("--cluster-enabled", "yes"), "part of a cluster"),
    ],
    ids=["allkeys", "volatile", "cluster"],
)
async def test_a_server_on_which_predictions_would_not_be_safe_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    with (
        RedisServer(tmp_path, *arguments) as server,
        pytest.raises(ConfigurationError, match=reason),
    ):
        await guarantee(server.url)


async def test_a_wrong_password_is_refused_at_the_start_and_named(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="right") as server:
        assert await guarantee(server.url)
        for url in (server.url.replace("right", "wrong"), server.url.replace(":right@", "")):
            with pytest.raises(ConfigurationError, match=r"(?i)password|auth"):
                await guarantee(url)


async def test_a_user_needs_no_more_than_its_own_keys_channels_and_commands(
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path, *ALWAYS) as server:
        server.call(*("ACL", "SETUSER", "z", "on", ">p", "~zypher:*", "&zypher:*"), *COMMANDS)
        assert "does not tell how often" in await guarantee(f"redis://z:p@127.0.0.1:{server.port}")


async def test_a_user_who_may_not_listen_is_refused_at_the_start(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.call("ACL", "SETUSER", "z", "on", ">p", "~zypher:*", "resetchannels", "+@all")
        with pytest.raises(ConfigurationError, match="channel"):
            await guarantee(f"redis://z:p@127.0.0.1:{server.port}")


async def test_a_server_is_reached_over_tls_if_its_certificate_is_trusted(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with RedisServer(tmp_path, certificate=certificate, program=Program.REDIS) as server:
        assert await guarantee(f"{server.url}?ssl_ca_certs={certificate.file}")
        with pytest.raises(ConfigurationError, match=r"(?i)certificate"):
            await guarantee(server.url)


async def test_sentinels_name_the_server(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as sentinels:
        assert "failover" in await guarantee(sentinels.url)


async def test_nobody_there_is_said_at_the_start(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with pytest.raises(ConfigurationError, match="is it running"):
        await guarantee(server.url)


async def test_a_node_whose_clock_differs_from_that_of_redis_says_so(
    redis_server: RedisServer,
) -> None:
    node = RedisBroker(redis_server.url, LIMITS, ManualClock())  # it stands in another year
    try:
        await node.start()
        (complaint,) = node.degraded()
        assert "that of Redis" in complaint
        assert "NTP" in complaint
    finally:
        await node.aclose()


async def test_a_server_that_begins_to_evict_is_complained_of() -> None:
    facts = Facts(maxmemory=1, eviction="allkeys-lru")
    (complaint,) = facts.complaints
    assert "noeviction" in complaint
