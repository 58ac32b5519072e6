"""The URL of a Redis: what it may say, and that what is wrong in it is told."""

import pytest

from zypher.brokers.redis.address import parse
from zypher.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "hosts", "service", "db"),
    [
        ("redis://", (("localhost", 6379),), None, 0),
        ("redis://host", (("host", 6379),), None, 0),
        ("redis://host:1/3", (("host", 1),), None, 3),
        ("redis://[::1]:1/3", (("::1", 1),), None, 3),
        ("rediss://:p%40@host", (("host", 6379),), None, 0),
        ("redis+sentinel://a,b:2/name", (("a", 26379), ("b", 2)), "name", 0),
        ("redis+sentinel://:p@a:1/name/4", (("a", 1),), "name", 4),
    ],
)
def test_a_url_names_servers_and_a_database(
    url: str, hosts: tuple[tuple[str, int], ...], service: str | None, db: int
) -> None:
    address = parse(url)
    assert (address.hosts, address.service, address.db) == (hosts, service, db)


def test_what_is_quoted_in_a_password_is_meant() -> None:
    options = parse("rediss://me:p%40%2F@host").options
    assert (options["username"], options["password"], options["ssl"]) == ("me", "p@/", True)


def test_no_password_is_shown() -> None:
    assert "secret" not in parse("redis://me:secret@host:1").name


@pytest.mark.parametrize(
    "url",
    [
        *("redis://host/name", "redis://host/1/2", "redis://host:port", "redis://host:99999"),
        *("redis+sentinel://host", "redis://host?timeout=1", "redis://a,b", "redis://host/-1"),
        *("redis+other://host", "rediss+sentinel://a:1:2/name"),
    ],
)
def test_a_url_that_is_wrong_is_refused_with_how_to_write_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Write redis://"):
        parse(url)
