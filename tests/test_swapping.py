"""SIGHUP: new code takes over, and nobody notices but by its answers."""

import os
import pty
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.harness import (
    ASYNC,
    PATIENCE,
    ZYPHER,
    Holder,
    Process,
    Server,
    WorkerProcess,
    eventually_ready,
    free_port,
    holder,
    target,
    wait_gone,
)
from tests.redis_servers import Program, RedisServer

AGAIN = "Loading model again ..."
SWAPPED = "model runs the new code."

# Notes every run and every process that has loaded it, and says which version it is.
NOTING = """
import os, time, zypher
VERSION = {version}
def note(file, text):
    with open(file, "a") as notes:
        notes.write(text + "\\n")
class Model:
    def setup(self):
        with open("setups") as setups:
            alive = [pid for pid in setups.read().split() if os.path.exists("/proc/" + pid)]
        note("together", str(len(alive)))
        note("setups", str(os.getpid()))
    def predict(self, value: int) -> int:
        current = zypher.current()
        note("runs", current.id)
        time.sleep(0.01)
        return VERSION
"""

ASYNC_NOTING = NOTING.replace("def predict", "async def predict").replace(
    "time.sleep", "import asyncio; await asyncio.sleep"
)

BATCHED = """
import os, time, zypher
VERSION = {version}
class Model:
    @zypher.batch(max_size=8, max_wait=0.02)
    def predict(self, values: list[int]) -> list[int]:
        time.sleep(0.01)
        return [VERSION] * len(values)
"""

GENERATOR = """
import time, zypher
class Model:
    def predict(self, value: int) -> zypher.JoinedText:
        for digit in str({version}):
            time.sleep(0.01)
            yield digit
"""

# Waits in setup() until the test lets it go on, or fails.
GATED = """
import os, socket
class Model:
    def setup(self):
        with socket.create_connection(("127.0.0.1", {port})) as gate:
            gate.sendall(str(os.getpid()).encode() + b"\\n")
            self.answer = gate.makefile().read()
        if self.answer == "fail":
            raise RuntimeError("no such weights")
    def predict(self, value: int) -> str:
        return self.answer
"""

PLAIN = "class Model:\n    def predict(self, value: int) -> str:\n        return {!r}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a model."""
    file = tmp_path / "model.py"
    file.write_text(PLAIN.format("old"))
    (tmp_path / "setups").touch()
    return file


@pytest.fixture
def gate() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


@contextmanager
def serving(file: Path, *arguments: str) -> Iterator[Server]:
    """A server whose replicas are all ready."""
    with Server("model.py:Model", *arguments, cwd=file.parent) as server:
        eventually_ready(server)
        yield server


def swap(process: Process) -> None:
    process.process.send_signal(signal.SIGHUP)


def swapped(process: Process, times: int = 1) -> None:
    """Swap, and wait until that has happened so many times in all."""
    swap(process)
    process.wait_said(SWAPPED, times)


def result(server: Server) -> object:
    response = server.predict(1)
    assert response.status_code == 200, response.text
    return response.json()["result"]


def processes_end(server: Server, left: int) -> None:
    """Wait until so many replica processes are left."""
    deadline = time.monotonic() + PATIENCE
    while len(server.replicas()) != left:
        assert time.monotonic() < deadline, server.replicas()
        time.sleep(0.01)


class Load:
    """Clients that call without a pause, and keep all that they are answered."""

    def __init__(self, server: Server) -> None:
        self.answers: list[httpx2.Response] = []
        self.ids: list[str] = []
        self._server = server
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor() as threads:
            calls = [threads.submit(self._call) for _ in range(3)]
            calls.append(threads.submit(self._submit))
            try:
                yield
            finally:
                self._stopping.set()
            for call in calls:
                call.result(PATIENCE)

    def _call(self) -> None:
        with httpx2.Client(base_url=self._server.url, timeout=PATIENCE) as client:
            while not self._stopping.is_set():
                self.answers.append(client.post("/predict", json={"input": 1}))

    def _submit(self) -> None:
        with httpx2.Client(base_url=self._server.url, timeout=PATIENCE) as client:
            while not self._stopping.wait(0.01):
                answer = client.post("/predict", json={"input": 1}, headers=ASYNC)
                assert answer.status_code == 202, answer.text
                self.ids.append(answer.json()["prediction_id"])

    def results(self) -> list[str]:
        """The results of all that was asked for, each of which has to be there."""
        assert {answer.status_code for answer in self.answers} == {200}
        polled = [self._server.poll(id, wait=20).json() for id in self.ids]
        assert {record["status"] for record in polled} == {"completed"}
        outputs = [answer.json() for answer in self.answers]
        outputs += [record["output"] for record in polled]
        return [str(output["result"]) for output in outputs]


