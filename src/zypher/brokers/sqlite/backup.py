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

from zypher.brokers.sqlite.files import InUse, Lock, require_queue
from zypher.brokers.sqlite.opening import (
    Damaged,
    inspect,
    is_damage,
    looking_into,
    sync_directory,
)
from zypher.brokers.sqlite.store import copy_database
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
        self._one_at_a_time = asyncio.Lock()
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
        with closing(writer), suppress(OSError):  # of a caller who is gone
            if request := await reader.read():
                writer.write(os.fsencode(await self._outcome(Path(os.fsdecode(request)))))
                await writer.drain()

    async def _outcome(self, target: Path) -> str:
        try:
            async with self._one_at_a_time:
                _require_new(target)
                with _unfinished(target) as copy:
                    await self._backup(copy)
                    await asyncio.to_thread(_complete, copy, target)
        except ConfigurationError as error:
            return str(error)
        except (sqlite3.Error, OSError, ValueError, Damaged, ZypherError) as error:
            return _failure(self._path, target, error)
        log.warning("The queue was copied to %s.", target)
        return _DONE


def back_up(path: Path, target: Path) -> None:
    """Copy the queue at `path`, in use or not, to a new file.

    Raises `ConfigurationError`, one sentence, when that cannot be.
    """
    _require_new(target)
    if not target.parent.is_dir():
        raise ConfigurationError(f"There is no directory {target.parent} for the backup.")
    if not path.exists():
        raise ConfigurationError(f"There is no queue {path} to back up.")
    if not path.stat().st_size:
        raise ConfigurationError(f"{path} is empty: there is no queue in it to back up.")
    try:
        with closing(Lock(path)):
            _copy_unused(path, target)
    except InUse:
        outcome = _ask_server(path, target)
        if outcome != _DONE:
            raise ConfigurationError(outcome) from None


def _require_new(target: Path) -> None:
    if target.exists():
        raise ConfigurationError(f"{target} exists already. Give the backup a new name.")


def _copy_unused(path: Path, target: Path) -> None:
    try:
        require_queue(path)
        inspect(path)
        with looking_into(path) as source, _unfinished(target) as copy:
            copy_database(source, copy)
            _complete(copy, target)
    except (sqlite3.Error, OSError, Damaged) as error:
        raise ConfigurationError(_failure(path, target, error)) from None


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A new file for the copy, which is gone at the end if it was not completed."""
    copy = target.with_name(target.name + ".unfinished")
    _remove(copy)
    try:
        copy.touch(0o600)
        yield copy
    finally:
        _remove(copy)


def _remove(copy: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        copy.with_name(copy.name + end).unlink(missing_ok=True)


def _complete(copy: Path, target: Path) -> None:
    """Let a copy appear under its name, once it is seen to be whole, and on the disk."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = FULL")
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise Damaged(finding.rpartition("\n")[2])
        connection.execute("UPDATE file SET clean = 1")  # no log belongs to it
    _require_new(target)
    copy.rename(target)
    sync_directory(target.parent)


def _ask_server(path: Path, target: Path) -> str:
    with _short(_socket_path(path)) as short, socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(short))
            connection.sendall(os.fsencode(target))
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                outcome = os.fsdecode(answer.read())
        except OSError as error:
            return f"The server that uses {path} cannot be asked for a backup: {error.strerror}."
    return outcome or "The server ended before the backup was complete."


def _failure(path: Path, target: Path, error: Exception) -> str:
    if is_damage(error):
        return (
            f"{path} is damaged ({error}), so there is no backup of it; a start with "
            "--on-corrupt salvage saves what can be read."
        )
    return f"The backup {target} could not be written: {str(error).rstrip('.')}."


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
