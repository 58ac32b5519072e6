"""A real HTTP server that takes webhooks, and answers as a test wants it to."""

import queue
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import msgspec

from tests.harness import PATIENCE

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Call(NamedTuple):
    """What arrived."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """By which duplicates are known."""
        return self.headers["webhook-id"]

    @property
    def data(self) -> Any:
        """What it tells of the prediction."""
        return msgspec.json.decode(self.body)["data"]


class Answer(NamedTuple):
    """What the receiver says; `status` None: nothing, until it is closed."""

    status: int | None
    headers: Mapping[str, str] = {}


class Receiver:
    """Gives these answers, the last one again and again, until its `with` block ends."""

    def __init__(self, *answers: int | Answer | None, tls: ssl.SSLContext | None = None) -> None:
        given = answers or (200,)
        self._answers = [a if isinstance(a, Answer) else Answer(a) for a in given]
        self._calls: queue.Queue[Call] = queue.Queue()
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Where it is, by one of its names."""
        return f"{scheme}://{host}:{self.port}/hook?key=of-the-receiver"

    def next(self) -> Call:
        """Wait for the next call."""
        return self._calls.get(timeout=PATIENCE)

    @property
    def was_called(self) -> bool:
        """True if there was a call that nobody has looked at."""
        return not self._calls.empty()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _next_answer(self) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                receiver._calls.put(Call(dict(self.headers), self.rfile.read(length)))
                status, headers = receiver._next_answer()
                if status is None:
                    receiver._closed.wait()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