@pytest.mark.parametrize(
    ("code", "swap_mode"),
    [
        (NOTING, "overlap"),
        (NOTING, "replace"),
        (ASYNC_NOTING, "overlap"),
        (BATCHED, "replace"),
        (GENERATOR, "overlap"),
    ],
)
def test_under_load_three_swaps_cost_no_request_no_result_and_no_second_run(
    file: Path, code: str, swap_mode: str
) -> None:
    file.write_text(code.format(version=10))
    with serving(file, "--replicas", "2", "--swap", swap_mode) as server:
        load = Load(server)
        with load.running():
            for number in range(1, 4):
                file.write_text(code.format(version=10 + number))
                swapped(server, times=number)
                answered = len(load.answers)
                while len(load.answers) < answered + 10:
                    time.sleep(0.01)
        results = Counter(load.results())
        assert set(results) == {str(10 + number) for number in range(4)}
        if code in (NOTING, ASYNC_NOTING):
            runs = (file.parent / "runs").read_text().splitlines()
            assert len(set(runs)) == len(runs) == results.total()
        (stats,) = server.client.get("/stats").json()["models"].values()
        assert (stats["crashes"], stats["failed"], stats["completed"]) == (0, 0, results.total())
        processes_end(server, left=2)
        assert server.stop() == 0
        assert not [line for line in server.lines if "ERROR" in line or "WARNING" in line]


def test_what_was_saved_after_the_first_of_two_signals_is_served_after_the_second(
    file: Path, gate: Holder
) -> None:
    with serving(file, "--replicas", "2") as server:
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        first = gate.started()
        file.write_text(PLAIN.format("newest"))
        swap(server)
        server.wait_said(AGAIN, times=2)
        server.wait_said(SWAPPED)
        assert {result(server) for _ in range(20)} == {"newest"}
        wait_gone([psutil.Process(first.pid)] if psutil.pid_exists(first.pid) else [])
        first.close()
        processes_end(server, left=2)


def test_a_file_of_the_same_length_and_second_is_not_taken_for_unchanged(file: Path) -> None:
    with Server("model.py:Model", cwd=file.parent, PYTHONDONTWRITEBYTECODE="") as server:
        second = time.time() + 60  # so that all of this is in time
        for number, text in enumerate(("new", "two", "six"), start=1):
            file.write_text(PLAIN.format(text))
            os.utime(file, (second, second))
            swapped(server, times=number)
            assert result(server) == text


def test_ten_signals_at_once_are_as_good_as_one(file: Path) -> None:
    with serving(file) as server:
        file.write_text(PLAIN.format("new"))
        for _ in range(10):
            swap(server)
        server.wait_said(SWAPPED)
        assert result(server) == "new"
        processes_end(server, left=1)


def test_one_place_after_the_other_is_swapped_and_all_others_serve(
    file: Path, gate: Holder
) -> None:
    for mode, ready in (("overlap", 3), ("replace", 2)):
        file.write_text(PLAIN.format("old"))
        with serving(file, "--replicas", "3", "--swap", mode) as server:
            file.write_text(GATED.format(port=gate.port))
            swap(server)
            for _ in range(3):
                setup = gate.started()
                deadline = time.monotonic() + PATIENCE
                while server.client.get("/readyz").json()["replicas"]["model"]["ready"] != ready:
                    assert time.monotonic() < deadline
                assert result(server) in ("old", "new")
                setup.finish("new")
            server.wait_said(SWAPPED)
            assert {result(server) for _ in range(20)} == {"new"}


