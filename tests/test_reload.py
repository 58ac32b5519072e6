"""`--reload`: what is saved is served, and what cannot be loaded changes nothing."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Server, eventually_ready, holder

FUNCTION = "def model(value: int) -> str:\n    return {!r}\n"
SWAPPED = "model runs the new code."
FAILED = "ERROR zypher.replicas: model: "


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a model."""
    file = tmp_path / "model.py"
    file.write_text(FUNCTION.format("old"))
    return file


def reloading(file: Path, *arguments: str) -> Server:
    return Server("model.py:model", "--reload", *arguments, cwd=file.parent)


def write(file: Path, text: str) -> None:
    file.write_text(text)


def rename(file: Path, text: str) -> None:
    """As many editors do it."""
    other = file.with_suffix(".tmp")
    other.write_text(text)
    other.rename(file)


def write_in_steps(file: Path, text: str) -> None:
    """As an editor with a slow disk does it."""
    with file.open("w") as stream:
        for part in (text[:10], text[10:]):
            time.sleep(0.05)
            stream.write(part)
            stream.flush()


def result(server: Server, value: object = 1) -> object:
    response = server.predict(value)
    assert response.status_code == 200, response.text
    return response.json()["result"]


def degraded(server: Server) -> str:
    response = server.client.get("/readyz")
    assert response.status_code == 200
    return " ".join(response.json()["degraded"])


@pytest.mark.parametrize("save", [write, rename, write_in_steps])
def test_the_next_prediction_runs_what_was_saved(
    file: Path, save: Callable[[Path, str], None]
) -> None:
    with reloading(file) as server:
        (replica,) = server.replicas()
        assert result(server) == "old"
        for number, text in enumerate(("new", "two", "six"), start=1):  # of one length
            save(file, FUNCTION.format(text))
            server.wait_said(SWAPPED, times=number)
            assert result(server) == text
        assert replica.pid not in [replica.pid for replica in server.replicas()]
        assert "model.py changed: loading model ..." in "".join(server.lines)
        assert not [line for line in server.lines if "ERROR" in line or "WARNING" in line]


def test_a_module_that_the_model_imports_is_watched_too(file: Path) -> None:
    helper = file.with_name("helper.py")
    helper.write_text("word = 'old'\n")
    lazy = file.with_name("lazy.py")
    lazy.write_text("word = 'lazy'\n")
    file.write_text(
        "import helper\n"
        "class Model:\n"
        "    def setup(self):\n        import lazy\n        self.lazy = lazy.word\n"
        "    def predict(self, value: int) -> str:\n        return helper.word + self.lazy\n"
    )
    with Server("model.py:Model", "--reload", cwd=file.parent) as server:
        assert result(server) == "oldlazy"
        helper.write_text("word = 'new'\n")
        server.wait_said("helper.py changed")
        server.wait_said(SWAPPED)
        assert result(server) == "newlazy"
        lazy.write_text("word = 'eager'\n")
        server.wait_said("lazy.py changed")
        server.wait_said(SWAPPED, times=2)
        assert result(server) == "neweager"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def model(value: int) ->\n", "SyntaxError"),
        ("import nothing\n", "which is not installed"),
        ("def other(value: int) -> int: ...\n", "has no 'model'"),
        (
            "class model:\n    def setup(self):\n        raise ValueError('no weights')\n"
            "    def predict(self, value: int) -> int: ...\n",
            "raise ValueError('no weights')",
        ),
    ],
)
def test_code_that_cannot_be_loaded_changes_nothing_until_it_is_right(
    file: Path, text: str, said: str
) -> None:
    with reloading(file, "--replicas", "2") as server:
        eventually_ready(server)
        replicas = server.replicas()
        file.write_text(text)
        server.wait_said("It is loaded again when it is saved.")
        assert said in "".join(server.lines)
        assert "model goes on with its old code." in "".join(server.lines)
        assert "zypher/" not in "".join(line for line in server.lines if "  File " in line)
        assert result(server) == "old"
        assert "model runs its old code, because the new could not be loaded" in degraded(server)
        assert server.replicas() == replicas
        file.write_text(FUNCTION.format("right"))
        server.wait_said(SWAPPED)
        assert result(server) == "right"
        assert degraded(server) == ""
        assert sum(FAILED in line for line in server.lines) == 1


def test_a_helper_that_cannot_be_imported_is_watched_until_it_can(file: Path) -> None:
    helper = file.with_name("helper.py")
    with reloading(file) as server:
        file.write_text("import helper\ndef model(value: int) -> str:\n    return helper.word\n")
        server.wait_said(FAILED)  # there is none
        helper.write_text("word = \n")
        server.wait_said(FAILED, times=2)
        helper.write_text("word = 'helped'\n")
        server.wait_said(SWAPPED)
        assert result(server) == "helped"


