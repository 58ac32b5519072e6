"""All connections of a server: how many there may be, and how long one may wait for its client.

What a client holds that is slow on purpose (slowloris) is taken from it. There is no timer for
that, and nothing that a request would pay for: all connections are looked at now and then.
"""

import asyncio
import heapq
import logging
import math
import resource
from collections.abc import MutableSet

from starlette.types import ASGIApp, Receive, Scope, Send

from zypher.errors import RequestTimeout
from zypher.server.problems import problem
from zypher.server.protocol import Protocol

log = logging.getLogger("zypher.server")

# Whose request or whose reading comes on by less than this, in bytes per second, is disconnected.
LEAST_RATE = 500

# Connections beyond the bound: probes find room among them when all others are taken.
RESERVE = 64

# Files that the process opens beside its connections: the queue, replicas, webhooks, Redis.
_OTHER_FILES = 448

# How long a client may take to read its last answer, in seconds.
_LAST_ANSWER = 2.0

# Where all ask something, they are looked through again after so long, in seconds.
_CLEARANCE = 0.1

# So many are looked at in one turn of the loop, and so often some of them, in seconds.
_AT_ONCE = 100
_TICK = 0.1

PROBES = ("/livez", "/readyz")


class Connections:
    """`open` are those that are there; times in seconds."""

    def __init__(self, open: MutableSet[Protocol], most: int, client_timeout: float) -> None:
        self._open = open
        self._most = most
        self._slack = min(RESERVE, most // 10 + 1)  # so that not each newcomer makes room by itself
        self._timeout = client_timeout
        self._interval = min(1.0, client_timeout / 4)
        self._next_round = 0.0
        self._unseen: list[Protocol] = []  # in this round
        self._share = 0
        self._next_clearance = 0.0
        self._marks: dict[Protocol, tuple[int, int]] = {}

    @property
    def are_too_many(self) -> bool:
        """True while there are more than there may be."""
        return len(self._open) > self._most

    def room(self) -> int:
        """How many more can be taken in. Those that ask nothing make room for them."""
        if len(self._open) >= self._most:
            self.make_room()
        return self._most + RESERVE - len(self._open)

    def make_room(self) -> None:
        """Disconnect those that ask nothing, or have not asked yet; the quietest first.

        If they are not enough, those whose requests are on their way.
        """
        now = self._now()
        if now < self._next_clearance:
            return
        idle = [c for c in self._open if not c.is_answering or c.is_receiving]
        wanted = len(self._open) - self._most + self._slack
        leaving = heapq.nsmallest(wanted, idle, key=_use)
        for connection in leaving:
            self._open.discard(connection)  # it hears of its end in the next turn of the loop
            connection.transport.abort()
        if not leaving:
            self._next_clearance = now + _CLEARANCE

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def look(self) -> None:
        """Disconnect those whose client has kept the server waiting for too long.

        To be called at every tick. It looks at all in turn, at a share of them each time: if it
        looked at ten thousand at once, all requests would wait for that.
        """
        now = self._now()
        if not self._unseen:
            if now < self._next_round:
                return
            self._begin_round(now)
        share, self._unseen = self._unseen[: self._share], self._unseen[self._share :]
        for begin in range(0, len(share), _AT_ONCE):
            for connection in share[begin : begin + _AT_ONCE]:
                if not connection.transport.is_closing() or connection.unsent:
                    self._look_at(connection, now)
            await asyncio.sleep(0)

    def _begin_round(self, now: float) -> None:
        self._next_round = now + self._interval
        self._unseen = list(self._open)
        self._share = math.ceil(len(self._unseen) * _TICK / self._interval)
        self._marks = {c: mark for c, mark in self._marks.items() if c in self._open}

    def _look_at(self, connection: Protocol, now: float) -> None:
        if not _waits_for_client(connection):
            connection.deadline = None
        elif connection.deadline is None:
            patience = _LAST_ANSWER if connection.is_over else self._timeout
            connection.deadline = now + min(patience, self._timeout)
            self._marks[connection] = self._aims(connection)
        elif now >= connection.deadline:
            self._judge(connection)

    def _aims(self, connection: Protocol) -> tuple[int, int]:
        """How far its client has to come, in bytes received and sent."""
        least = int(LEAST_RATE * self._timeout)
        return connection.received + least, min(connection.written, connection.sent + least)

    def _judge(self, connection: Protocol) -> None:
        """Its time is over: go on if it has come far enough."""
        received, sent = self._marks[connection]
        connection.deadline = None
        if connection.is_over:
            connection.transport.abort()
        elif connection.unsent:
            if connection.sent < sent:
                connection.transport.abort()
        elif not connection.is_receiving or connection.is_unfit:
            connection.transport.close()
        elif connection.received < received:
            connection.refuse(
                RequestTimeout(
                    f"The request was not complete after {self._timeout:g} s, and came by less "
                    f"than {LEAST_RATE} bytes a second."
                )
            )


class Overflow:
    """The application for connections beyond the bound: probes are answered, and others once there
    is room."""

    def __init__(self, app: ASGIApp, connections: Connections, root_path: str) -> None:
        self._app = app
        self._connections = connections
        self._probes = {root_path + probe for probe in PROBES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._connections.are_too_many:
            self._connections.make_room()
        if self._connections.are_too_many and scope["path"] not in self._probes:
            await _FULL(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_FULL = problem(
    "unavailable",
    "As many connections are open as max-connections allows. Try again soon.",
    headers={"Retry-After": "1", "Connection": "close"},
)


def most_connections(wanted: int) -> int:
    """As many as wanted, or as the process may open files for; it may open more from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    except (OSError, ValueError):  # macOS has a bound of its own
        allowed = soft
    if allowed >= needed:
        return wanted
    possible = max(1, allowed - RESERVE - _OTHER_FILES)
    log.warning(
        "%d connections are served at once and not %d (max-connections): this process may open "
        "%d files. Raise that limit (ulimit -n).",
        possible,
        wanted,
        allowed,
    )
    return possible


def _waits_for_client(connection: Protocol) -> bool:
    """True if it is the client's turn: to ask, to send the rest, or to read."""
    return bool(
        connection.unsent
        or connection.is_over
        or connection.is_receiving
        or not connection.is_answering
    )


def _use(connection: Protocol) -> tuple[bool, float, float]:
    """What speaks for keeping it: that its request is all there, that it was not quiet for long."""
    quiet = float("inf") if connection.deadline is None else connection.deadline
    return connection.is_answering and not connection.is_receiving, quiet, connection.made