@pytest.mark.parametrize(("mode", "most"), [("replace", "0"), ("overlap", "1")])
def test_with_replace_no_two_processes_have_loaded_the_model_at_once(
    file: Path, mode: str, most: str
) -> None:
    file.write_text(NOTING.format(version=1))
    with serving(file, "--swap", mode) as server:
        for number in range(1, 4):
            swapped(server, times=number)
            assert result(server) == 1
    together = (file.parent / "together").read_text().split()
    assert len(together) == 4
    assert set(together[1:]) == {most}


def test_with_replace_the_old_one_finishes_what_it_runs_before_the_new_one_is_set_up(
    file: Path, gate: Holder
) -> None:
    file.write_text(
        "import os, socket\n"
        "class Model:\n"
        "    def predict(self, port: int) -> str:\n"
        "        with socket.create_connection(('127.0.0.1', port)) as connection:\n"
        "            connection.sendall(str(os.getpid()).encode() + b'\\n')\n"
        "            return connection.makefile().read()\n"
    )
    with serving(file, "--swap", "replace") as server, holder() as runs:
        running = server.submit(runs.port)
        run = runs.started()
        waiting = server.submit(1)
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        server.wait_said(AGAIN)
        while server.client.get("/readyz").json()["replicas"]["model"]["ready"]:
            time.sleep(0.01)  # the new code is imported, and waits
        assert len(server.replicas()) == 2
        run.finish("old")
        setup = gate.started()
        assert [replica.pid for replica in server.replicas()] == [setup.pid]
        assert server.poll(running).json()["output"]["result"] == "old"
        setup.finish("new")
        assert server.poll(waiting, wait=20).json()["output"]["result"] == "new"


def test_with_replace_code_that_cannot_be_imported_leaves_the_old_one_alone(file: Path) -> None:
    with serving(file, "--swap", "replace", "--replicas", "2") as server:
        replicas = server.replicas()
        file.write_text("nonsense\n")
        swap(server)
        server.wait_said("model goes on with its old code.")
        assert result(server) == "old"
        assert "model runs its old code" in server.client.get("/readyz").text
        assert server.replicas() == replicas


def test_with_replace_a_setup_that_fails_is_tried_again_and_takes_one_place_only(
    file: Path, gate: Holder
) -> None:
    with serving(file, "--swap", "replace", "--replicas", "2") as server:
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        for _ in range(3):
            gate.started().finish("fail")
            assert result(server) == "old"
        server.wait_said("RuntimeError: no such weights", times=3)
        (complaint,) = server.client.get("/readyz").json()["degraded"]
        assert complaint.startswith("1 of 2 replicas of model are ready: setup() of")
        gate.started().finish("new")
        gate.started().finish("new")
        server.wait_said(SWAPPED)
        assert {result(server) for _ in range(20)} == {"new"}
        assert server.client.get("/readyz").json()["degraded"] == []


def test_a_setup_that_fails_leaves_the_old_one_at_work_until_the_next_signal(
    file: Path, gate: Holder
) -> None:
    with serving(file, "--replicas", "2") as server:
        replicas = server.replicas()
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        gate.started().finish("fail")
        server.wait_said("model goes on with its old code.")
        assert server.replicas() == replicas
        assert result(server) == "old"
        swap(server)
        for _ in range(2):
            gate.started().finish("new")
        server.wait_said(SWAPPED)
        assert result(server) == "new"


@pytest.mark.parametrize(("mode", "replicas"), [("overlap", 1), ("replace", 2)])
def test_a_new_replica_that_is_killed_while_it_sets_up_is_started_again_and_others_serve(
    file: Path, gate: Holder, mode: str, replicas: int
) -> None:
    with serving(file, "--swap", mode, "--replicas", str(replicas)) as server:
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        for _ in range(3):
            setup = gate.started()
            psutil.Process(setup.pid).kill()
            assert result(server) == "old"
            setup.close()
        for _ in range(replicas):
            gate.started().finish("new")
        server.wait_said(SWAPPED)
        assert result(server) == "new"


