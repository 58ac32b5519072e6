"""A real primary with a replica, and three sentinels that watch over them."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from tests.harness import PATIENCE
from tests.redis_servers import Program, RedisServer

# By which the sentinels know the primary.
NAME = "mymaster"

_SENTINELS = 3
_QUORUM = 2
# Milliseconds: a primary that is silent for so long is down, and so long a failover may take.
_DOWN_AFTER = 500
_FAILOVER_TIMEOUT = 3_000
# A replica is sent what there is without waiting for others that may come.
_AT_ONCE = ("--repl-diskless-sync-delay", "0")
# How long to wait before asking the sentinels again.
_PAUSE = 0.05


class Sentinels:
    """One primary, one replica and three sentinels for the `with` block.

    `arguments` are those of both servers' command lines.
    """

    def __init__(self, directory: Path, *arguments: str, program: Program = Program.VALKEY) -> None:
        first, second = (
            RedisServer(_new(directory / name), *_AT_ONCE, *arguments, program=program)
            for name in ("first", "second")
        )
        self.servers = {server.port: server for server in (first, second)}
        self.sentinels = [
            _sentinel(_new(directory / f"sentinel-{number}"), first.port, program)
            for number in range(_SENTINELS)
        ]

    @property
    def url(self) -> str:
        """The primary, as one writes it behind `--broker`."""
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{addresses}/{NAME}/0"

    def __enter__(self) -> Self:
        first, second = self.servers.values()
        with ExitStack() as started:
            started.enter_context(first)
            started.enter_context(second)
            second.call("REPLICAOF", "127.0.0.1", first.port)
            # Before there are sentinels: they ask only every ten seconds who follows whom.
            _until(lambda: _follows(second))
            for sentinel in self.sentinels:
                started.enter_context(sentinel)
            _until(lambda: all(map(_knows_all, self.sentinels)))
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def primary(self) -> RedisServer:
        """The server that the sentinels hold for the primary now."""
        _, port = self.sentinels[0].call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return self.servers[int(port)]

    def wait_promoted(self, before: RedisServer) -> None:
        """Wait until another than this one is the primary, and takes writes."""

        def promoted() -> bool:
            primary = self.primary
            return primary is not before and b"master" in primary.call("ROLE")

        _until(promoted)

    def rejoin(self, dead: RedisServer) -> None:
        """Start a server that was the primary, and wait until it follows the one that is."""
        dead.start()
        _until(lambda: _follows(dead))


def _follows(server: RedisServer) -> bool:
    """True for a replica that has what its primary has, and hears of what is new."""
    role, *_, link, _ = server.call("ROLE")
    return (role, link) == (b"slave", b"connected")


def _new(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def _sentinel(directory: Path, primary: int, program: Program) -> RedisServer:
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor {NAME} 127.0.0.1 {primary} {_QUORUM}\n"
        f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER}\n"
        f"sentinel failover-timeout {NAME} {_FAILOVER_TIMEOUT}\n"
    )
    return RedisServer(directory, str(configuration), "--sentinel", program=program)


def _knows_all(sentinel: RedisServer) -> bool:
    told = sentinel.call("SENTINEL", "MASTER", NAME)
    return (told[b"num-slaves"], told[b"num-other-sentinels"]) == (b"1", b"%d" % (_SENTINELS - 1))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _holds(condition):
        assert time.monotonic() < deadline, "the sentinels did not agree in time"
        time.sleep(_PAUSE)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except redis.ConnectionError:  # a server that changes its part closes all connections
        return False
