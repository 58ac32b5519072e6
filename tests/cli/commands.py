"""A command that runs to its end, in a process of its own."""

import atexit
import json
import os
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
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        asking = _forker()
        message = json.dumps([arguments, cwd, environment]).encode()
        socket.send_fds(asking, [message], [output.fileno(), errors.fileno()])
        code = int(asking.recv(100))
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


@cache
def _forker() -> socket.socket:
    """Where one asks for commands: `forker.py` says how."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-P", _FORKER, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
        )
    ours.settimeout(PATIENCE)

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


def assert_one_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed, and said why in one line."""
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("Loading ")]
    assert len(said) == 1, result.stderr
    for part in parts:
        assert part in said[0]
