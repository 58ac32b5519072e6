"""The pages of the documentation, and the code in them."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

import httpx2

from tests.harness import Server

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MODELS_PAGE = ROOT / "docs" / "models.md"
PAGES = sorted([README, ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md")])

# Where the pages say that the server is.
ADDRESS = "http://127.0.0.1:8080"


class Block(NamedTuple):
    """A block of code in a page."""

    language: str
    code: str


def name_of(page: Path) -> str:
    """How a page is called in the repository."""
    return str(page.relative_to(ROOT))


def all_blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, textwrap.dedent(code)) for _, language, code in found]


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [block.code for block in all_blocks(page) if block.language == language]


def models(page: Path) -> dict[str, str]:
    """The Python files of a page by name: each begins with its name in a comment."""
    return {block.partition("\n")[0].removeprefix("# "): block for block in blocks(page, "python")}


def write_models(page: Path, directory: Path) -> None:
    """Write the Python files of a page into a directory."""
    for name, code in models(page).items():
        (directory / name).write_text(code)


def curl(server: Server, command: str) -> httpx2.Response:
    """The answer to a curl command, sent to this server. Not every machine has curl."""
    words = shlex.split(command)
    assert words[0] == "curl"
    headers, body, path, method = {}, None, "", None
    rest = iter(words[1:])
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        elif word == "--json":
            body, headers["Content-Type"] = next(rest), "application/json"
        elif word == "-X":
            method = next(rest)
        elif word != "-N":
            path = word.removeprefix(ADDRESS)
    method = method or ("GET" if body is None else "POST")
    return server.client.request(method, path, content=body, headers=headers)


def run_curl(server: Server, command: str) -> str:
    """What a curl command prints."""
    return curl(server, command).text
