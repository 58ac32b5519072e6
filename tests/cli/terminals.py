"""A command on a terminal of its own: a pseudo-terminal, whose other end is the test."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
from typing import Self

from tests.harness import PATIENCE, ZYPHER


class Terminal:
    """A command on a terminal: what it shows is `text`, and keys can be pressed."""

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        url: str = "",
        term: str = "xterm",
        no_color: str = "",
    ) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._screen, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        inherited = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
        self._process = subprocess.Popen(
            [ZYPHER, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self._directory.name,
            env=inherited | {"TERM": term, "NO_COLOR": no_color, "ZYPHER_URL": url},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._seen = b""
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._is_open:
            os.close(self._screen)
        self._directory.cleanup()

    @property
    def text(self) -> str:
        """All that it was sent so far."""
        return self._seen.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines that a person sees: without colours, moves and what was overwritten."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)
        return [line.rpartition("\r")[2] for line in plain.replace("\r\n", "\n").splitlines()]

    def wait_for(self, text: str) -> None:
        """Wait until this is shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert self._read(deadline), f"{text!r} was never shown:\n{self.text}"

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._screen, keys.encode())

    def close(self) -> int:
        """Close the window, and return the exit code."""
        os.close(self._screen)
        self._is_open = False
        return self._process.wait(PATIENCE)

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        """See more; False once there is no more."""
        if not select.select([self._screen], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"it did not end:\n{self.text}")
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self._seen += data
        return bool(data)


CTRL_C = "\x03"
