"""Starting, stopping and dying: real processes, real signals, nothing left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.harness import (
    ASYNC,
    PATIENCE,
    ZYPHER,
    Holder,
    Server,
    free_port,
    holder,
    target,
    wait_gone,
)


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


# A replica dies.


@pytest.mark.parametrize("model", ["hold", "hold_blocking"])
def test_when_a_replica_is_killed_another_takes_its_work_over_and_the_caller_only_waits(
    held: Holder, model: str
) -> None:
    with Server(target(model), "--replicas", "2") as server:

        async def call() -> httpx2.Response:
            calling = asyncio.create_task(asyncio.to_thread(server.predict, held.port))
            first = await asyncio.to_thread(held.started)
            killed = time.monotonic()
            os.kill(first.pid, signal.SIGKILL)
            second = await asyncio.to_thread(held.started)
            assert time.monotonic() - killed < 1.0
            assert second.pid != first.pid
            second.finish("by another")
            first.close()
            return await calling

        response = asyncio.run(call())
        assert response.status_code == 200
        assert response.json()["result"] == "by another"


def test_a_killed_replica_is_replaced(held: Holder) -> None:
    with Server(target("hold")) as server:
        (before,) = server.replicas()
        before.kill()
        wait_gone([before])
        server.submit(held.port)
        run = held.started()
        assert run.pid != before.pid
        run.finish()


def test_an_input_that_kills_its_process_fails_after_three_times_alone() -> None:
    with Server(target("poison")) as server:
        response = server.predict("poison")
        assert response.status_code == 500
        assert response.json()["code"] == "model_crashed"
        assert "3 times" in response.json()["detail"]
        assert server.predict("water").json()["result"] == "WATER"


@pytest.mark.parametrize("arguments", [[], ["--replicas", "2"]])
@pytest.mark.parametrize("model", ["poison_batch", "echo_poison"])
def test_of_a_hundred_with_a_poison_among_them_ninety_nine_complete(
    model: str, arguments: list[str]
) -> None:
    options = ["--concurrency", "20"] if model == "echo_poison" else []
    with Server(target(model), *options, *arguments) as server:
        values = [f"v{number}" for number in range(100)]
        values[37] = "poison"
        ids = [server.submit(value) for value in values]
        records = [server.poll(id, wait=50).json() for id in ids]
        for value, record in zip(values, records, strict=True):
            if value == "poison":
                assert (record["status"], record["code"]) == ("failed", "model_crashed")
            else:
                assert record["output"]["result"] == value.upper()


def test_a_replica_that_closes_its_connection_is_one_that_died() -> None:
    with Server(target("close_files"), "--max-crashes", "2") as server:
        response = server.predict(3)
        assert response.json()["code"] == "model_crashed"
        assert "was killed by SIGKILL" in response.json()["detail"]


def test_no_prediction_is_lost_while_replicas_are_killed_again_and_again() -> None:
    with Server(target("nap"), "--replicas", "3", "--max-crashes", "100") as server:
        ids: list[str] = []
        for _ in range(8):
            ids += [server.submit(0.05) for _ in range(40)]
            for replica in server.replicas()[:1]:
                replica.kill()
        records = [server.poll(id, wait=40).json() for id in ids]
        assert {record["status"] for record in records} == {"completed"}
        assert not [line for line in server.lines if "Traceback" in line]
        assert server.stop() == 0


def test_the_death_of_a_replica_is_told_in_the_log() -> None:
    with Server(target("poison")) as server:
        response = server.predict("poison")
        id = response.headers["X-Prediction-Id"]
        assert "was killed by SIGKILL" in response.json()["detail"]
        server.stop()
        told = [line for line in server.lines if "was killed by SIGKILL with 1 in flight" in line]
        assert len(told) == 3
        assert all(id in line for line in told)


def test_a_log_that_cannot_be_written_costs_no_prediction() -> None:
    with Server(target("fails")) as server:
        assert server.predict("once").status_code == 500
        assert server.process.stderr is not None
        os.dup2(os.open(os.devnull, os.O_RDONLY), server.process.stderr.fileno())
        for _ in range(3):  # its standard error is a broken pipe now
            assert server.predict("again").json()["code"] == "model_error"


# A parent dies.


@pytest.mark.parametrize("model", ["hold", "hold_blocking"])
def test_no_replica_outlives_a_server_that_is_killed(held: Holder, model: str) -> None:
    with Server(target(model), "--replicas", "3") as server:
        server.submit(held.port)
        run = held.started()
        replicas = server.replicas()
        assert len(replicas) == 3
        server.process.kill()
        wait_gone(replicas)
        run.close()


# A server is asked to stop.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once_with_exit_code_0(number: signal.Signals) -> None:
    with Server("--mock-delay", "0") as server:
        replicas = server.replicas()
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 3.0
        wait_gone(replicas)
        assert not [line for line in server.lines if "Traceback" in line or "ERROR" in line]


def test_a_stopping_server_lets_running_work_finish_and_takes_nothing_new(held: Holder) -> None:
    with Server(target("hold")) as server:

        async def stop_in_the_middle() -> httpx2.Response:
            calling = asyncio.create_task(asyncio.to_thread(server.predict, held.port))
            run = await asyncio.to_thread(held.started)
            server.process.send_signal(signal.SIGTERM)
            while server.client.get("/readyz").status_code != 503:
                pass
            assert server.client.get("/readyz").json()["status"] == "draining"
            assert server.client.get("/livez").status_code == 200
            refused = server.predict(held.port)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            run.finish("in time")
            return await calling

        response = asyncio.run(stop_in_the_middle())
        assert response.json()["result"] == "in time"
        assert server.process.wait(PATIENCE) == 0


def test_running_work_has_no_longer_than_grace_and_its_caller_is_told(held: Holder) -> None:
    with Server(target("hold"), "--grace", "0.3") as server:

        async def stop_in_the_middle() -> httpx2.Response:
            calling = asyncio.create_task(asyncio.to_thread(server.predict, held.port))
            run = await asyncio.to_thread(held.started)
            server.process.send_signal(signal.SIGTERM)
            response = await calling
            run.close()
            return response

        response = asyncio.run(stop_in_the_middle())
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert server.process.wait(PATIENCE) == 0


def test_a_second_signal_right_after_the_first_changes_nothing(held: Holder) -> None:
    with Server(target("hold")) as server:
        id = server.submit(held.port)
        run = held.started()
        server.process.send_signal(signal.SIGINT)
        while server.client.get("/readyz").status_code != 503:
            pass
        server.process.send_signal(signal.SIGINT)
        assert server.poll(id).status_code == 202
        run.finish()
        assert server.process.wait(PATIENCE) == 0


def test_a_second_signal_more_than_a_second_later_ends_at_once(held: Holder) -> None:
    with Server(target("hold")) as server:
        server.submit(held.port)
        run = held.started()
        replicas = server.replicas()
        server.process.send_signal(signal.SIGINT)
        while True:  # until it counts
            try:
                code = server.process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                server.process.send_signal(signal.SIGINT)
        assert code == 128 + signal.SIGINT
        wait_gone(replicas)
        run.close()


def test_a_drain_delay_keeps_serving_while_readiness_sends_callers_elsewhere() -> None:
    with Server(target("echo"), "--drain-delay", "1.5") as server:
        server.process.send_signal(signal.SIGTERM)
        while server.client.get("/readyz").status_code != 503:
            pass
        assert server.predict(1).status_code == 200
        assert server.process.wait(PATIENCE) == 0


def test_ctrl_c_before_the_program_has_loaded_ends_it_without_a_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [ZYPHER, "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    program = psutil.Process(process.pid)
    while not any("pydantic_core" in file.path for file in program.memory_maps()):
        time.sleep(0.01)  # it has not begun to load
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, -signal.SIGINT)
    assert "Traceback" not in errors


def test_ctrl_c_while_a_model_loads_stops_the_start(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [ZYPHER, "serve", "--port", "0", target("SlowSetup")],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    parent = psutil.Process(process.pid)
    while not (replicas := parent.children()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in errors
    wait_gone(replicas)


def test_an_upload_that_ends_after_the_server_closed_is_refused() -> None:
    with Server(target("hold")) as server, holder() as held:
        server.submit(held.port)
        run = held.started()  # it keeps the server from ending
        body = b'{"input": 1}'
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as slow:
            slow.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAsync-Mode: true\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            assert server.client.get("/livez").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            while server.client.get("/readyz").status_code != 503:
                pass
            while server.predict(1).status_code != 503:
                pass
            slow.sendall(body)
            assert slow.recv(4096).startswith(b"HTTP/1.1 503")
        run.finish()
        assert server.process.wait(PATIENCE) == 0


# While it starts.


def test_a_server_answers_at_once_that_it_is_starting_and_refuses_work_until_then(
    tmp_path: Path,
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [ZYPHER, "serve", "--port", str(port), target("SlowSetup")],
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            while True:
                try:
                    response = client.get("/readyz")
                    break
                except httpx2.ConnectError:
                    time.sleep(0.01)
            assert (response.status_code, response.json()["status"]) == (503, "starting")
            assert client.get("/livez").status_code == 200
            while (answer := client.post("/predict", json={"input": 1}, headers=ASYNC)) and (
                answer.status_code == 503
            ):
                assert answer.json()["detail"].startswith("The models are still loading")
                time.sleep(0.01)
            assert answer.status_code == 202  # described: what is submitted waits for setup()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_readiness_waits_for_every_models_code(tmp_path: Path, held: Holder) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import socket\n"
        f"with socket.create_connection(('127.0.0.1', {held.port})) as gate:\n"
        "    gate.sendall(b'0\\n')\n"
        "    gate.makefile().read()\n"
        "def slow(value: int) -> int:\n    return value\n"
    )
    server = Server(target("echo"), f"{slow}:slow", "--port", str(port := free_port()))
    try:
        importing = held.started()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            while client.get("/readyz").json()["replicas"].get("echo", {}).get("ready") != 1:
                time.sleep(0.01)
            assert client.get("/readyz").status_code == 503
            assert client.post("/predict", json={"input": 1}).status_code == 503
            importing.finish()
            server.wait_ready()
            assert client.get("/readyz").status_code == 200
    finally:
        server.kill()


def test_the_first_model_is_the_default_also_if_another_is_ready_before(
    tmp_path: Path, held: Holder
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import socket\n"
        f"with socket.create_connection(('127.0.0.1', {held.port})) as gate:\n"
        "    gate.sendall(b'0\\n')\n"
        "    gate.makefile().read()\n"
        "def slow(value: int) -> int:\n    return value\n"
    )
    server = Server(f"{slow}:slow", target("echo"), "--port", str(port := free_port()))
    try:
        importing = held.started()
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            while client.get("/readyz").json()["replicas"].get("echo", {}).get("ready") != 1:
                time.sleep(0.01)
            importing.finish()
            server.wait_ready()
            models = client.get("/models").json()["models"]
            assert [model["name"] for model in models] == ["slow", "echo"]
    finally:
        server.kill()


def test_predictions_accepted_while_setup_runs_are_run_when_it_is_done(
    tmp_path: Path, held: Holder
) -> None:
    model = tmp_path / "gated.py"
    model.write_text(
        "import socket\n"
        "class Gated:\n"
        "    def setup(self):\n"
        f"        with socket.create_connection(('127.0.0.1', {held.port})) as gate:\n"
        "            gate.sendall(b'0\\n')\n"
        "            gate.makefile().read()\n"
        "    def predict(self, value: int) -> int:\n"
        "        return value + 1\n"
    )
    port = free_port()
    process = subprocess.Popen(
        [ZYPHER, "serve", "--port", str(port), f"{model}:Gated"],
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        setup = held.started()
        url = f"http://127.0.0.1:{port}/predict"
        while (accepted := httpx2.post(url, json={"input": 1}, headers=ASYNC)).status_code == 503:
            time.sleep(0.01)
        setup.finish()
        id = accepted.json()["prediction_id"]
        polled = httpx2.get(f"{url}/{id}", headers={"Prefer": "wait=20"}, timeout=PATIENCE)
        assert polled.json()["output"]["result"] == 2
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_server_goes_on_though_nobody_reads_its_standard_error(tmp_path: Path) -> None:
    port = free_port()
    model = f"m={Path(__file__).parent / 'worker' / 'models.py'}:dies"
    arguments = ["--port", str(port), "--broker", "memory:", "--max-crashes", "1"]
    process = subprocess.Popen(
        [ZYPHER, "serve", model, *arguments], stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert process.stderr is not None
    try:
        while b"Serving" not in process.stderr.readline():
            pass
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            for survives, status in ((True, 200), (False, 500), (False, 500)):
                input = {"words": "x" * 200_000, "survives": survives}
                assert client.post("/predict", json={"input": input}).status_code == status
            assert client.get("/livez").status_code == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
