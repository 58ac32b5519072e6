"""A disk that is small enough to be filled, without root (Linux).

    with small_disk(megabytes=8) as disk, Server(prefix=disk.prefix) as server:
        disk.fill()

It is a tmpfs in a mount namespace of its own, which `prefix` enters.
"""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Root of a namespace of one's own may mount there. The namespace lives as long as `cat`, and
# that as long as its input: it does not outlive the tests, however they end.
_HOLD = 'mount -t tmpfs -o size="$1" zypher "$0" && echo mounted && exec cat'
# Entering a namespace leaves the working directory.
_ENTER = 'exec nsenter --target "$0" --user --mount --preserve-credentials env -C "$PWD" "$@"'
_BLOCK = bytes(64 * 1024)


@dataclass(frozen=True)
class Disk:
    """A file system of its own, which only processes started with `prefix` see at `path`."""

    path: Path
    holder: int  # the process that holds its namespace

    @property
    def prefix(self) -> list[str]:
        """What goes before a command; before the prefix of a `Supervisor`, if both are used."""
        return ["sh", "-c", _ENTER, str(self.holder)]

    @property
    def outside(self) -> Path:
        """The same directory, for everybody else."""
        return Path(f"/proc/{self.holder}/root{self.path}")

    def fill(self) -> None:
        """Use up all room that is left."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(_BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Give back the room that `fill` has used up."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.outside / "ballast"


@contextmanager
def small_disk(megabytes: int) -> Iterator[Disk]:
    """A real, empty disk of this size; where the kernel does not allow it, the test is skipped.

    What is on it stays while servers on it come and go, and is gone at the end.
    """
    with TemporaryDirectory() as directory, _holder(directory, megabytes) as holder:
        yield Disk(Path(directory), holder.pid)


@contextmanager
def _holder(directory: str, megabytes: int) -> Iterator[subprocess.Popen[str]]:
    if sys.platform != "linux":
        pytest.skip("A small disk can be mounted without root on Linux only.")
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    command += ["sh", "-c", _HOLD, directory, f"{megabytes}m"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:
        assert holder.stdout
        assert holder.stderr
        if not holder.stdout.readline():
            pytest.skip(f"A small disk cannot be mounted here: {holder.stderr.read().strip()}")
        yield holder
