"""Where the broker is, and where a server listens; the password is told to nobody."""

from pathlib import Path

import pytest

from tests.cli.commands import assert_one_sentence, zypher
from zypher.brokers import Limits, is_shared, open_broker, without_password
from zypher.clock import SystemClock
from zypher.errors import ConfigurationError
from zypher.node import guarantee_of, limits_of
from zypher.selection import with_models
from zypher.settings import load_settings

PASSWORD = "open-sesame"
REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Which one it is.


def test_without_any_setting_the_queue_is_a_file() -> None:
    assert load_settings().broker == "sqlite:///zypher.db"


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"REDIS_HOST": "r"}, "redis://r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "1"}, "redis://r:1/0"),
        ({"REDIS_PORT": "1"}, "redis://localhost:1/0"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_DB": "3"}, "redis://r:6379/3"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": "a/b@c"}, "redis://:a%2Fb%40c@r:6379/0"),
        (
            {"REDIS_HOST": "r", "REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"},
            "redis://u:p@r:6379/0",
        ),
        ({"REDIS_PORT": "tcp://10.0.0.1:6380"}, "redis://10.0.0.1:6380/0"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "tcp://10.0.0.1:6380"}, "redis://r:6380/0"),
        ({"REDIS_HOST": "", "REDIS_PORT": ""}, "sqlite:///zypher.db"),
        ({"REDIS_PASSWORD": "p"}, "sqlite:///zypher.db"),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_the_variables_of_redis_choose_it(
    variables: dict[str, str],
    url: str,
    from_file: bool,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if from_file:
        lines = [f"{name}={value}" for name, value in variables.items()]
        (place / ".env").write_text("\n".join(lines))
    else:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    assert load_settings().broker == url


def test_whatever_names_a_broker_wins_over_the_variables_of_redis(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", "r")
    (place / "zypher.toml").write_text('broker = "redis://of-the-file"\n')
    assert load_settings().broker == "redis://of-the-file"
    (place / ".env").write_text("ZYPHER_BROKER=redis://of-dotenv\n")
    assert load_settings().broker == "redis://of-dotenv"
    monkeypatch.setenv("ZYPHER_BROKER", "redis://of-the-environment")
    assert load_settings().broker == "redis://of-the-environment"
    assert load_settings(broker="redis://of-the-flag").broker == "redis://of-the-flag"


@pytest.mark.parametrize(
    ("name", "value"), [("REDIS_PORT", "x"), ("REDIS_PORT", "tcp://h:x"), ("REDIS_DB", "x")]
)
def test_a_wrong_variable_of_redis_gets_one_clear_sentence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", "r")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"^{name} is wrong: .*\.$"):
        load_settings()


def test_a_platform_says_in_port_where_to_listen_and_whoever_names_zypher_wins(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "")
    assert load_settings().port == 8080
    (place / "zypher.toml").write_text("port = 1\n")
    monkeypatch.setenv("PORT", "tcp://10.0.0.1:80")
    assert load_settings().port == 1
    monkeypatch.setenv("PORT", "2")
    assert load_settings().port == 2
    (place / ".env").write_text("ZYPHER_PORT=3\n")
    assert load_settings().port == 3
    monkeypatch.setenv("ZYPHER_PORT", "4")
    assert load_settings().port == 4
    assert load_settings(port="5").port == 5
    monkeypatch.setenv("ZYPHER_PORT", "tcp://10.0.0.1:80")
    (place / ".env").unlink()
    assert load_settings().port == 2
    assert load_settings().host == "127.0.0.1"


def test_a_wrong_port_of_a_platform_gets_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(ConfigurationError, match=r"^The setting port is wrong: .*got 'http'\.$"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    ["redis://h", "rediss://h:1/2", "redis+sentinel://a:1,b:2/s/0", "rediss+sentinel://a/s", REDIS],
)
@pytest.mark.anyio
async def test_the_urls_of_redis_open_its_broker(url: str) -> None:
    from zypher.brokers.redis import RedisBroker

    assert is_shared(url)
    assert isinstance(open_broker(url, Limits(), SystemClock()), RedisBroker)


# What goes with it.


@pytest.mark.anyio
async def test_without_a_setting_fewer_bytes_may_wait_in_redis_than_on_a_disk() -> None:
    assert limits_of(load_settings(broker="memory:")).max_queued_bytes == 1_000_000_000
    assert limits_of(load_settings(broker=REDIS)).max_queued_bytes == 256_000_000
    assert limits_of(load_settings(broker=REDIS, max_queued_bytes=5)).max_queued_bytes == 5


def test_a_server_without_replicas_starts_no_model_and_needs_a_shared_broker() -> None:
    settings = with_models(load_settings(broker=REDIS, replicas=0), [])
    assert settings.models == {}
    with pytest.raises(ConfigurationError, match=r"replicas 0 .* --broker redis://HOST\.$"):
        with_models(load_settings(broker="memory:", replicas=0), [])


def test_a_worker_needs_a_shared_broker_and_a_replica() -> None:
    assert_one_sentence(zypher("worker"), "--broker redis://HOST", "sqlite:///zypher.db")
    assert_one_sentence(zypher("worker", "--broker", "memory:"), "--broker redis://HOST")
    result = zypher("worker", "--broker", REDIS, "--replicas", "0")
    assert_one_sentence(result, "--replicas 1")


@pytest.mark.parametrize("command", ["serve", "worker", "check"])
def test_a_redis_that_is_not_there_gets_one_clear_sentence(command: str) -> None:
    result = zypher(command, "--port", "0", "--broker", REDIS)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Redis at 127.0.0.1:1 cannot be used: ")
    assert last.endswith("Is `broker` right, and is it running?")


def test_without_the_redis_package_it_says_what_to_install(place: Path) -> None:
    (place / "redis.py").write_text("raise ImportError\n")
    result = zypher("check", "--broker", REDIS, PYTHONPATH=f"{place}")
    assert_one_sentence(result, "needs the redis package: pip install 'zypher[redis]'")


# The password.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis://u:secret@h:1/2", "redis://***@h:1/2"),
        ("redis://:secret@h", "redis://***@h"),
        ("redis://secret@h", "redis://***@h"),
        ("redis://:se/cr@et@h/0", "redis://***@h/0"),
        ("rediss+sentinel://:secret@a:1,b:2/s", "rediss+sentinel://***@a:1,b:2/s"),
        ("redis://h/0?password=secret&x=1", "redis://h/0?password=***&x=1"),
        ("sqlite:///zypher.db", "sqlite:///zypher.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"rabbit://u:{PASSWORD}@h",
        f"redis://u:{PASSWORD}@127.0.0.1:1/0",
        f"redis://u:{PASSWORD}@h:port/0",
        f"redis://u:{PASSWORD}@h/db",
        f"redis://u:{PASSWORD}/@h/0",
        f"redis://u:x/{PASSWORD}@h/0",
        f"redis+sentinel://u:{PASSWORD}@h",
    ],
)
@pytest.mark.anyio
async def test_no_mistake_in_the_url_of_a_broker_shows_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await guarantee_of(load_settings(broker=url))
    assert PASSWORD not in f"{caught.value} {caplog.text}"


def test_a_broker_that_is_no_text_is_not_repeated(place: Path) -> None:
    (place / "zypher.toml").write_text(f'broker = ["redis://:{PASSWORD}@h"]\n')
    with pytest.raises(ConfigurationError, match=r"The setting broker is wrong") as caught:
        load_settings()
    assert PASSWORD not in str(caught.value)
