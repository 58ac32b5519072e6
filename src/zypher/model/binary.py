"""`bytes` as inputs: a data URL (RFC 2397) or bare base64 in a JSON string."""

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
