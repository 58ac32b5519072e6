"""Answers whose parts are known."""

from collections.abc import Mapping

from fastapi import Response


class JSONText(Response):
    """JSON text as it is. Its headers are written down and not worked out."""

    def __init__(
        self, text: bytes, *, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code = status_code
        self.body = text
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(text)),
            (b"content-type", b"application/json"),
        ]
        if headers:
            self.raw_headers += [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers.items()
            ]