def test_a_model_that_does_not_load_at_the_start_is_waited_for(file: Path) -> None:
    file.write_text("def model(value: int) -> str:\n    return 'old\n")
    server = reloading(file)
    try:
        server.wait_said(FAILED)
        assert "SyntaxError" in "".join(server.lines)
        file.write_text(
            "class model:\n    def setup(self):\n        raise ValueError\n"
            "    def predict(self, value: int) -> str: ...\n"
        )
        server.wait_said(FAILED, times=2)
        file.write_text("def model(value: str) -> str:\n    return value.upper()\n")
        with server:
            assert result(server, "loaded") == "LOADED"
            assert server.predict(1).status_code == 422
            assert server.stop() == 0
    finally:
        server.kill()


def test_a_server_that_waits_for_a_save_stops_as_any_other(file: Path) -> None:
    file.write_text("nonsense\n")
    server = reloading(file)
    try:
        server.wait_said(FAILED)
        assert server.stop() == 0
        assert sum(FAILED in line for line in server.lines) == 1
    finally:
        server.kill()


def test_a_new_signature_is_the_doors_with_the_new_code(file: Path) -> None:
    with reloading(file) as server:
        assert server.predict("text").status_code == 422
        file.write_text(
            'def model(text: str) -> str:\n    """Shouts."""\n    return text.upper()\n'
        )
        server.wait_said(SWAPPED)
        assert result(server, "text") == "TEXT"
        assert server.predict(1).status_code == 422
        (model,) = server.client.get("/models").json()["models"]
        assert (model["input_schema"], model["description"]) == ({"type": "string"}, "Shouts.")
        assert "Shouts." in server.client.get("/openapi.json").text
        file.write_text(FUNCTION.format("back"))  # an old signature comes back
        server.wait_said(SWAPPED, times=2)
        assert result(server, 1) == "back"


def test_who_waits_and_what_is_queued_stays_and_a_run_finishes_in_the_old_code(
    tmp_path: Path,
) -> None:
    held = (
        "import os, socket\n"
        "def model(port: int) -> str:\n"
        "    with socket.create_connection(('127.0.0.1', port)) as connection:\n"
        "        connection.sendall(str(os.getpid()).encode() + b'\\n')\n"
        "        return {!r} + connection.makefile().read()\n"
    )
    file = tmp_path / "model.py"
    file.write_text(held.format("old "))
    with reloading(file) as server, holder() as holding, ThreadPoolExecutor() as threads:
        waiting = threads.submit(server.predict, holding.port)
        run = holding.started()
        queued = server.submit(holding.port)
        file.write_text(held.format("new "))
        next_run = holding.started()  # beside the one that still runs
        assert next_run.pid != run.pid
        next_run.finish("code")
        server.wait_said(SWAPPED)
        assert server.poll(queued, wait=20).json()["output"]["result"] == "new code"
        assert not waiting.done()
        assert run.pid in [replica.pid for replica in server.replicas()]
        run.finish("code")
        assert waiting.result(PATIENCE).json()["result"] == "old code"
        deadline = time.monotonic() + PATIENCE
        while len(server.replicas()) > 1:
            assert time.monotonic() < deadline, "the old replica has not ended"
        assert not [line for line in server.lines if "ERROR" in line or "WARNING" in line]


def test_without_reload_a_save_changes_nothing(file: Path) -> None:
    with Server("model.py:model", cwd=file.parent) as server:
        file.write_text(FUNCTION.format("new"))
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            assert result(server) == "old"


def test_reload_is_a_flag_without_a_value_and_a_variable(file: Path) -> None:
    with (
        Server("--reload", "model.py:model", cwd=file.parent),
        Server("model.py:model", "--broker", "memory:", cwd=file.parent, ZYPHER_RELOAD="1") as one,
    ):
        file.write_text(FUNCTION.format("new"))
        one.wait_said(SWAPPED)


def test_an_application_of_ones_own_reloads_as_well(file: Path) -> None:
    script = (
        "import logging, os, time, zypher\n"
        "from fastapi.testclient import TestClient\n"
        "logging.basicConfig()\n"
        "with TestClient(zypher.create_app(), base_url='http://localhost') as client:\n"
        "    ask = lambda: client.post('/predict', json={'input': 1}).json().get('result')\n"
        "    while ask() != 'old': time.sleep(0.05)\n"
        f"    open('model.py', 'w').write({FUNCTION.format('new')!r})\n"
        "    while ask() != 'new': time.sleep(0.05)\n"
    )
    (file.parent / "zypher.toml").write_text(
        'reload = true\nbroker = "memory:"\n[models.model]\ntarget = "model.py:model"\n'
    )
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=file.parent, check=True, timeout=PATIENCE)
