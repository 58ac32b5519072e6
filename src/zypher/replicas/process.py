"""The process of a replica: how it is started, what it writes, and how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import sys

from zypher.replicas.connection import Connection
from zypher.replicas.frames import ROOM
from zypher.replicas.hardware import environment, resident_bytes
from zypher.replicas.spec import ReplicaSpec
from zypher.replicas.stderr import ErrorOutput

# How long the connection of a dead process may stay open: a process that it forked can hold it.
_LAST_WORDS = 0.5


class Process:
    """A process that has been started, at the other end of a connection.

    `output` is what it writes, beside the messages that come over the connection.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, connection: Connection, output: ErrorOutput
    ) -> None:
        self.pid = output.pid = process.pid
        self.output = output
        self._process = process
        self._connection = connection

    @classmethod
    async def start(
        cls, spec: ReplicaSpec, device: str | None, connection: Connection, tickets: int
    ) -> "Process":
        """Start one, which takes tickets from this descriptor, and connect to it."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            with contextlib.suppress(OSError):  # some systems refuse what is more than they allow
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: connection, sock=ours)
        output = ErrorOutput(spec.name)
        with theirs, output.starting() as written:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "zypher.replicas.child"),
                *map(str, (theirs.fileno(), tickets, os.getpid())),
                pass_fds=[theirs.fileno(), tickets],
                env=environment(os.environ, device=device, threads=spec.threads),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,  # what a model prints is its log
                stderr=written,
                start_new_session=True,  # Ctrl-C is for us; a kill is for all that it started
            )
            return cls(process, connection, output)

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def ending(self) -> str:
        """How it ended, as the end of a sentence."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    @property
    def memory(self) -> int:
        """The bytes of memory that it holds; 0 where nobody can tell."""
        return resident_bytes(self.pid)

    def kill(self) -> None:
        """End it, and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it is gone already
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> None:
        """See it end, by whatever cause, and wait until all that it said has been heard."""
        exited = asyncio.create_task(self._process.wait())
        closed = asyncio.create_task(self._connection.closed.wait())
        await asyncio.wait([exited, closed], return_when=asyncio.FIRST_COMPLETED)
        self.kill()
        await exited
        drained = asyncio.create_task(self.output.ended.wait())
        _, unfinished = await asyncio.wait([closed, drained], timeout=_LAST_WORDS)
        for last_word in unfinished:
            last_word.cancel()
        self._connection.close()
