"""The files of a queue: where they may lie, and who holds them."""

import errno
import fcntl
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from zypher.errors import ConfigurationError

# File systems across a network or a hypervisor, whose locks and flushes SQLite cannot rely on
# (https://sqlite.org/howtocorrupt.html, 2).
_REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "lustre"),
    *("glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "vboxsf", "prl_fs"),
}

# What every SQLite database begins with (https://sqlite.org/fileformat.html, 1.3).
_HEADER = b"SQLite format 3\0"


def path_of(url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names.

    Raises `ConfigurationError` when it names none.
    """
    scheme, _, name = url.partition(":///")
    path = unquote(name)
    is_file = path not in ("", ":memory:") and not path.endswith("/") and "\0" not in path
    if scheme.lower() != "sqlite" or not is_file or {"?", "#"} & {*name}:
        raise ConfigurationError(
            f"The broker {url!r} names no file: write sqlite:///zypher.db for one in the current "
            "directory, sqlite:////var/lib/zypher.db for another (with %3F for a ? in the name, "
            "and %23 for a #), memory: for none."
        )
    return Path(path).resolve()  # as SQLite does: the log lies beside the real file


def require_place(path: Path, mounts: str | None = None) -> None:
    """Raise `ConfigurationError` unless a queue can lie at `path`.

    `mounts` is the text of /proc/self/mounts.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(f"There is no directory {path.parent} for the queue's file.")
    kind = _file_system(path.parent.resolve(), _mounts() if mounts is None else mounts)
    if kind in _REMOTE:
        raise ConfigurationError(
            f"{path} is on a network file system ({kind}), where a queue would be damaged sooner "
            "or later. Put it on a local disk: --broker sqlite:////PATH"
        )


def create(path: Path) -> None:
    """Make the file, for its owner alone, if it is not there.

    Only who has its lock may: closing any descriptor of a database drops the locks that SQLite
    holds in this process. Raises `ConfigurationError` when it cannot be opened.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"The queue's file {path} cannot be opened: {error.strerror}. "
            "Choose another with --broker sqlite:///PATH"
        ) from None


def require_queue(path: Path) -> None:
    """Raise `ConfigurationError` for a file that neither is a database nor was one.

    Only a queue has a log, and one whose first page is broken has nothing to save without it.
    The file must not be open in this process, as for `create`.
    """
    with path.open("rb") as file:
        is_database = file.read(len(_HEADER)) == _HEADER
    if not is_database and not path.with_name(path.name + "-wal").exists():
        raise ConfigurationError(
            f"{path} is not a queue. Give the queue a file of its own: --broker sqlite:///OTHER.db"
        )


class InUse(ConfigurationError):
    """Another process uses the queue."""


class Lock:
    """The right to use a queue's file, held by one process until `close` or its end."""

    def __init__(self, path: Path) -> None:
        """Raises `InUse` when another process has it."""
        try:
            self._file = _for_its_owner(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise ConfigurationError(
                f"The queue's directory {path.parent} cannot be written: {error.strerror}. "
                "Choose another with --broker sqlite:///PATH"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            self._file.close()
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise InUse(
                f"{path} is in use by {holder}. Stop it, or give this server another file: "
                "--broker sqlite:///OTHER.db"
            ) from None
        with suppress(OSError):  # on a disk that takes nothing the lock holds, but has no name
            os.ftruncate(self._file.fileno(), 0)
            os.write(self._file.fileno(), f"{os.getpid()} {socket.gethostname()}\n".encode())

    def close(self) -> None:
        """Let the next one have it."""
        self._file.close()

    def _holder(self) -> str:
        self._file.seek(0)
        pid, _, host = self._file.read().strip().partition(" ")
        here = "" if host == socket.gethostname() else f" on {host}"
        return f"process {pid}{here}" if pid else "another process"


def _for_its_owner(path: Path) -> IO[str]:
    """A file to write to that others cannot open, and so not lock."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
    with suppress(PermissionError):  # it was there, and is another's
        os.fchmod(file.fileno(), 0o600)
    return file


def _mounts() -> str:
    mounts = Path("/proc/self/mounts")  # Linux; elsewhere nothing is known
    return mounts.read_text() if mounts.exists() else ""


def _file_system(directory: Path, mounts: str) -> str | None:
    """The type of the file system that a directory is on."""
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        mount = Path(re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), point))
        if directory.is_relative_to(mount) and (found is None or len(mount.parts) >= found[0]):
            found = len(mount.parts), kind
    return found and found[1]
