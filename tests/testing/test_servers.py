"""A real server for a test."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

import zypher.testing
from tests.testing import sentiment as models


def test_a_server_serves_models_for_the_time_of_a_block() -> None:
    with zypher.testing.serving(models.Sentiment, f"size={models.__file__}:Lengths") as client:
        assert client.predict("all is fine") == {"score": 0.5}
        url = client.url
        answer = httpx2.post(f"{url}/models/size/predict", json={"input": "four"})
        assert answer.json()["result"] == 4
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_settings_are_those_of_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zypher.testing.serving(mock_delay="0", broker="sqlite:///own.db") as client:
        assert float(client.predict("hi")) > 0
        assert (tmp_path / "own.db").exists()


def test_what_runs_at_the_end_of_a_block_is_not_waited_for() -> None:
    with zypher.testing.serving(mock_delay="3600") as client:
        httpx2.post(f"{client.url}/predict", json={"input": 1}, headers={"Async-Mode": "true"})


def test_nothing_is_left_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zypher.testing.serving(mock_delay="0"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        (models.Broken, {}, "LookupError: no weights"),
        ("nowhere.py:Model", {}, "There is no file nowhere.py"),
        ("mock", {"mock_delay": "-1"}, "mock-delay"),
        ("mock", {"colour": "red"}, "--colour"),
    ],
)
def test_a_server_that_does_not_come_up_is_told_with_its_log(
    model: str, settings: dict[str, str], said: str
) -> None:
    with (
        pytest.raises(RuntimeError, match="did not come up") as caught,
        zypher.testing.serving(model, **settings),
    ):
        pass
    assert said in "".join(caught.value.__notes__)


def test_what_fails_within_a_block_is_told_with_the_servers_log() -> None:
    with (
        pytest.raises(ZeroDivisionError) as caught,
        zypher.testing.serving(mock_delay="0"),
    ):
        1 / 0  # noqa: B018
    assert "Serving mock at" in "".join(caught.value.__notes__)


def test_a_server_that_does_not_end_as_it_should_is_told() -> None:
    with (
        pytest.raises(RuntimeError, match=r"ended with the exit code -9(?s:.*)Serving mock"),
        zypher.testing.serving(mock_delay="0") as client,
    ):
        kill_what_serves(client)


def kill_what_serves(client: zypher.Client) -> None:
    port = urlsplit(client.url).port
    for child in psutil.Process().children():
        if any(connection.laddr.port == port for connection in child.net_connections()):
            child.kill()


def test_a_model_that_no_server_can_import_is_refused_at_once() -> None:
    def local(text: str) -> str:
        return text

    with (
        pytest.raises(ValueError, match="define it at the top of a module"),
        zypher.testing.serving(local),
    ):
        pass


def test_a_plain_install_is_enough() -> None:
    script = (
        "import sys, zypher.testing\n"
        "assert not {'pytest', 'hypothesis', 'psutil'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
