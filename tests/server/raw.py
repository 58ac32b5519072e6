"""HTTP as it is on the wire: what is sent is what the test says, byte by byte."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE = 20.0


class Answer(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> Any:
        """The code of the problem that it is."""
        return json.loads(self.body)["code"]


class Wire:
    """A connection to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), PATIENCE)
        self._answers = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send this. It may be that nobody takes it any more."""
        self._socket.sendall(data)

    def ask(self, path: str = "/livez", *headers: str, method: str = "GET") -> None:
        """Send a request without a body."""
        self.send(self.head(path, *headers, method=method))

    def post(self, value: object, path: str = "/predict", *headers: str) -> None:
        """Send a prediction request."""
        body = json.dumps({"input": value}).encode()
        length = f"Content-Length: {len(body)}"
        json_type = "Content-Type: application/json"
        self.send(self.head(path, length, json_type, *headers, method="POST") + body)

    def head(self, path: str, *headers: str, method: str = "GET") -> bytes:
        """The head of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def answer(self) -> Answer:
        """The next answer."""
        first = self._answers.readline()
        assert first, "the server has closed the connection"
        headers = {}
        while line := self._answers.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._answers.read(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait until the server says something or closes; True if it closes."""
        try:
            return not self._answers.read(1)
        except ConnectionError:
            return True

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    """A connection for one test."""
    connection = Wire(url)
    try:
        yield connection
    finally:
        connection.close()
