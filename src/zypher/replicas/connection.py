"""The worker's end of the connection to a replica."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from zypher.replicas.frames import FrameReader, Message, encode

log = logging.getLogger("zypher.replicas")


class Connection(asyncio.Protocol):
    """Sends messages, and hands on those that come."""

    _transport: asyncio.Transport

    def __init__(self, receive: Callable[[Message], None]) -> None:
        self.closed = asyncio.Event()
        self._receive = receive
        self._reader = FrameReader()

    def send(self, message: Message) -> None:
        if not self.is_closing:  # else it is about to be known that it is gone
            self._transport.write(encode(message))

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._receive(message)
        except (ValueError, KeyError) as error:
            # The code of a model shares its process, and can write there.
            log.error("A replica said what it cannot have to say (%s): it is ended.", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
