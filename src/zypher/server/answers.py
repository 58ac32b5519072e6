"""Answers whose parts are known."""

from collections.abc import Mapping

from fastapi import Response

# Inputs and results are nobody's to keep on the way, and never anything else than what they are
# declared as.
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PRIVATE = [(name.lower().encode(), value.encode()) for name, value in PRIVATE.items()]


class JSONText(Response):
    """JSON text as it is. Its headers are written down and not worked out."""

    def __init__(
        self,
        text: bytes,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: bytes = b"application/json",
    ) -> None:
        self.status_code = status_code
        self.body = text
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(text)),
            (b"content-type", media_type),
            *_PRIVATE,
        ]
        if headers:
            self.raw_headers += [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers.items()
            ]
