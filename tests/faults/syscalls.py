"""Faults of the kernel's file calls, in real and unmodified processes (Linux 5.19 or newer).

    def no_disk(call: Call) -> int:
        return errno.EIO if call.path == database else 0

    with (
        Supervisor(["fsync", "fdatasync"], no_disk) as faults,
        Server(prefix=faults.prefix, pass_fds=faults.pass_fds) as server,
    ):
        ...

A seccomp filter (see `trap.py`) stops the thread that makes one of these calls, before the call
has done anything, until the policy has said what becomes of it.
"""

import fcntl
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from tests.faults import trap

_SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
_SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
_SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
_NOTIFICATION = struct.Struct("=Q II iIQ 6Q")  # id; thread, flags; nr, arch, ip; arguments
_RESPONSE = struct.Struct("=Q qiI")  # id; value, error, flags


@dataclass(frozen=True)
class Call:
    """One call to the kernel that is about to happen."""

    name: str
    thread: int  # who calls; SIGKILL to this id ends the whole process
    path: Path  # of the file that it is about


Policy = Callable[[Call], int]
"""Returns 0 to let a call happen, or the errno with which it fails.

It is asked about one call at a time, those of all processes in turn, and decides by the path.
While it runs its caller stands still, so that the files can be copied as they are at that moment.
"""


class Supervisor:
    """Has a policy decide about these calls of all processes that are started through it.

    Start as many as you like, one after the other or at once: with `prefix` before the command
    and `pass_fds` inherited. All of them must have ended before it is closed: from then on these
    calls fail with ENOSYS. Where the kernel does not allow it, the test is skipped.
    """

    def __init__(self, names: Sequence[str], policy: Policy) -> None:
        try:
            calls = trap.this_machine().calls
        except OSError as error:
            pytest.skip(f"Calls to the kernel cannot be trapped here: {error.strerror}.")
        self._names = {calls[name]: name for name in names}
        self._policy = policy
        self._error: BaseException | None = None
        self._launches, self._launchers = socket.socketpair()
        self._poll = select.poll()
        self._poll.register(self._launches, select.POLLIN)
        self._listeners: set[int] = set()
        self._thread = threading.Thread(target=self._serve, name="supervisor")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def prefix(self) -> list[str]:
        """What goes before the command."""
        (launcher,) = self.pass_fds
        names = ",".join(self._names.values())
        return [sys.executable, "-I", trap.__file__, str(launcher), names]

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """What the command inherits."""
        return (self._launchers.fileno(),)

    def close(self) -> None:
        """End it. If the policy has raised an error, raise it here."""
        self._launchers.shutdown(socket.SHUT_WR)
        self._thread.join()
        self._launchers.close()
        self._launches.close()
        if self._error:
            raise self._error

    def _serve(self) -> None:
        launching = True
        while launching:
            for descriptor, events in self._poll.poll():
                if descriptor == self._launches.fileno():
                    launching = self._admit()
                elif events & select.POLLIN:
                    self._attend(descriptor)
                else:  # all who were under this filter have ended
                    self._forget(descriptor)
        for listener in list(self._listeners):
            self._forget(listener)

    def _admit(self) -> bool:
        """Take the listener of one more launch. Returns whether there was one."""
        _, descriptors, _, _ = socket.recv_fds(self._launches, 1, 1, socket.MSG_CMSG_CLOEXEC)
        for listener in descriptors:
            self._listeners.add(listener)
            self._poll.register(listener, select.POLLIN)
        return bool(descriptors)

    def _forget(self, listener: int) -> None:
        self._poll.unregister(listener)
        self._listeners.remove(listener)
        os.close(listener)

    def _attend(self, listener: int) -> None:
        """Receive a call, and say what becomes of it."""
        notification = bytearray(_NOTIFICATION.size)
        with suppress(FileNotFoundError):  # the caller was killed meanwhile
            fcntl.ioctl(listener, _SECCOMP_IOCTL_NOTIF_RECV, notification)
            id, thread, _, number, _, _, file, *_ = _NOTIFICATION.unpack(notification)
            error = self._decide(self._names[number], thread, file)
            flags = 0 if error else _SECCOMP_USER_NOTIF_FLAG_CONTINUE
            response = _RESPONSE.pack(id, 0, -error, flags)
            fcntl.ioctl(listener, _SECCOMP_IOCTL_NOTIF_SEND, response)

    def _decide(self, name: str, thread: int, file: int) -> int:
        try:
            path = _path(thread, file)
            return self._policy(Call(name, thread, path)) if path else 0
        except BaseException as error:  # the processes must go on, or the test would not end
            self._error = self._error or error
            return 0


def _path(thread: int, file: int) -> Path | None:
    """The file behind a descriptor; None if it is not open, or its thread has been killed."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{thread}/fd/{file}").readlink()
    return None
