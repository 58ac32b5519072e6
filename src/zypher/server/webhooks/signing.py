"""Signatures as in Standard Webhooks 1.0.0: symmetric, `v1`, HMAC-SHA256."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable

PREFIX = "whsec_"


class Signer:
    """Signs with each of some secrets, so that receivers can change from one to the next."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [b64decode(secret.removeprefix(PREFIX)) for secret in secrets]

    def headers(self, id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """The three headers of a message."""
        content = f"{id}.{timestamp}.".encode() + body
        digests = (hmac.digest(key, content, "sha256") for key in self._keys)
        return {
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{b64encode(digest).decode()}" for digest in digests),
        }
