"""Taking connections in: all that wait, and not one in each turn of the loop.

A turn of a busy loop takes tens of milliseconds: of a thousand clients that come at once the last
would wait for seconds before anybody reads what they ask.
"""

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable

log = logging.getLogger("zypher.server")

# In one turn, so that those who are served already are not forgotten.
_MOST = 256

# How long nothing is taken in when the process has no room for more connections, in seconds.
_PAUSE = 0.5

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Listens at a socket until it is closed.

    `connect` makes a protocol for a connection; `room` says how many more there may be.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], asyncio.Protocol],
        room: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        self._listener = listener
        self._connect = connect
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    async def close(self) -> None:
        """Take no more in, once those are who have come: they would not even be told to go."""
        self._loop.remove_reader(self._listener)
        self._accept(sys.maxsize)
        self._listener.close()
        if self._pause is not None:
            self._pause.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self, most: int = _MOST) -> None:
        room = self._room() - len(self._connecting)
        if room <= 0:
            self._pause_for_a_moment()
        for _ in range(min(room, most)):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # that client has left
            except OSError as error:
                self._rest(error)
                return
            self._take_in(connection)

    def _take_in(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connecting = self._loop.create_task(
            self._loop.connect_accepted_socket(self._connect, connection)
        )
        self._connecting.add(connecting)
        connecting.add_done_callback(self._taken_in)

    def _taken_in(self, connecting: asyncio.Task[object]) -> None:
        self._connecting.discard(connecting)
        if not connecting.cancelled():
            connecting.exception()  # that client has left

    def _rest(self, error: OSError) -> None:
        if error.errno not in _NO_ROOM:
            raise error
        log.warning("No connection can be taken in now: %s", error.strerror)
        self._pause_for_a_moment()

    def _pause_for_a_moment(self) -> None:
        """Those who wait are taken in a little later."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE, self._listen)
