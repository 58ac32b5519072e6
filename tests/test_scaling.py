"""One server without models, and workers that come and go, over one Redis."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.cli.commands import assert_one_sentence, zypher
from tests.harness import (
    PATIENCE,
    Holder,
    Server,
    WorkerProcess,
    eventually_ready,
    gather_posts,
    holder,
    target,
    wait_gone,
)
from tests.redis_servers import Program, RedisServer
from tests.scrapes import value


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), program=Program.VALKEY) as server:
        yield server


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


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


def version(folder: Path, source: str) -> str:
    """One version of the model `speak`, in a folder of its own."""
    folder.mkdir()
    (folder / "speaker.py").write_text(source)
    return f"speak={folder / 'speaker.py'}:speak"


def test_a_stopping_server_sees_those_through_who_wait_for_what_others_run(
    redis: RedisServer, held: Holder
) -> None:
    arguments = ("--broker", redis.url, "--lease", "1")
    with (
        WorkerProcess(target("hold"), *arguments, "--replicas", "2"),
        Server("--replicas", "0", "--grace", "1.5", *arguments) as server,
        ThreadPoolExecutor() as threads,
    ):
        eventually_ready(server)
        calls = [threads.submit(server.predict, held.port)]
        runs = [held.started()]
        calls.append(threads.submit(server.predict, held.port))
        runs.append(held.started())
        polling = threads.submit(server.poll, server.submit(held.port), wait=20)
        server.process.send_signal(signal.SIGTERM)
        while server.client.get("/readyz").status_code != 503:
            pass
        runs[0].finish("in time")
        assert calls[0].result(PATIENCE).json()["result"] == "in time"
        late = calls[1].result(PATIENCE)
        assert late.status_code == 202
        assert late.json()["message"].startswith("The server is shutting down.")
        assert polling.result(PATIENCE).status_code == 202
        assert server.process.wait(PATIENCE) == 0
        with Server("--replicas", "0", *arguments) as next_one:
            runs[1].finish("later")
            held.started().finish()
            done = next_one.poll(late.headers["X-Prediction-Id"], wait=20)
            assert done.json()["output"]["result"] == "later"


def test_during_an_update_every_input_is_run_by_a_worker_that_takes_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    older = version(tmp_path / "older", "def speak(text: str) -> str:\n    return text\n")
    newer = version(
        tmp_path / "newer",
        "def speak(text: str, times: int = 1) -> str:\n    return text * times\n",
    )
    arguments = ("--broker", redis.url)
    with Server("--replicas", "0", *arguments) as server:

        def speak(value: object) -> str:
            return server.submit(value, model="speak")

        def taken() -> str:
            schema = server.client.get("/models/speak").json()["input_schema"]
            return str(schema["type"])

        def attempts(id: str) -> int:
            return int(server.client.get(f"/predictions/{id}").json()["attempt"])

        with WorkerProcess(older, *arguments) as first:
            assert first.stop() == 0
        old_ids = [speak(f"old {n}") for n in range(20)]
        with WorkerProcess(newer, *arguments):
            while taken() != "object" or not all(map(attempts, old_ids)):
                time.sleep(0.05)
            with WorkerProcess(older, *arguments):
                inputs: list[object] = [{"text": f"new {n};", "times": 2} for n in range(20)]
                new_ids = [speak(value) for value in inputs[:10]]
                path = "/models/speak/predict"
                answers = asyncio.run(gather_posts(server.url, inputs[10:], path=path))
                polled = [server.poll(id, wait=25).json() for id in (*old_ids, *new_ids)]
                results = [body["output"]["result"] for body in polled]
                results += [answer.json()["result"] for answer in answers]
                assert results[:20] == [f"old {n}" for n in range(20)]
                assert results[20:] == [f"new {n};new {n};" for n in range(20)]
                assert max(map(attempts, old_ids)) > 1
                assert taken() == "object"
                assert server.predict({"text": 1}, model="speak").status_code == 422
                assert server.predict("as before", model="speak").status_code == 422


def test_check_says_what_a_redis_guarantees(redis: RedisServer, tmp_path: Path) -> None:
    result = zypher("check", "--broker", redis.url, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "mock: mock loads." in result.stdout
    assert "loses them all when it ends" in result.stdout
    assert zypher("check", "--broker", "sqlite:///a.db", cwd=tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_worker_tells_of_itself_at_its_metrics_port(redis: RedisServer, held: Holder) -> None:
    arguments = ("--broker", redis.url)
    with (
        Server("--replicas", "0", *arguments) as server,
        WorkerProcess(target("hold"), *arguments, "--metrics-port", "0") as worker,
    ):
        eventually_ready(server)
        (said,) = (line for line in worker.lines if line.startswith("Metrics at "))
        url = said.split()[-1].removesuffix("/metrics")
        assert zypher("health", "--url", url).stdout == f"The server at {url} is ready.\n"
        id = server.submit(held.port)
        held.started().finish()
        assert server.poll(id, wait=20).status_code == 200
        ended = {"model": "hold", "mode": "async", "status": "completed"}
        with httpx2.Client(base_url=url) as client:
            texts = [nothing_queued(one) for one in (client, server.client)]
            assert [value(t, "zypher_predictions_total", **ended) for t in texts] == [1, None]
            assert value(texts[0], "zypher_run_seconds_count", model="hold") == 1
            server.submit(held.port)
            run = held.started()
            worker.process.send_signal(signal.SIGTERM)
            worker.wait_said("Stopping: ")
            while (answer := client.get("/readyz")).status_code == 200:
                pass
            assert answer.json() == {"status": "draining", "node": "worker"}
            assert client.get("/livez").status_code == 200
        run.finish()
        assert worker.process.wait(PATIENCE) == 0


def test_a_metrics_port_that_is_taken_gets_one_clear_sentence(redis: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = zypher("worker", "--broker", redis.url, "--metrics-port", port)
    assert_one_sentence(result, f"port {port}", "--metrics-port")


def nothing_queued(client: httpx2.Client) -> str:
    """The metrics that say so: of a queue that is elsewhere they tell what was a moment ago."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        text = client.get("/metrics").text
        if value(text, "zypher_queue_depth", model="hold", state="queued") == 0:
            return text
    raise AssertionError(text)
