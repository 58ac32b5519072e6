"""Who moves in, or tests a model, can do so as the documentation says."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, models, run_curl
from tests.harness import Server

HOW_TOS = ROOT / "docs" / "how-to"


def write_files(page: Path, folder: Path) -> None:
    for name, code in models(page).items():
        (folder / name).write_text(code)


@pytest.mark.parametrize("name", ["from-cog", "from-litserve", "from-celery"])
def test_what_a_model_becomes_is_served_as_shown(tmp_path: Path, name: str) -> None:
    page = HOW_TOS / f"{name}.md"
    write_files(page, tmp_path)
    ((serve, command, shown),) = [block.splitlines() for block in blocks(page, "sh")]
    with Server(*shlex.split(serve)[2:], cwd=tmp_path) as server:
        assert run_curl(server, command) == shown.removeprefix("# ")


def test_a_batch_of_litserve_is_a_batch(tmp_path: Path) -> None:
    write_files(HOW_TOS / "from-litserve.md", tmp_path)
    with Server("batched.py:Squares", cwd=tmp_path) as server:
        assert server.predict(4).json()["result"] == 16


def test_who_called_a_task_has_a_client(tmp_path: Path) -> None:
    page = HOW_TOS / "from-celery.md"
    write_files(page, tmp_path)
    with Server("summarize.py:Summarize", cwd=tmp_path) as server:
        caller = models(page)["caller.py"].replace("http://127.0.0.1:8080", server.url)
        done = subprocess.run(
            [sys.executable, "-c", caller], capture_output=True, text=True, check=True
        )
        id, _, result = done.stdout.strip().partition(" ")
        assert result == "all is well"
        events = server.client.get(f"/predictions/{id}").json()
        assert events["progress"] == {"fraction": 0.5, "text": "read"}


def test_the_tests_of_the_documentation_pass(tmp_path: Path) -> None:
    write_files(ROOT / "docs" / "testing.md", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tmp_path],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "anyio"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
