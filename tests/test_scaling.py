"""One server without models, and workers that come and go, over one Redis."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Holder, Server, WorkerProcess, holder, target, wait_gone
from tests.redis_servers import Program, RedisServer
from tests.test_cli import zypher


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), program=Program.VALKEY) as server:
        yield server


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


def eventually_ready(server: Server) -> None:
    """Wait until a probe finds the server ready and nothing missing."""
    deadline = time.monotonic() + PATIENCE
    while (answer := server.client.get("/readyz")).status_code != 200 or answer.json()["degraded"]:
        assert time.monotonic() < deadline, answer.text


def test_a_server_without_models_serves_what_workers_run_and_outlives_them(
    redis: RedisServer, held: Holder
) -> None:
    arguments = ("--broker", redis.url, "--lease", "1")
    with Server("--replicas", "0", *arguments) as server:
        assert server.client.get("/readyz").json()["status"] == "starting"
        assert server.predict(1).status_code == 503
        assert not server.replicas()
        with WorkerProcess(target("hold"), *arguments) as first:
            eventually_ready(server)
            assert server.predict("not a port").status_code == 422
            id = server.submit(held.port)
            held.started().close()
            assert server.poll(id, wait=20).status_code == 200
            id = server.submit(held.port)
            lost = held.started()
            replicas = first.replicas()
            first.process.kill()
            wait_gone(replicas)
        with WorkerProcess(target("hold"), *arguments) as second:
            held.started().finish("by another")
            assert server.poll(id, wait=20).json()["output"]["result"] == "by another"
            assert second.stop() == 0
        lost.close()
        assert "No worker serves hold" in server.client.get("/readyz").json()["degraded"][0]
        assert server.stop() == 0
        assert not [line for line in (*server.lines, *second.lines) if "Traceback" in line]


def test_a_stopping_worker_lets_its_runs_finish_and_says_what_it_waits_for(
    redis: RedisServer, held: Holder
) -> None:
    arguments = ("--broker", redis.url)
    with (
        Server("--replicas", "0", *arguments) as server,
        WorkerProcess(target("hold"), *arguments) as worker,
    ):
        eventually_ready(server)
        id = server.submit(held.port)
        run = held.started()
        worker.process.send_signal(signal.SIGTERM)
        while not any(line.startswith("Stopping: ") for line in worker.lines):
            time.sleep(0.01)
        run.finish("in time")
        assert worker.process.wait(PATIENCE) == 0
        assert server.poll(id, wait=20).json()["output"]["result"] == "in time"


def test_check_says_what_a_redis_guarantees(redis: RedisServer, tmp_path: Path) -> None:
    result = zypher("check", "--broker", redis.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "mock: mock loads." in result.stdout
    assert "loses them all when it ends" in result.stdout
    assert zypher("check", "--broker", "sqlite:///a.db", cwd=tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())
