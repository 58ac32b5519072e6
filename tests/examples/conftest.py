import ast
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("iris", "language", "filetype")


@dataclass(frozen=True)
class Commands:
    """What an example's docstring tells its reader to type, and the answer that it shows."""

    serve: list[str]
    body: str
    path: str
    answer: str

    @classmethod
    def of(cls, name: str) -> "Commands":
        text = ast.get_docstring(ast.parse((ROOT / "examples" / f"{name}.py").read_text()))
        serve, curl, answer = re.findall(r"^    (.+)$", text or "", re.MULTILINE)
        program, command, *models = shlex.split(serve)
        assert (program, command) == ("./run", "serve")
        program, option, body, url = shlex.split(curl)
        assert (program, option) == ("curl", "--json")
        return cls(models, body, url.removeprefix("http://127.0.0.1:8080"), answer)


@contextmanager
def serving(models: list[str], directory: Path) -> Iterator[httpx2.Client]:
    """A client of a real server of its own, as started there; its queue is elsewhere."""
    queue = tempfile.TemporaryDirectory()
    program = str(Path(sys.executable).with_name("zypher"))
    broker = f"sqlite:///{queue.name}/zypher.db"
    process = subprocess.Popen(
        [program, "serve", *models, "--port", "0", "--broker", broker],
        cwd=directory,
        env={k: v for k, v in os.environ.items() if not k.startswith("ZYPHER_")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    seen = ""
    try:
        for line in process.stderr:
            seen += line
            if found := re.match(r"Serving .* at (http://\S+)", line):
                break
        else:
            pytest.fail(f"The server ended before it was ready:\n{seen}")
        with httpx2.Client(base_url=found[1], timeout=60) as client:
            yield client
    finally:
        process.terminate()
        try:
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()  # where it did not end by itself
            queue.cleanup()
    assert process.returncode == 0, rest


@pytest.fixture(scope="module")
def iris() -> Iterator[httpx2.Client]:
    with serving(Commands.of("iris").serve, ROOT) as client:
        yield client


@pytest.fixture(scope="module")
def language() -> Iterator[httpx2.Client]:
    with serving(Commands.of("language").serve, ROOT) as client:
        yield client


@pytest.fixture(scope="module")
def filetype() -> Iterator[httpx2.Client]:
    with serving(Commands.of("filetype").serve, ROOT) as client:
        yield client


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> tuple[httpx2.Client, Commands]:
    """Each example: a client of its server, and the commands of its docstring."""
    return request.getfixturevalue(request.param), Commands.of(request.param)


@pytest.fixture(scope="module")
def all_three() -> Iterator[httpx2.Client]:
    with serving([], ROOT / "examples") as client:
        yield client
