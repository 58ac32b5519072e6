"""uvicorn, as the node needs it: it neither starts nor stops anything by itself."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from zypher.server.acceptor import Acceptor
from zypher.server.connections import Connections, Overflow, most_connections
from zypher.server.direct_way import DirectWay
from zypher.server.protocol import Protocol
from zypher.settings import Settings

log = logging.getLogger("zypher.server")

# How long a client may take, at the end, to receive what it was answered. In seconds.
_LAST_BYTES = 5


class Uvicorn(uvicorn.Server):
    """Answers for an application, and leaves signals to the program."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="off",  # the node starts and stops around it
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,  # nothing here depends on where a request came from
                server_header=False,
                root_path=settings.root_path,
                timeout_graceful_shutdown=_LAST_BYTES,
            )
        )
        self._connections = Connections(
            cast("set[Protocol]", self.server_state.connections),
            most_connections(settings.max_connections),
            settings.client_timeout,
        )
        self._app = app
        self._direct_way: DirectWay | None = getattr(app, "direct_way", None)
        self._overflow = Overflow(app, self._connections, settings.root_path)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        room = self._connections.room
        self._acceptors = [Acceptor(one, self._protocol, room) for one in sockets or ()]

    async def on_tick(self, counter: int) -> bool:
        try:
            await self._connections.look()
        except Exception:  # what is answered is worth more
            log.exception("A fault while the connections were looked at")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            await acceptor.close()
        await super().shutdown(sockets)

    def turn_away(self) -> None:
        """From now on every answer ends its connection.

        Its client comes back on a new one, which a balancer leads to another server. A connection
        that stayed would be closed at the end, perhaps while the next request is on its way.
        """
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # from which they are made anew each second
        self.server_state.default_headers = [*self.server_state.default_headers, close]
        for connection in self.server_state.connections:
            if (cycle := cast("Protocol", connection).cycle) is not None:
                cycle.keep_alive = False

    async def answered(self) -> None:
        """Wait until all that is asked at this moment has been answered."""
        if self._direct_way and (outcomes := self._direct_way.outcomes()):
            await asyncio.wait(outcomes)
        if tasks := [*self.server_state.tasks]:
            await asyncio.wait(tasks)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state, self._chosen)

    def _chosen(self) -> tuple[ASGIApp, DirectWay | None]:
        if self._connections.are_too_many:
            return self._overflow, None
        return self._app, self._direct_way

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: when to stop is decided by the program."""
        yield
