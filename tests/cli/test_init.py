"""`zypher init`: what it writes can be served, tested and built."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.commands import assert_one_sentence, zypher
from tests.harness import Server
from zypher.settings import Settings

FILES = {"model.py", "test_model.py", "requirements.txt", "Dockerfile", ".dockerignore"}


def test_it_writes_files_to_start_from_and_says_what_is_next(tmp_path: Path) -> None:
    result = zypher("init", "my model", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "my model").iterdir()} == FILES
    _, serve, predict, test = result.stdout.splitlines()
    assert "cd 'my model' && zypher serve model.py:Model" in serve
    assert 'zypher predict "all is good"' in predict
    assert "pytest" in test


def test_without_a_directory_it_is_the_current_one(tmp_path: Path) -> None:
    assert "  zypher serve model.py:Model" in zypher("init", cwd=tmp_path).stdout
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_the_next_steps_are_true(tmp_path: Path) -> None:
    zypher("init", cwd=tmp_path)
    with Server("model.py:Model", cwd=tmp_path) as server:
        result = zypher("predict", "all is good", "--url", server.url)
    assert (result.stdout, result.stderr) == ('{\n  "score": 1.0\n}\n', "")


def test_the_test_that_it_writes_passes_and_can_fail(tmp_path: Path) -> None:
    zypher("init", cwd=tmp_path)
    assert "2 passed" in run_pytest(tmp_path)
    model = tmp_path / "model.py"
    model.write_text(model.read_text().replace('"good": 1.0', '"good": 2.0'))
    assert "2 failed" in run_pytest(tmp_path)


def run_pytest(directory: Path) -> str:
    """The last line of pytest there, as somebody would run it who has none of our plugins."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=directory, env=alone, capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()[-1]


def test_nothing_is_overwritten_unless_by_force(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("mine")
    (tmp_path / "model.py").symlink_to("nowhere")
    result = zypher("init", cwd=tmp_path)
    assert_one_sentence(result, "model.py, Dockerfile", "nothing was written", "--force")
    assert {path.name for path in tmp_path.iterdir()} == {"Dockerfile", "model.py"}
    (tmp_path / "model.py").unlink()
    assert zypher("init", "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "Dockerfile").read_text() != "mine"


def test_where_nothing_can_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_one_sentence(zypher("init", "file/x", cwd=tmp_path), "cannot be written")
    assert_one_sentence(zypher("init", "file", cwd=tmp_path), "cannot be written")
    assert_one_sentence(zypher("init", "/proc/nowhere"), "/proc/nowhere", "cannot be written")


def test_the_image_runs_what_exists_and_nothing_as_root(tmp_path: Path) -> None:
    zypher("init", cwd=tmp_path)
    lines = (tmp_path / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert 'CMD ["zypher", "serve", "model.py:Model"]' in lines
    assert f"EXPOSE {Settings.model_fields['port'].default}" in lines
    assert "ENV ZYPHER_BROKER=sqlite:////data/zypher.db \\" in lines
    assert "    ZYPHER_HOST=0.0.0.0" in lines
    # As its container would start, but for the place of the queue.
    queue = f"sqlite:///{tmp_path}/zypher.db"
    model = Server("model.py:Model", cwd=tmp_path, ZYPHER_BROKER=queue, ZYPHER_HOST="0.0.0.0")
    with model as server:
        assert zypher("health", "--url", server.url.replace("0.0.0.0", "127.0.0.1")).returncode == 0
