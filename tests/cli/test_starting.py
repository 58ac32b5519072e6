"""Commands that come while the server still loads its models, or has none."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.commands import zypher
from tests.harness import PATIENCE, ZYPHER, Holder, Server, holder, steady_port, target
from tests.redis_servers import Program, RedisServer


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def test_a_server_that_still_loads_its_models_is_waited_for(tmp_path: Path, held: Holder) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import socket\n"
        f"with socket.create_connection(('127.0.0.1', {held.port})) as gate:\n"
        "    gate.sendall(b'0\\n')\n"
        "    gate.makefile().read()\n"
        "def slow(value: int) -> int:\n    return value\n"
    )
    port = steady_port()
    url = f"http://127.0.0.1:{port}"
    serving = Server(target("echo"), f"{slow}:slow", "--port", str(port))
    try:
        importing = held.started()
        asking = [ask(url, port, *words) for words in (["5"], ["--model", "slow", "6"])]
        importing.finish()
        answers = [process.communicate(timeout=PATIENCE) for process in asking]
        assert answers == [("5\n", ""), ("6\n", "")]
        assert [process.returncode for process in asking] == [0, 0]
    finally:
        serving.kill()


def ask(url: str, port: int, *words: str) -> subprocess.Popen[str]:
    """Begin to predict; returns once the server is asked, or it has ended."""
    process = subprocess.Popen(
        [ZYPHER, "predict", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ZYPHER_URL": url},
    )
    while process.poll() is None:
        connections = psutil.Process(process.pid).net_connections()
        if any(one.raddr and one.raddr.port == port for one in connections):
            break
    return process


def test_a_server_that_no_worker_has_told_of_a_model_cannot_take_it_now(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path, program=Program.VALKEY) as redis,
        Server("--replicas", "0", "--broker", redis.url) as server,
    ):
        result = zypher("predict", "hi", ZYPHER_URL=server.url)
    assert (result.returncode, result.stderr) == (
        4,
        f"The server at {server.url} has no model: no worker has registered one yet. "
        "Start one with `zypher worker`.\n",
    )