def test_an_old_replica_that_is_killed_during_a_swap_is_replaced_by_new_code(
    file: Path, gate: Holder
) -> None:
    with serving(file, "--replicas", "2") as server:
        old = server.replicas()
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        setups = [gate.started()]
        for replica in old:
            replica.kill()
        setups.append(gate.started())  # at once, though it is not its turn
        for setup in setups:
            setup.finish("new")
        server.wait_said(SWAPPED)
        assert {result(server) for _ in range(20)} == {"new"}
        processes_end(server, left=2)


def test_a_server_stops_in_the_middle_of_a_swap_as_at_any_time(file: Path, gate: Holder) -> None:
    with serving(file, "--replicas", "2") as server:
        file.write_text(GATED.format(port=gate.port))
        swap(server)
        setup = gate.started()
        replicas = server.replicas()
        assert len(replicas) == 3
        assert server.stop() == 0
        wait_gone(replicas)
        setup.close()
        assert not [line for line in server.lines if "ERROR" in line or "Traceback" in line]


def test_a_signal_while_a_server_starts_has_it_load_the_code_as_it_is_then(
    file: Path, gate: Holder
) -> None:
    file.write_text(GATED.format(port=gate.port))
    server = Server("model.py:Model", cwd=file.parent)
    try:
        setup = gate.started()
        file.write_text(PLAIN.format("new"))
        swap(server)
        with server:
            assert result(server) == "new"
            processes_end(server, left=1)
        setup.close()
    finally:
        server.kill()


def test_a_signal_before_a_server_can_heed_it_does_no_harm(file: Path) -> None:
    server = Server("model.py:Model", cwd=file.parent)
    try:
        program = psutil.Process(server.process.pid)
        while not any("pydantic_core" in file.path for file in program.memory_maps()):
            time.sleep(0.01)  # it has not begun to load
        while not server.lines:
            swap(server)
            time.sleep(0.01)
        with server:
            assert result(server) == "old"
    finally:
        server.kill()


@pytest.mark.parametrize(("command", "stops"), [([], True), (["nohup"], False)])
def test_a_terminal_that_is_closed_stops_what_was_started_there(
    file: Path, command: list[str], stops: bool
) -> None:
    port = str(free_port())
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(file.parent)
        os.execvp("env", ["env", *command, str(ZYPHER), "serve", "--port", port, "model.py:Model"])
    program = psutil.Process(pid)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            while not answers(client):
                time.sleep(0.05)
            os.close(terminal)
            if stops:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                assert not answers(client)
            else:
                program.send_signal(signal.SIGHUP)
                file.write_text(PLAIN.format("new"))
                while client.post("/predict", json={"input": 1}).json()["result"] != "new":
                    program.send_signal(signal.SIGHUP)
                    time.sleep(1)
    finally:
        if not stops:
            program.terminate()
            os.waitpid(pid, 0)


