"""The servers that the tests of Redis use are what those tests take them for."""

from pathlib import Path

import pytest
import redis

from tests.certificates import make_certificate
from tests.redis_servers import ALWAYS, NO_RETRY, Program, RedisServer
from tests.sentinels import Sentinels


def test_a_shared_server_is_empty_and_of_a_version_that_is_supported(
    redis_server: RedisServer,
) -> None:
    assert redis_server.call("DBSIZE") == 0
    assert redis_server.call("INFO", "server")["redis_version"] >= "7.0"


@pytest.mark.parametrize("program", Program)
def test_a_killed_server_comes_back_at_its_place_with_what_was_on_the_disk(
    program: Program, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, *ALWAYS, program=program) as server:
        server.call("SET", "key", "value")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.call("PING")
        server.start()
        assert server.call("GET", "key") == b"value"


def test_a_frozen_server_is_there_and_does_not_answer(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.freeze()
        with (
            redis.Redis(port=server.port, retry=NO_RETRY, socket_timeout=0.1) as client,
            pytest.raises(redis.TimeoutError),
        ):
            client.ping()
        server.thaw()
        assert server.call("PING")


def test_a_server_asks_for_its_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="sesame") as server:
        assert server.call("PING")
        with (
            redis.Redis(port=server.port, retry=NO_RETRY) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_server_with_a_certificate_speaks_tls_alone(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with RedisServer(tmp_path, program=Program.REDIS, certificate=certificate) as server:
        assert server.url.startswith("rediss://")
        assert server.call("PING")
        with (
            redis.Redis(port=server.port, retry=NO_RETRY) as client,
            pytest.raises(redis.ConnectionError),
        ):
            client.ping()


def test_sentinels_make_the_replica_of_a_dead_primary_the_next_one(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as sentinels:
        first = sentinels.primary
        first.call("SET", "key", "value")
        assert first.call("WAIT", 1, 5_000) == 1
        first.kill()
        sentinels.wait_promoted(first)
        assert sentinels.primary.call("GET", "key") == b"value"
