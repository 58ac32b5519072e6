"""What a replica's process writes: it becomes events of our log, and the end is kept."""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import select
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from zypher import logs
from zypher.replicas.frames import LAST_LINES, last_lines, sendable
from zypher.replicas.lines import BEGINNING, Line, parse
from zypher.stderr import Outlet

log = logging.getLogger(logs.MODEL_LOGGER)

_CHUNK = 65_536
_LONGEST = 131_072  # bytes of a line
_LINE_END = re.compile(rb"[\r\n]")

# So many lines a second are passed on. More than that would cost the requests of others.
MOST_LINES = 1_000

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

_LEVELS = logging.getLevelNamesMapping()


class ErrorOutput:
    """A pipe for a process of this model to write to, and the thread that empties it."""

    def __init__(self, model: str) -> None:
        self.pid = 0  # of the process
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._pipe, self._writable = os.pipe()
        self._lock = threading.Lock()
        self._is_open = True
        self._stale = 0  # bytes, from the unfinished line on, that belong to the past
        self._lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._unfinished = b""
        self._news = select.poll()
        self._news.register(self._pipe, select.POLLIN)
        self._teller = _Teller(self)
        self.ended = asyncio.Event()

    @property
    def source(self) -> dict[str, Any]:
        """Who writes here."""
        return {"is_of_model": True, "model": self._model, "replica": self.pid}

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
            waiting = _waiting_bytes(self._pipe) if self._is_open else 0
            self._stale = len(self._unfinished) + waiting

    @property
    def last_lines(self) -> list[str]:
        """The last lines that were written since `begin`."""
        with self._lock:
            written = [*self._lines, self._unfinished[self._stale :]]
        texts = [line.text for part in written for line in parse(part)]
        return last_lines([sendable(line) for text in texts for line in text.splitlines()])

    def _read_all(self) -> None:
        while (lines := self._read()) is not None:
            try:
                self._teller.tell(lines)
            except Exception:  # of a host's handlers, say: a pipe that is full would stop the model
                log.exception("lines of %s are lost", self._model)
        self._teller.tell([self._unfinished] if self._unfinished else [])
        self._teller.tell_dropped()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it
            self._loop.call_soon_threadsafe(self.ended.set)

    def _read(self) -> list[bytes] | None:
        """The lines that are complete now; None at the end."""
        readable = select.poll()
        readable.register(self._pipe, select.POLLIN)
        if not readable.poll(self._teller.patience):
            return []
        with self._lock:
            data = os.read(self._pipe, _CHUNK)
            if not data:
                self._is_open = False
                os.close(self._pipe)
                return None
            return self._keep(data)

    def _keep(self, data: bytes) -> list[bytes]:
        *lines, unfinished = _LINE_END.split(self._unfinished + data)
        # Of a flood only the end can be among the last lines.
        first = 0 if self._stale or BEGINNING in data else -2 * LAST_LINES
        for line in lines[first:]:
            stale = min(self._stale, len(line) + 1)
            self._stale -= stale
            if line.endswith(BEGINNING):
                self._lines.clear()
            elif stale <= len(line) and not _NOT_USERS.match(line):
                self._lines.append(line[stale:])
        dropped = max(0, len(unfinished) - _LONGEST)
        self._unfinished = unfinished[:_LONGEST]
        self._stale = max(min(self._stale, _LONGEST), self._stale - dropped)
        return [line.removesuffix(BEGINNING) for line in lines if line != BEGINNING]


class _Teller:
    """Makes events of lines, up to so many a second."""

    def __init__(self, output: ErrorOutput) -> None:
        self._output = output
        self._outlet = Outlet(_PATIENCE)
        self._second = 0.0
        self._told = 0
        self._dropped = 0

    @property
    def patience(self) -> float | None:
        """Milliseconds until something is to be told though nothing is written."""
        return 1_000.0 if self._dropped else None

    def tell(self, lines: Sequence[bytes]) -> None:
        """Tell these lines, or as many as the second has room for."""
        now = time.monotonic()
        if now - self._second >= 1.0:
            self.tell_dropped()
            self._second, self._told = now, 0
        room = MOST_LINES - self._told
        self._dropped += max(0, len(lines) - room)
        self._told += min(room, len(lines))
        for written in lines[:room]:
            for line in parse(written):
                self._tell(line)

    def tell_dropped(self) -> None:
        """Tell how many lines were not."""
        if self._dropped:
            text = f"{self._dropped} lines were dropped: more than {MOST_LINES} came in a second."
            self._dropped = 0
            self._tell(Line(text, "WARNING"))

    def _tell(self, line: Line) -> None:
        level = _LEVELS.get(line.level, logging.INFO)
        if log.isEnabledFor(level) and log.hasHandlers():
            log.handle(self._record(line, level))
        elif not logs.is_configured():
            # A host that wants no such events still wants to see what a model prints.
            self._outlet.write(f"{line.text}\n".encode(errors="backslashreplace"))

    def _record(self, line: Line, level: int) -> logging.LogRecord:
        fields = msgspec.structs.asdict(line)
        text, name = fields.pop("text"), fields.pop("logger") or log.name
        own = {"name": name, "msg": text, "levelno": level, "levelname": fields.pop("level")}
        return logging.makeLogRecord(fields | self._output.source | own)


def _waiting_bytes(pipe: int) -> int:
    answer = fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])
