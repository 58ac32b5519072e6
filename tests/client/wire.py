"""A way to a server that can break, for clients that block."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.proxy import Proxy
from tests.harness import PATIENCE, Server


class Wire:
    """A proxy that runs in a thread of its own."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self.url = f"http://127.0.0.1:{proxy.port}"
        self._proxy = proxy
        self._loop = loop
        self._broken: asyncio.Event | None = None

    def lose_next_answer(self) -> None:
        """Reset the next connection that gets an answer, in the middle of it."""

        async def lose() -> None:
            self._broken = self._proxy.reset_next_reply()

        self.do(lose())

    @property
    def has_lost_an_answer(self) -> bool:
        """True once it has happened."""
        return self._broken is not None and self._broken.is_set()

    def reset(self) -> None:
        """Reset the connections that there are, once."""
        self.do(self._proxy.reset())

    def do(self, what: Coroutine[Any, Any, None]) -> None:
        """Have the proxy do this."""
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE)


@contextmanager
def wire_to(server: Server) -> Iterator[Wire]:
    """A way to this server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(int(server.url.rpartition(":")[2]))
    wire = Wire(proxy, loop)
    try:
        wire.do(proxy.heal())
        yield wire
        wire.do(proxy.cut())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
