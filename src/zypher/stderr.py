"""Our own standard error, which must never make us wait for who reads it."""

import contextlib
import io
import os
import select
import threading
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_STDERR = 2

# How long a reader of it may make the event loop wait, in seconds. What it does not take is lost.
_PATIENCE = 0.05


class Outlet:
    """Our standard error, for those who wait up to `patience` seconds until it takes something.

    What is written at once stays together; of what is not taken in time the rest is lost, and what
    comes next begins on a line of its own.
    """

    _writing = threading.Lock()
    _is_torn = False

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._is_taken = True  # by who reads it

    def write(self, data: bytes) -> None:
        """Write what is taken; the rest is lost."""
        patience = self._patience if self._is_taken else 0.0
        deadline = time.monotonic() + patience
        if not self._writing.acquire(timeout=patience):
            return  # another is in the middle of a line that nobody reads
        try:
            if Outlet._is_torn:
                data = b"\n" + data
            for start in range(0, len(data), select.PIPE_BUF):
                self._is_taken = self._has_taken(data[start : start + select.PIPE_BUF], deadline)
                if not self._is_taken:
                    Outlet._is_torn = Outlet._is_torn or start > 0
                    break
                Outlet._is_torn = False
                deadline = time.monotonic() + self._patience
        finally:
            self._writing.release()

    def _has_taken(self, chunk: bytes, deadline: float) -> bool:
        """Write this once there is room. What says that it has room takes so much at once."""
        with contextlib.suppress(OSError):
            while True:
                left = max(0.0, deadline - time.monotonic())
                if select.select([], [_STDERR], [], left)[1] and os.write(_STDERR, chunk) > 0:
                    return True
                if not left:
                    break
        return False


class _RawErrors(io.RawIOBase):
    """Our standard error, as a file that never blocks for long."""

    def __init__(self) -> None:
        self._outlet = Outlet(_PATIENCE)

    def write(self, data: "Buffer", /) -> int:
        self._outlet.write(bytes(data))
        return len(bytes(data))

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return is_terminal()


def is_terminal() -> bool:
    """True if a person may read it at once."""
    return os.isatty(_STDERR)


def patient_stderr() -> TextIO:
    """A `sys.stderr` for a server: it goes on though nobody reads what it writes."""
    return io.TextIOWrapper(
        io.BufferedWriter(_RawErrors()), errors="backslashreplace", line_buffering=True
    )
