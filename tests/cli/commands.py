"""A command that runs to its end, as a child process."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.harness import PATIENCE, ZYPHER


def zypher(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in `cwd` or in an empty directory."""
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [ZYPHER, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=cwd or empty,
            env=os.environ | environment,
            check=False,
        )


def assert_one_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed, and said why in one line."""
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("Loading ")]
    assert len(said) == 1, result.stderr
    for part in parts:
        assert part in said[0]
