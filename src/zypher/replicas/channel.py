"""The replica's end of the connection: it works also while the event loop is blocked."""

import asyncio
import os
import socket
import threading
import traceback
from collections.abc import Callable

from zypher.replicas.frames import MOST_TOLD, ROOM, FrameReader, Message, Told, encode
from zypher.replicas.lines import Line, write

# A fault of ours must be a crash, which is seen and repaired, and never a hang.
FAULT = 70  # EX_SOFTWARE of sysexits.h


class Channel:
    """Reads in the thread that made it, writes from any. The process ends with its parent."""

    def __init__(self, connection: socket.socket, receive: Callable[[Message], None]) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._receive = receive
        self._reader = FrameReader()
        self._chunk = memoryview(bytearray(ROOM))
        self._unsent = bytearray()
        self._lock = threading.RLock()
        self._is_writing = False
        self._waits_for_room = False
        self._is_flushed = asyncio.Event()
        self._is_copy = False
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._read)
        os.register_at_fork(after_in_child=self._know_that_it_is_a_copy)

    def poll(self) -> None:
        """Take in what has arrived, although the loop is blocked. Nothing in other threads."""
        if threading.get_ident() == self._thread and not self._is_copy:
            self._read()

    def send(self, message: Message) -> None:
        """Send a message; if that takes longer, in the background."""
        self._write(encode(message))

    async def flushed(self) -> None:
        """Wait until all is sent."""
        if self._unsent:
            self._is_flushed.clear()
            await self._is_flushed.wait()

    def offer(self, told: Told) -> None:
        """Send what a run tells, unless too much waits already."""
        frame = encode(told)
        if len(self._unsent) + len(frame) <= MOST_TOLD and not self._is_copy:
            self._write(frame)

    def note(self, line: Line) -> None:
        """Pass on a line of the log: past the connection, so that it is not lost in a crash."""
        write(line)

    def close(self) -> None:
        """End this process once all is sent."""
        self._socket.setblocking(True)
        self._socket.sendall(self._unsent)
        os._exit(0)

    def _read(self) -> None:
        try:
            size = self._socket.recv_into(self._chunk)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            os._exit(0)  # whatever the model still does must not hold this process
        try:
            for message in self._reader.feed(self._chunk[:size]):
                self._receive(message)
        except Exception:
            traceback.print_exc()
            os._exit(FAULT)

    def _write(self, frame: bytes) -> None:
        with self._lock:
            # An object that is collected in the middle of this may print something.
            if not self._is_writing:
                self._is_writing = True
                try:
                    self._unsent += frame
                    self._flush()
                finally:
                    self._is_writing = False

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            os._exit(0)
        del self._unsent[:sent]
        if self._unsent and not self._waits_for_room:
            self._waits_for_room = True
            self._loop.call_soon_threadsafe(self._loop.add_writer, self._socket, self._go_on)

    def _go_on(self) -> None:
        self._write(b"")
        if not self._unsent:
            self._loop.remove_writer(self._socket)
            self._waits_for_room = False
            self._is_flushed.set()

    def _know_that_it_is_a_copy(self) -> None:
        # What a process prints that the model forked must not get into this one's messages.
        self._is_copy = True
