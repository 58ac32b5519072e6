"""The page about the client is true: its code runs as it is, and prints what it says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from tests.docs.pages import MODELS_PAGE, ROOT, blocks, models
from tests.harness import Server
from zypher import AsyncClient, Client
from zypher.client import AsyncHandle, Handle, Options

PAGE = ROOT / "docs" / "client.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What the page says to serve."""
    directory = tmp_path_factory.mktemp("models")
    for page in (ROOT / "README.md", MODELS_PAGE):
        for name, code in models(page).items():
            (directory / name).write_text(code)
    (command,) = blocks(PAGE, "sh")
    with Server(*command.split()[2:], cwd=directory) as server:
        yield server


@pytest.mark.parametrize("code", blocks(PAGE, "python"))
def test_the_code_prints_what_it_says(code: str, server: Server, tmp_path: Path) -> None:
    assert "http://127.0.0.1:8080" in code
    program = tmp_path / "program.py"
    program.write_text(code.replace("http://127.0.0.1:8080", server.url))
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == shown(code)


def shown(code: str) -> list[str]:
    """What a block says that it prints: beside each print, or at its end."""
    return re.findall(r"(?:^|print\(.*\)  )# (.*)$", code, re.MULTILINE)


@pytest.mark.parametrize(("blocking", "other"), [(Client, AsyncClient), (Handle, AsyncHandle)])
def test_the_page_names_all_that_both_clients_have(blocking: type, other: type) -> None:
    ours = {name for name in vars(blocking) if not name.startswith("_")}
    assert ours == {name for name in vars(other) if not name.startswith("_")}
    page = PAGE.read_text()
    for name in ours - {"close"}:
        assert re.search(rf"\n\| `{name}\b", page)
    for name in get_type_hints(Options):
        assert f"`{name}`" in page
