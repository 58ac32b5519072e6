"""What a worker answers over HTTP: its metrics, whether it lives, and whether it is ready.

It has a thread of its own for that, so that a probe is answered also while the event loop is busy.
"""

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any

from zypher.metrics import Metrics
from zypher.periodic import every
from zypher.scrape import Exposition, exposition

# The loop is asked to turn so often, and is taken for stuck if it has not for so long. In seconds.
_TURN = 1.0
_STUCK = 10.0

# A scrape waits so long for the loop, in seconds, and then does without what only that knows.
_PATIENCE = 1.0

# Connections at once, and how long one may take to say what it wants, in seconds.
_MOST_AT_ONCE = 16
_SLOWEST = 5.0


class Probes:
    """Answers at `listener` while its `with` block runs.

    `status` is "ready" or why it is not, and may be asked from any thread; `scrape` is asked in the
    event loop, for the format that an `Accept` header asks for.
    """

    def __init__(
        self,
        listener: socket.socket,
        metrics: Metrics,
        status: Callable[[], str],
        scrape: Callable[[str], Awaitable[Exposition]],
    ) -> None:
        self._server = _Server(listener, self)
        self._metrics = metrics
        self._status = status
        self._scrape = scrape

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turned = time.monotonic()
        self._turning = asyncio.create_task(every(_TURN, self._turn))
        Thread(target=self._server.serve_forever, name="zypher-probes", daemon=True).start()

    async def __aexit__(self, *_: object) -> None:
        self._turning.cancel()
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()

    async def _turn(self) -> None:
        self._turned = time.monotonic()

    # For the threads that answer.

    def answer(self, path: str, accept: str) -> tuple[HTTPStatus, Exposition]:
        """What there is at a path."""
        match path.partition("?")[0]:
            case "/metrics":
                return HTTPStatus.OK, self._scraped(accept)
            case "/livez":
                lives = time.monotonic() - self._turned < _STUCK
                return _report("alive" if lives else "stuck", is_well=lives)
            case "/readyz":
                status = self._status()
                return _report(status, is_well=status == "ready")
            case _:
                return HTTPStatus.NOT_FOUND, _json(
                    {"detail": "There is nothing here but /metrics, /livez and /readyz."}
                )

    def _scraped(self, accept: str) -> Exposition:
        async def scraped() -> Exposition:
            return await self._scrape(accept)

        scraping = asyncio.run_coroutine_threadsafe(scraped(), self._loop)
        with suppress(TimeoutError):
            return scraping.result(_PATIENCE)
        scraping.cancel()
        return exposition(self._metrics, None, accept)


class _Server(ThreadingHTTPServer):
    """Serves a few connections at once, and does not answer more."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, probes: Probes) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.probes = probes
        self._slots = BoundedSemaphore(_MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who asked has gone


class _Handler(BaseHTTPRequestHandler):
    """One connection, for one question."""

    server: _Server

    def setup(self) -> None:
        self.timeout = _SLOWEST  # type: ignore[misc] # of the module as it is now
        super().setup()

    def do_GET(self) -> None:
        accept = self.headers.get("Accept", "")
        status, (body, content_type) = self.server.probes.answer(self.path, accept)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "zypher"

    def log_message(self, format: str, *args: object) -> None:
        pass  # probes come every few seconds


def _report(status: str, *, is_well: bool) -> tuple[HTTPStatus, Exposition]:
    code = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return code, _json({"status": status, "node": "worker"})


def _json(value: object) -> Exposition:
    return Exposition(json.dumps(value).encode(), "application/json")