def answers(client: httpx2.Client) -> bool:
    """Whether there is a server that is ready."""
    with suppress(httpx2.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def test_a_signal_while_a_server_stops_does_no_harm(gate: Holder) -> None:
    with Server(target("hold")) as server, ThreadPoolExecutor() as threads:
        calling = threads.submit(server.predict, gate.port)
        run = gate.started()
        server.process.send_signal(signal.SIGTERM)
        while server.client.get("/readyz").status_code != 503:
            pass
        swap(server)
        run.finish("done")
        assert calling.result(PATIENCE).json()["result"] == "done"
        while server.process.poll() is None:
            swap(server)
        assert server.process.wait() == 0


def test_a_thousand_runs_in_flight_finish_in_the_old_code(file: Path) -> None:
    code = (
        "import asyncio, os\nasync def model(waits: bool) -> str:\n"
        "    while waits and not os.path.exists('go'):\n        await asyncio.sleep(0.5)\n"
        "    return {!r}\n"
    )
    file.write_text(code.format("old"))
    with Server("model.py:model", cwd=file.parent) as server:
        ids = [server.submit(True) for _ in range(1000)]
        while server.client.get("/readyz").json()["jobs"]["processing"] < 1000:
            time.sleep(0.01)
        file.write_text(code.format("new"))
        swapped(server)
        assert server.predict(False).json()["result"] == "new"
        (file.parent / "go").touch()
        results = Counter(server.poll(id, wait=20).json()["output"]["result"] for id in ids)
        assert results == {"old": 1000}
        attempts = attempts_of_all(server)
        assert {attempts[id] for id in ids} == {1}
        processes_end(server, left=1)


def attempts_of_all(server: Server) -> dict[str, int]:
    """How often each prediction has been begun."""
    attempts: dict[str, int] = {}
    query: dict[str, str] = {"limit": "200"}
    while True:
        page = server.client.get("/predictions", params=query).json()
        attempts |= {record["prediction_id"]: record["attempt"] for record in page["predictions"]}
        if page["cursor"] is None:
            return attempts
        query["cursor"] = page["cursor"]


def test_the_mock_is_swapped_as_any_model(tmp_path: Path) -> None:
    with Server("--mock-delay", "1") as server:
        ids = [server.submit("hi") for _ in range(20)]
        (old,) = server.replicas()
        swap(server)
        server.wait_said("mock runs the new code.")
        assert {server.poll(id, wait=20).json()["status"] for id in ids} == {"completed"}
        processes_end(server, left=1)
        assert server.replicas() != [old]


def test_what_the_old_signature_admitted_and_the_new_code_takes_is_run(file: Path) -> None:
    with serving(file) as server:
        file.write_text(PLAIN.format("new").replace("value: int", "value: int | str"))
        ids = [server.submit(1) for _ in range(50)]
        swapped(server)
        assert server.predict("text").json()["result"] == "new"
        results = {server.poll(id, wait=20).json()["output"]["result"] for id in ids}
        assert results <= {"old", "new"}


def test_between_two_places_what_the_new_signature_admits_is_not_refused_by_the_old_code(
    file: Path, gate: Holder
) -> None:
    with serving(file, "--replicas", "2") as server, ThreadPoolExecutor() as threads:
        file.write_text(GATED.format(port=gate.port).replace("value: int", "text: str"))
        swap(server)
        gate.started().finish("new")
        held = gate.started()  # the other place still runs the old code
        while server.predict("text").status_code == 422:
            pass
        calls = [threads.submit(server.predict, "text") for _ in range(20)]
        assert {call.result(PATIENCE).json()["result"] for call in calls} == {"new"}
        held.finish("new")
        server.wait_said(SWAPPED)


# A worker and a server over one Redis.


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), program=Program.VALKEY) as server:
        yield server


def test_a_worker_that_is_swapped_is_noticed_by_its_servers_within_seconds(
    file: Path, redis: RedisServer
) -> None:
    broker = ("--broker", redis.url)
    with (
        WorkerProcess("model.py:Model", "--replicas", "2", *broker, cwd=file.parent) as worker,
        Server("--replicas", "0", *broker) as server,
    ):
        assert result(server) == "old"
        load = Load(server)
        with load.running():
            for number in range(1, 4):
                file.write_text(PLAIN.format(f"new {number}"))
                swapped(worker, times=number)
        assert set(load.results()) >= {"old"}
        assert result(server) == "new 3"
        file.write_text(PLAIN.format("changed").replace("value: int", "text: str"))
        swapped(worker, times=4)
        told = time.monotonic()
        while server.predict("text").status_code == 422:
            assert time.monotonic() - told < 3
        assert server.predict("text").json()["result"] == "changed"
        assert server.predict(1).status_code == 422
        (stats,) = server.client.get("/stats").json()["models"].values()
        assert (stats["crashes"], stats["failed"]) == (0, 0)
        swap(server)  # it has nothing to swap
        assert server.stop() == 0
        assert worker.stop() == 0


def test_a_worker_reloads_what_is_saved(file: Path, redis: RedisServer) -> None:
    redis.call("FLUSHALL")
    broker = ("--broker", redis.url)
    with (
        WorkerProcess("model.py:Model", "--reload", *broker, cwd=file.parent) as worker,
        Server("--replicas", "0", *broker) as server,
    ):
        file.write_text(PLAIN.format("new"))
        worker.wait_said(SWAPPED)
        assert result(server) == "new"
