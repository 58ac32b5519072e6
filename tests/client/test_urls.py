"""What the client says of an url that is not right, and which way it goes to one that is."""

from typing import Any

import pytest

from tests.client.conftest import Connect
from tests.client.test_answers import stub
from tests.harness import Server, free_port
from zypher.errors import ConfigurationError, NotFound, PredictionError, Unreachable


@pytest.mark.parametrize("url", ["127.0.0.1:8080", None, 8080, ""])
def test_what_is_no_url_is_refused_at_once(connect: Connect, url: Any) -> None:
    with pytest.raises(ConfigurationError, match="must begin with http"):
        connect(url)


@pytest.mark.parametrize("end", ["?x=1", "/#top"])
def test_more_than_the_root_of_a_server_is_refused_at_once(connect: Connect, end: str) -> None:
    with pytest.raises(ConfigurationError, match=r"without \? and #"):
        connect(f"http://127.0.0.1:8080{end}")


@pytest.mark.parametrize("path", ["/predict", "/elsewhere"])
def test_an_url_that_is_not_the_root_is_told_by_every_call(
    connect: Connect, server: Server, path: str
) -> None:
    client = connect(server.url + path)
    for call in (
        client.models,
        client.stats,
        client.ready,
        lambda: list(client.list()),
        lambda: client.predict(1),
        lambda: client.submit(1),
    ):
        with pytest.raises(PredictionError, match="It must be the root of the server"):
            call()


def test_a_server_under_a_path_is_asked_there(connect: Connect) -> None:
    with stub((200, '{"models": []}')) as (url, asked):
        assert connect(f"{url}/api/").models() == []
        assert asked == ["GET /api/models"]


def test_what_the_root_does_not_have_is_not_blamed_on_the_url(
    connect: Connect, server: Server
) -> None:
    with pytest.raises(NotFound, match="no model 'elsewhere'"):
        connect(server.url).predict(1, model="elsewhere")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the environment says that there is a proxy; nobody listens."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://user:secret@{address}")
    return address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_stands_before_this_machine(
    connect: Connect, server: Server, proxy: str, host: str
) -> None:
    assert connect(server.url.replace("127.0.0.1", host)).models()


def test_a_proxy_that_refuses_is_named(connect: Connect, proxy: str) -> None:
    client = connect("http://models.example", patience=0)
    with pytest.raises(Unreachable, match=f"through the proxy {proxy}") as refused:
        client.models()
    assert "secret" not in str(refused.value)
    assert "zypher serve" not in str(refused.value)


def test_a_server_that_does_not_speak_https_is_told_apart(connect: Connect, server: Server) -> None:
    with pytest.raises(Unreachable, match=r"does not speak https\. Give its url with http://"):
        connect(server.url.replace("http://", "https://"), patience=0).models()
