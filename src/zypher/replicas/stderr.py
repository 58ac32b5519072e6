"""What a replica's process writes: it is passed on to our own standard error, and the end kept."""

import asyncio
import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from zypher.replicas.frames import LAST_LINES, last_lines, sendable
from zypher.stderr import Outlet

_CHUNK = 65_536
_LONGEST = 4_000  # bytes of a line

# How long a reader of our standard error may make a model wait, in seconds.
_PATIENCE = 1.0

# The frames of a fatal error's traceback that lead to the model, and are not of it.
_NOT_USERS = re.compile(
    b'  File "(%b/|%b/|<frozen runpy>)'
    % tuple(
        re.escape(os.fsencode(path))
        for path in (Path(__file__).parents[1], Path(asyncio.__file__).parent)
    )
)


class ErrorOutput:
    """A pipe for a process to write to, and the thread that empties it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe, self._writable = os.pipe()
        self._lock = threading.Lock()
        self._is_open = True
        self._outlet = Outlet(_PATIENCE)
        self._stale = 0  # bytes in the pipe that belong to the past
        self._lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._unfinished = b""
        self._news = select.poll()
        self._news.register(self._pipe, select.POLLIN)
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def starting(self) -> Iterator[int]:
        """The end that a process is started with meanwhile, and whose only one it is then."""
        try:
            yield self._writable
        finally:
            os.close(self._writable)
            threading.Thread(target=self._read_all, name="zypher-stderr", daemon=True).start()

    def begin(self) -> None:
        """Forget what was written so far: it belongs to the past."""
        if not (self._lines or self._unfinished or self._lock.locked() or self._news.poll(0)):
            return  # as nearly always; and this is on the way of every run
        with self._lock:
            self._lines.clear()
            self._unfinished = b""
            self._stale = _waiting_bytes(self._pipe) if self._is_open else 0

    @property
    def last_lines(self) -> list[str]:
        """The last lines that were written since `begin`."""
        with self._lock:
            lines = [*self._lines, self._unfinished] if self._unfinished else [*self._lines]
        return last_lines([sendable(os.fsdecode(line)) for line in lines])

    def _read_all(self) -> None:
        while data := self._read():
            self._outlet.write(data)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it
            self._loop.call_soon_threadsafe(self.ended.set)

    def _read(self) -> bytes:
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        readable.poll()
        with self._lock:
            data = os.read(self._pipe, _CHUNK)
            self._keep(data)
            if not data:
                self._is_open = False
                os.close(self._pipe)
        return data

    def _keep(self, data: bytes) -> None:
        fresh = data[self._stale :]
        self._stale = max(0, self._stale - len(data))
        *lines, unfinished = (self._unfinished + fresh).split(b"\n")
        self._lines += [line[:_LONGEST] for line in lines if not _NOT_USERS.match(line)]
        self._unfinished = unfinished[:_LONGEST]


def _waiting_bytes(pipe: int) -> int:
    answer = fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])
