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
    """Our standard error, for those who wait up to `patience` seconds until it takes something."""

    _writing = threading.Lock()

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._is_taken = True  # by who reads it

    def write(self, data: bytes) -> None:
        """Write what is taken; the rest is lost."""
        for start in range(0, len(data), select.PIPE_BUF):
            chunk = data[start : start + select.PIPE_BUF]
            deadline = time.monotonic() + (self._patience if self._is_taken else 0.0)
            with contextlib.suppress(OSError):
                self._is_taken = self._has_taken(chunk)
                while not self._is_taken and (left := deadline - time.monotonic()) > 0:
                    select.select([], [_STDERR], [], left)
                    self._is_taken = self._has_taken(chunk)

    def _has_taken(self, chunk: bytes) -> bool:
        # What says that it has room takes so much at once, unless another is quicker.
        with self._writing:
            has_room = bool(select.select([], [_STDERR], [], 0)[1])
            return has_room and os.write(_STDERR, chunk) > 0


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
        return os.isatty(_STDERR)


def patient_stderr() -> TextIO:
    """A `sys.stderr` for a server: it goes on though nobody reads what it writes."""
    return io.TextIOWrapper(
        io.BufferedWriter(_RawErrors()), errors="backslashreplace", line_buffering=True
    )
