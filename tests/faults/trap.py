"""Becomes a program whose calls to the kernel somebody else answers (Linux).

    python trap.py SOCKET CALLS PROGRAM [ARGUMENT]...

Installs a seccomp filter, sends its listener over the socket, and executes the program in its
place. Everything that the program starts inherits the filter. No privileges are needed.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Iterable
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
# Without it, a signal to a thread that waits for its answer would have it ask once more.
_SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5

_SECCOMP_RET_USER_NOTIF = 0x7FC00000
_SECCOMP_RET_ALLOW = 0x7FFF0000

_BPF_LD_W_ABS = 0x20
_BPF_JMP_JEQ_K = 0x15
_BPF_RET_K = 0x06
_OFFSET_OF_NR = 0  # in struct seccomp_data
_OFFSET_OF_ARCH = 4


class Machine(NamedTuple):
    """The kernel's numbers on one architecture."""

    audit_arch: int
    seccomp: int
    calls: dict[str, int]  # all take a file descriptor as their first argument


_MACHINES = {
    "x86_64": Machine(
        audit_arch=0xC000003E,
        seccomp=317,
        calls={
            "write": 1,
            "pwrite64": 18,
            "writev": 20,
            "fsync": 74,
            "fdatasync": 75,
            "ftruncate": 77,
            "fallocate": 285,
            "pwritev": 296,
        },
    ),
    "aarch64": Machine(
        audit_arch=0xC00000B7,
        seccomp=277,
        calls={
            "write": 64,
            "pwrite64": 68,
            "writev": 66,
            "fsync": 82,
            "fdatasync": 83,
            "ftruncate": 46,
            "fallocate": 47,
            "pwritev": 70,
        },
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def this_machine() -> Machine:
    """The numbers of this machine. Raises `OSError` where calls cannot be trapped."""
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        raise OSError(errno.ENOSYS, f"not on {sys.platform} {platform.machine()}")
    try:
        _seccomp(machine, None)
    except OSError as error:
        # A kernel looks for the filter only once it has agreed to all the rest.
        if error.errno != errno.EFAULT:
            raise
    return machine


def main() -> None:
    descriptor, names, *command = sys.argv[1:]
    machine = this_machine()
    with socket.socket(fileno=int(descriptor)) as supervisor:
        listener = _install(machine, [machine.calls[name] for name in names.split(",")])
        socket.send_fds(supervisor, [b"\0"], [listener])
    os.execvp(command[0], command)


def _install(machine: Machine, numbers: Iterable[int]) -> int:
    instructions = _filter(machine, numbers)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    return _seccomp(machine, _Program(len(instructions) // 8, instructions))


def _filter(machine: Machine, numbers: Iterable[int]) -> bytes:
    """What the kernel runs at every call: it asks about these and allows all others."""
    return b"".join(
        (
            _instruction(_BPF_LD_W_ABS, _OFFSET_OF_ARCH),
            _instruction(_BPF_JMP_JEQ_K, machine.audit_arch, skip_if_true=1),
            _instruction(_BPF_RET_K, _SECCOMP_RET_ALLOW),
            _instruction(_BPF_LD_W_ABS, _OFFSET_OF_NR),
            *(
                _instruction(_BPF_JMP_JEQ_K, number, skip_if_false=1)
                + _instruction(_BPF_RET_K, _SECCOMP_RET_USER_NOTIF)
                for number in numbers
            ),
            _instruction(_BPF_RET_K, _SECCOMP_RET_ALLOW),
        )
    )


def _instruction(code: int, value: int, skip_if_true: int = 0, skip_if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if_true, skip_if_false, value)


def _seccomp(machine: Machine, program: _Program | None) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.POINTER(_Program)]
    flags = _SECCOMP_FILTER_FLAG_NEW_LISTENER | _SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    listener: int = syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, flags, program)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener


if __name__ == "__main__":
    main()
