"""`zypher health`: one line, and an exit code that a container can rely on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.commands import assert_one_sentence, zypher
from tests.harness import PATIENCE, Server, free_port


@pytest.fixture(scope="module")
def mock() -> Iterator[Server]:
    with Server("--mock-delay", "0") as server:
        yield server


def test_a_server_that_is_ready_is_healthy(mock: Server) -> None:
    result = zypher("health", "--url", mock.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"The server at {mock.url} is ready: 0 queued, 0 processing.\n"


def test_the_address_comes_from_the_environment(mock: Server) -> None:
    assert mock.url in zypher("health", ZYPHER_URL=mock.url).stdout
    assert zypher("health", ZYPHER_URL=f"{mock.url}/").returncode == 0
    assert "http://127.0.0.1:8080" in zypher("health", "--help", COLUMNS="200").stdout


@pytest.mark.parametrize("variable", ["PORT", "ZYPHER_PORT"])
def test_a_server_of_this_machine_is_found_at_the_port_that_the_environment_gives_it(
    mock: Server, variable: str
) -> None:
    port = mock.url.rpartition(":")[2]
    ports = {"PORT": "1", "ZYPHER_PORT": "tcp://10.0.0.1:80"} | {variable: port}
    assert mock.url in zypher("health", **ports).stdout  # type: ignore[arg-type]
    assert mock.url in zypher("health", ZYPHER_URL=mock.url, PORT="1", ZYPHER_PORT="1").stdout


def test_the_other_commands_look_for_it_at_the_same_place(mock: Server) -> None:
    port = mock.url.rpartition(":")[2]
    assert zypher("predict", "hi", PORT=port).returncode == 0


def test_liveness_is_asked_for_by_itself(mock: Server) -> None:
    result = zypher("health", "--live", "--url", mock.url)
    assert result.stdout == f"The server at {mock.url} is alive.\n"


def test_a_server_that_leaves_is_alive_but_not_ready() -> None:
    with Server("--drain-delay", "60", "--mock-delay", "0") as server:
        server.process.terminate()
        _wait_until_it_leaves(server)
        result = zypher("health", "--url", server.url)
        assert_one_sentence(result, f"The server at {server.url} is not ready: draining.")
        assert zypher("health", "--live", "--url", server.url).returncode == 0


def _wait_until_it_leaves(server: Server) -> None:
    while server.client.get("/readyz").status_code == 200:
        pass


def test_a_degraded_server_is_healthy_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "zypher.db").write_bytes(b"SQLite format 3\0" + b"damaged " * 1000)
    with Server(cwd=tmp_path) as server:
        result = zypher("health", "--url", server.url)
        assert result.returncode == 0
        assert "is ready: 0 queued, 0 processing. Degraded: " in result.stdout
        assert result.stdout.count("\n") == 1


def test_no_server_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert_one_sentence(zypher("health", "--url", url), url, "Connection refused")
    assert_one_sentence(zypher("health", "--url", "http://no.such.host.invalid"), "No server")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:port", "nonsense"]
)
def test_what_is_no_address_is_one_sentence(url: str) -> None:
    assert_one_sentence(zypher("health", "--url", url), url, "no address", "http://127.0.0.1:8080")


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = zypher("health", "--url", url, "--timeout", "0.2")
        assert_one_sentence(result, url, "not answered within 0.2 s")


@pytest.mark.parametrize("body", [b"<html>\x1b[2J", b"[]", b"\xff", b'{"status": "ready"}'])
def test_what_answers_but_is_no_zypher_is_one_sentence(body: bytes) -> None:
    with another_server(body) as url:
        assert_one_sentence(zypher("health", "--url", url), url, "is no Zypher server")


def test_what_a_server_says_cannot_command_the_terminal() -> None:
    with another_server(b'{"status": "\\u001b[2J\\nstarting", "degraded": []}', 503) as url:
        result = zypher("health", "--url", url)
        assert_one_sentence(result, r"is not ready: \u001b[2J starting.")


def test_wrong_usage_is_told_from_ill_health() -> None:
    assert zypher("health", "--nonsense").returncode == 2
    assert zypher("health", "--timeout", "nan").returncode == 2


@contextmanager
def another_server(body: bytes, status: int = 200) -> Iterator[str]:
    """A server of another make, which always answers the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join(PATIENCE)
