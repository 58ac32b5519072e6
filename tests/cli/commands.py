"""A command that runs to its end, in a process of its own."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tests.harness import PATIENCE, ZYPHER

_FORKER = Path(__file__).with_name("forker.py")


def zypher(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in `cwd` or in an empty directory."""
    # What is for Python itself it reads as it starts.
    run = _started if any(name.startswith("PYTHON") for name in environment) else _forked
    with tempfile.TemporaryDirectory() as empty:
        return run(arguments, str(cwd or empty), os.environ | environment)


def _started(
    arguments: Sequence[str], cwd: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZYPHER, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=cwd,
        env=environment,
        check=False,
    )


def _forked(
    arguments: Sequence[str], cwd: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    with (
        tempfile.TemporaryFile("w+") as asked,
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
    ):
        json.dump([arguments, cwd, environment], asked)
        files = asked, output, errors
        for file in files:
            file.seek(0)
        code = _forker().fork([file.fileno() for file in files])
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


class _Forker:
    """Has commands forked, as `forker.py` says, one at a time."""

    def __init__(self) -> None:
        self._asking, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _FORKER, str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._asking.settimeout(PATIENCE)
        atexit.register(self.kill)

    def fork(self, files: list[int]) -> int:
        """Fork a command and return its exit code; it is the last one if that takes too long."""
        socket.send_fds(self._asking, [b"!"], files)
        try:
            return int(self._asking.recv(100))
        except TimeoutError:
            _forker.cache_clear()
            self.kill()
            raise

    def kill(self) -> None:
        """End it, with the command that runs if there is one."""
        self._asking.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


_forker = cache(_Forker)


def assert_one_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed, and said why in one line."""
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("Loading ")]
    assert len(said) == 1, result.stderr
    for part in parts:
        assert part in said[0]
