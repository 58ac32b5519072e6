"""A person who works through a page of the documentation, from its first block to its last."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ADDRESS, all_blocks, curl
from tests.harness import PATIENCE, Server, steady_port

# How a page has a server killed; on a machine that runs other tests it must hit this one alone.
KILL = 'pkill -9 -f "serve reviews.py"'

# Ways to say `zypher serve`, and what sets up a machine: that is tried by whoever runs the tests.
SERVE = re.compile(r"(zypher|(\./|~/zypher/)run) serve\b")
SET_UP = ("git clone ", "python3 -m venv ", ".venv/bin/")


class Step(NamedTuple):
    """A command, and the output that a page shows below it."""

    command: str
    shown: str


def steps(code: str) -> Iterator[Step]:
    """The commands of a block; lines that begin with `#` are what the one above them prints."""
    lines: list[str] = []
    for is_shown, group in groupby(code.splitlines(), lambda line: line.startswith("#")):
        if not is_shown:
            yield from (Step(command, "") for command in lines)
            lines = [line for line in group if line]
            continue
        *before, last = lines
        yield from (Step(command, "") for command in before)
        yield Step(last, "\n".join(line.removeprefix("#").removeprefix(" ") for line in group))
        lines = []
    yield from (Step(command, "") for command in lines)


def fits(text: str, shown: str) -> bool:
    """True if the text is what is shown, where `...` stands for anything; or nothing is shown."""
    if not shown:
        return True
    pattern = ".*".join(map(re.escape, shown.strip().split("...")))
    return re.fullmatch(pattern, text.strip(), re.DOTALL) is not None


def shows(text: str, shown: str) -> bool:
    """True if the text begins as shown; or, if that is JSON, has the members that are shown."""
    if not shown.startswith("{"):
        return text.startswith(shown)
    answer = json.loads(text)
    if shown.endswith(": ...}"):
        return set(json.loads(shown.replace("...", "0"))) <= set(answer)
    members = json.loads(shown.replace(", ...", ""))
    return all(answer.get(name) == value for name, value in members.items())


class Person:
    """Writes the files of a page into a directory, starts its servers and runs its commands."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = str(steady_port())
        self._servers = ExitStack()
        self._server: Server | None = None
        self._id = ""
        self._variables: dict[str, str] = {}

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def follow(self, page: Path) -> None:
        """Do all that the page says, in its order, and look whether it is as shown."""
        for block in all_blocks(page):
            if block.language in ("python", "toml", "env"):
                self._write(block.code)
            elif block.language == "sh":
                for step in steps(block.code):
                    self._do(step)

    def _write(self, code: str) -> None:
        name = code.partition("\n")[0].removeprefix("# ").partition(",")[0]
        (self._directory / name).write_text(self._here(code))

    def _do(self, step: Step) -> None:
        if step.command.startswith(SET_UP):
            return
        if SERVE.match(step.command):
            self.serve(*shlex.split(step.command, comments=True)[2:])
        elif step.command == KILL:
            assert self._server is not None
            self._server.process.send_signal(signal.SIGKILL)
            self._server.process.wait(PATIENCE)
        elif step.command.startswith("curl"):
            self._ask(step)
        else:
            printed = self.run(step.command)
            assert fits(printed, step.shown), f"{step.command}\n{printed}"

    def serve(self, *arguments: str) -> None:
        """Start a server, in place of the one before."""
        if self._server is not None and self._server.process.poll() is None:
            self._server.stop()
        # A mock is quick if the page does not say how slow it is to be.
        place = ("--port", self._port)
        server = Server(*place, *arguments, cwd=self._directory, ZYPHER_MOCK_DELAY="0.1")
        self._server = self._servers.enter_context(server)

    def _ask(self, step: Step) -> None:
        """Send what a curl command sends, and compare the answer.

        Shown is its body; or, after the status, a part of it. `PREDICTION_ID` is that of the last
        answer of which it is shown, or nothing at all.
        """
        assert self._server is not None
        response = curl(self._server, step.command.replace("PREDICTION_ID", self._id))
        if not step.shown or '"PREDICTION_ID"' in step.shown:
            self._id = response.headers.get("X-Prediction-Id", self._id)
        report = f"{step.command}\n{response.status_code} {response.text}"
        status, _, part = step.shown.partition(" ")
        if not re.fullmatch(r"\d{3}", status):
            assert fits(response.text, step.shown), report
            return
        assert response.status_code == int(status), report
        assert shows(response.text, part.replace("PREDICTION_ID", self._id)), report

    def run(self, command: str) -> str:
        """What a command prints. An assignment to a variable holds for the commands after it."""
        name, is_assignment, _ = command.partition("=$(")
        script = f"{command}; echo ${name}" if is_assignment else command
        done = subprocess.run(
            ["sh", "-c", self._here(script)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self._directory,
            env=self._environment(),
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if is_assignment:
            self._variables[name] = done.stdout.strip()
            return ""
        return done.stdout

    def _environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent
        url = {"ZYPHER_URL": self._here(ADDRESS)}
        path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        return os.environ | path | url | self._variables

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, f"http://127.0.0.1:{self._port}")
