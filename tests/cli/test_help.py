"""`--help` and `--version`: what they say, and what commands do not import."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zypher as package
from tests.cli.commands import zypher
from tests.harness import Server
from zypher import Client
from zypher.cli.address import DEFAULT
from zypher.cli.app import COMMANDS
from zypher.settings import Settings, option

PROJECT = Path(__file__).parents[2] / "pyproject.toml"

_LISTING = (
    "import sys\n"
    "sys.argv[0] = 'zypher'\n"
    "from zypher.__main__ import main\n"
    "try: main()\n"
    "except SystemExit as end: assert not end.code, end.code\n"
    "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    "print(*(name for name in sys.modules if name.startswith('zypher')), file=sys.stderr)\n"
)


def modules(*arguments: str, **environment: str) -> set[str]:
    """The modules that a command leaves imported: those of others by their top level."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTING, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    return set(done.stderr.split())


SERVING = {"fastapi", "starlette", "uvicorn", "uvloop", "pydantic_settings", "zypher.settings"}
CLIENT = {"httpx2", "msgspec", "zypher.client"}


def test_health_imports_next_to_nothing(server: Server) -> None:
    found = modules("health", ZYPHER_URL=server.url)
    assert not found & (SERVING | CLIENT | {"typer", "rich", "pydantic", "asyncio"})


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["init", "--help"]])
def test_help_imports_neither_the_server_nor_the_client(words: list[str]) -> None:
    assert not modules(*words) & (SERVING | CLIENT | {"asyncio"})


def test_help_of_serve_imports_settings_but_no_server() -> None:
    found = modules("serve", "--help")
    assert "zypher.settings" in found
    assert not found & {"fastapi", "starlette", "uvicorn", "uvloop", "zypher.node"}


def test_ls_imports_no_server_and_draws_nothing_for_a_pipe(server: Server) -> None:
    found = modules("ls", ZYPHER_URL=server.url)
    assert "zypher.client" in found
    assert not found & (SERVING | {"rich", "zypher.server", "zypher.brokers"})


def test_the_version_is_that_of_the_project_file_wherever_it_is_told(server: Server) -> None:
    version = tomllib.loads(PROJECT.read_text())["project"]["version"]
    assert zypher("--version").stdout.strip() == version
    assert package.__version__ == version
    assert server.client.get("/openapi.json").json()["info"]["version"] == version


def test_help_lists_every_setting() -> None:
    text = zypher("serve", "--help", COLUMNS="200").stdout
    for name in Settings.model_fields:
        if name not in ("models", "keys"):  # tables
            assert f"--{option(name)}" in text


def test_help_lists_every_command_in_its_group() -> None:
    text = zypher("--help", COLUMNS="200").stdout
    group = ""
    listed = {}
    for line in text.splitlines():
        if line.startswith("╭─"):
            group = line.split()[1]
        elif line.startswith("│ ") and group != "Options":
            name, sentence = line.strip("│ ").split(maxsplit=1)
            listed[name] = (group, sentence)
    assert listed == {name: (each.group, each.sentence) for name, each in COMMANDS.items()}
    assert "Exit codes: 0 done; 1 a mistake" in text


def test_without_arguments_there_is_help() -> None:
    assert zypher().stdout.strip() == zypher("--help").stdout.strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_more_of_itself(name: str) -> None:
    text = zypher(name, "--help", COLUMNS="200").stdout
    assert COMMANDS[name].sentence.rstrip(".") in text
    assert "Exit code" in text or name != "health"


def test_a_command_that_is_mistyped_is_suggested() -> None:
    result = zypher("serv", COLUMNS="200")
    assert result.returncode == 2
    assert "Did you mean 'serve'?" in result.stderr


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("zypher l", "ls"),
        ("zypher show --fo", "--follow"),
        ("zypher serve --sync", "--sync-timeout"),
    ],
)
def test_a_shell_completes_commands_and_their_options(line: str, completed: str) -> None:
    place = str(len(line.split()) - 1)
    result = zypher(_ZYPHER_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place)
    assert result.stdout.split() == [completed]


def test_the_server_is_looked_for_where_the_client_looks() -> None:
    assert Client().url == DEFAULT
