"""A server that asks for API keys, as those see it who start it and call it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commands import zypher
from tests.harness import PATIENCE, Server
from zypher import AsyncClient, Client
from zypher.client.http import client_options
from zypher.errors import ConfigurationError, NotFound, Unauthorized

ANN, BOB = "zy_of-ann-which-is-long", "zy_of-bob-which-is-long"
MODEL = "import os\ndef secrets(x: str) -> str:\n    return repr(dict(os.environ))\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("guarded")
    (place / "model.py").write_text(MODEL)
    (place / "zypher.toml").write_text(f'[keys.bob]\nkey = "{BOB}"\nrate = 1\nburst = 1000\n')
    keys = f"ann={ANN}"
    with Server("model.py:secrets", "--host", "0.0.0.0", cwd=place, ZYPHER_API_KEYS=keys) as server:
        yield server


def test_it_says_who_has_a_key_and_tells_no_key_to_anybody(guarded: Server) -> None:
    said = "".join(guarded.lines)
    assert "Whoever calls needs an API key, and there are those of: ann, bob." in said
    assert "anybody" not in said
    ready = guarded.client.get("/readyz")
    assert ready.status_code == 200
    seen = guarded.predict("x", X_API_Key=ANN).json()["result"]
    assert "ZYPHER_" not in seen
    for key in (ANN, BOB):
        assert key not in f"{said} {ready.text} {seen}"


def test_commands_take_the_key_from_the_variable_and_say_what_is_wrong(guarded: Server) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    assert zypher("health", "--url", url).returncode == 0
    without = zypher("ls", "--url", url)
    assert (without.returncode, without.stderr) == (
        1,
        "The server asks for an API key: put yours into the variable ZYPHER_API_KEY. "
        "(unauthorized)\n",
    )
    wrong = zypher("ls", "--url", url, ZYPHER_API_KEY=ANN[:-1])
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("The API key in ZYPHER_API_KEY is none that the server knows.")
    done = zypher("predict", "--async", "x", "--url", url, ZYPHER_API_KEY=f"{ANN}\n")
    assert done.returncode == 0, done.stderr
    id = done.stdout.strip()
    assert "ann" in zypher("show", id, "--url", url, ZYPHER_API_KEY=ANN).stdout
    assert zypher("show", id, "--url", url, ZYPHER_API_KEY=BOB).returncode == 5


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {ANN}"}])
def test_the_client_sends_the_key_that_it_is_given_else_that_of_the_variable(
    guarded: Server, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = guarded.url.replace("0.0.0.0", "127.0.0.1")
    monkeypatch.setenv("ZYPHER_API_KEY", BOB)
    with Client(url, headers=headers, api_key=None if headers else ANN) as ann:
        handle = ann.submit("x")
        assert handle.wait(PATIENCE)
        assert [event.type for event in handle.events()][-1] == "status"
        assert handle.get().owner == "ann"
        assert handle.id in [record.id for record in ann.list()]
    with Client(url) as bob, pytest.raises(NotFound):
        bob.handle(handle.id).get()
    with Client(url, api_key="") as nobody, pytest.raises(Unauthorized):
        nobody.models()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_key_that_no_header_can_carry_is_refused_at_once_and_not_repeated(
    kind: Callable[..., object],
) -> None:
    for key in ("zy_\u00e9", "two words", "a\r\nHost: b"):
        with pytest.raises(ConfigurationError, match="visible ASCII") as caught:
            kind("http://127.0.0.1:1", api_key=key)
        assert key not in str(caught.value)


def test_a_proxy_on_the_way_keeps_its_own_authorization() -> None:
    sent = client_options("http://h", {"X-Other": "1"}, ANN)["headers"]
    assert sent == {"X-Other": "1", "X-API-Key": ANN}


def test_a_key_is_made_for_the_settings_and_not_stored(tmp_path: Path) -> None:
    made = zypher("key", "mobile", cwd=tmp_path)
    key, kept = made.stdout.splitlines()
    assert made.returncode == 0
    assert key.startswith("zy_")
    assert kept.startswith("mobile=sha256:")
    assert key not in made.stderr
    assert not list(tmp_path.iterdir())
    assert zypher("key", "a b").returncode == 2
    assert zypher("check", "--mock-delay", "0", ZYPHER_API_KEYS=kept).returncode == 0


def test_who_sets_the_variable_of_a_caller_for_a_server_is_told_that_it_asks_for_no_key() -> None:
    with Server("--mock-delay", "0", ZYPHER_API_KEY=ANN) as server:
        server.wait_said("This server asks for no API key: ZYPHER_API_KEY is")
        assert ANN not in "".join(server.lines)
        assert server.predict("x").status_code == 200
