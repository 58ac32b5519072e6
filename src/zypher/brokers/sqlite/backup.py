"""Copying a queue while a server uses it.

The server alone may read its file, so it makes the copy, and is asked for it over a socket beside
the file: who may use that socket is who may read the file.
"""

import asyncio
import logging
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from zypher.brokers.sqlite.files import InUse, Lock
from zypher.brokers.sqlite.store import copy_database, looking_into
from zypher.errors import ConfigurationError, ZypherError

log = logging.getLogger("zypher.broker")

Backup = Callable[[Path], Awaitable[None]]

_DONE = "done"


class BackupService:
    """Takes requests for backups of one queue, until it is closed."""

    def __init__(self, path: Path, backup: Backup) -> None:
        """`backup` makes the copy of the queue at `path`."""
        self._path = path
        self._backup = backup
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen beside the queue; where that cannot be, there are no backups while it is used."""
        try:
            listener = _listener(_socket_path(self._path))
        except OSError as error:
            log.warning("%s cannot be copied while it is used: %s.", self._path, error.strerror)
        else:
            self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    def close(self) -> None:
        """Take no more requests."""
        if self._server is not None:
            self._server.close()
            self._server = None
            _socket_path(self._path).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = Path((await reader.read()).decode())
        writer.write((await _outcome(self._backup(target), target)).encode())
        with suppress(OSError):
            await writer.drain()
        writer.close()


def back_up(path: Path, target: Path) -> None:
    """Copy the queue at `path`, in use or not, to a new file.

    Raises `ConfigurationError`, one sentence, when that cannot be.
    """
    if target.exists():
        raise ConfigurationError(f"{target} exists already. Give the backup a new name.")
    if not target.parent.is_dir():
        raise ConfigurationError(f"There is no directory {target.parent} for the backup.")
    if not path.exists():
        raise ConfigurationError(f"There is no queue {path} to back up.")
    try:
        with closing(Lock(path)):
            _copy_unused(path, target)
    except InUse:
        outcome = _ask_server(path, target)
        if outcome != _DONE:
            raise ConfigurationError(outcome) from None


def _copy_unused(path: Path, target: Path) -> None:
    try:
        with looking_into(path) as source:
            copy_database(source, target)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(_failure(target, error)) from None


def _ask_server(path: Path, target: Path) -> str:
    with _short(_socket_path(path)) as short, socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(short))
        except OSError as error:
            return f"The server that uses {path} cannot be asked for a backup: {error.strerror}."
        connection.sendall(str(target).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            return answer.read() or "The server ended before the backup was complete."


async def _outcome(copying: Awaitable[None], target: Path) -> str:
    try:
        await copying
    except (sqlite3.Error, OSError, ZypherError) as error:
        return _failure(target, error)
    log.warning("The queue was copied to %s.", target)
    return _DONE


def _failure(target: Path, error: Exception) -> str:
    return f"The backup {target} could not be written: {error}."


def _listener(path: Path) -> socket.socket:
    """A socket at this path, for its owner alone."""
    with _short(path) as short:
        short.unlink(missing_ok=True)  # of a server that was killed: the lock is ours
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(short))
            short.chmod(0o600)
        except OSError:
            listener.close()
            raise
        return listener


def _socket_path(path: Path) -> Path:
    return path.with_name(path.name + ".sock")


@contextmanager
def _short(path: Path) -> Iterator[Path]:
    """The same file by a path that fits a socket's address (108 bytes), where Linux has one."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        yield path
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptors / str(directory) / path.name
    finally:
        os.close(directory)
