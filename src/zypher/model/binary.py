"""`bytes` in JSON strings: data URLs (RFC 2397); in inputs also bare base64."""

import base64
import binascii
from abc import ABC
from typing import Any
from urllib.parse import unquote_to_bytes

SCHEMA = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "Base64, or a data URL (RFC 2397).",
}


class Binary(ABC):  # noqa: B024 - a name for `bytes` that makes decoders ask `to_bytes`
    """Stands for `bytes` where msgspec decodes, which alone would take base64 only."""


Binary.register(bytes)


# What files begin with that browsers can show (https://mimesniff.spec.whatwg.org).
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


def to_data_url(value: bytes | bytearray | memoryview) -> str:
    """The data URL of a file; what kind of file it is, its beginning tells."""
    content = bytes(value)
    kind = next((kind for start, kind in _BEGINNINGS if content.startswith(start)), None)
    if content[:4] == b"RIFF":
        kind = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12])
    encoded = base64.b64encode(content).decode("ascii")
    return f"data:{kind or 'application/octet-stream'};base64,{encoded}"


def to_bytes(text: Any) -> bytes:
    """The bytes that `text` carries. Raises ValueError when it carries none."""
    if not isinstance(text, str):
        raise ValueError("Expected a string: base64 or a data URL")  # noqa: TRY004
    if not text.startswith("data:"):
        return _from_base64(text)
    header, comma, data = text.partition(",")
    if not comma:
        raise ValueError("Expected a comma in the data URL")
    content = unquote_to_bytes(data)
    return _from_base64(content.decode("latin-1")) if header.endswith(";base64") else content


def _from_base64(text: str) -> bytes:
    try:
        # Many tools break base64 into lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("Invalid base64") from None
