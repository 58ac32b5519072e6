"""docs/cli.md is whole and true: every command and option, every exit code, every block."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperOption

from tests.cli.commands import zypher
from tests.docs.pages import MODELS_PAGE, ROOT, blocks, models
from tests.harness import PATIENCE, ZYPHER, Server
from zypher.cli.app import COMMANDS, load
from zypher.cli.endings import MEANINGS
from zypher.settings import Settings

PAGE = ROOT / "docs" / "cli.md"
TEXT = PAGE.read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which `zypher init sentiment` was run, as the page says."""
    directory = tmp_path_factory.mktemp("page")
    init, enter, _ = blocks(PAGE, "sh")[0].splitlines()
    assert zypher(*init.split()[1:], cwd=directory).returncode == 0
    return directory / enter.removeprefix("cd ")


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    for name, code in models(MODELS_PAGE).items():
        (place / name).write_text(code)
    (place / "word.txt").write_text("word")
    serve = blocks(PAGE, "sh")[0].splitlines()[2].split()
    with Server(*serve[2:], "area.py:area", "letters.py:letters", cwd=place) as serving:
        yield serving


@pytest.mark.parametrize("block", blocks(PAGE, "sh")[1:])
def test_the_commands_print_what_the_page_shows(block: str, server: Server, place: Path) -> None:
    lines = block.splitlines()
    shown = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    path = f"{ZYPHER.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", block],
        cwd=place,
        env=os.environ | {"ZYPHER_URL": server.url, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == shown


def options() -> Iterator[tuple[str, str]]:
    """Every command with each of its options but those that are settings."""
    settings = {name.replace("_", "-") for name in Settings.model_fields}
    for name, command in COMMANDS.items():
        if command.module is None:
            yield from ((name, option) for option in ("--url", "--live", "--timeout"))
            continue
        for parameter in load(command.module, name).params:
            for option in parameter.opts if isinstance(parameter, TyperOption) else ():
                if command.module != "serving" or option.removeprefix("--") not in settings:
                    yield name, option


@pytest.mark.parametrize(("name", "option"), [*options()])
def test_every_option_is_in_the_section_of_its_command(name: str, option: str) -> None:
    rest = TEXT[TEXT.index(f"`zypher {name}", TEXT.index("## Predict")) + 1 :]
    others = [f"\n`zypher {other}" for other in COMMANDS if other != name]
    section = rest[: min((rest.index(other) for other in others if other in rest), default=None)]
    assert f"`{option}" in section


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_on_the_page(name: str) -> None:
    assert f"`zypher {name}" in TEXT


def test_every_exit_code_is_on_the_page_as_in_the_help() -> None:
    for code, meaning in MEANINGS.items():
        assert f"| {code.value} | {meaning} |" in TEXT
