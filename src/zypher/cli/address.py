"""Where the server is that a command talks to."""

import os

DEFAULT = "http://127.0.0.1:8080"
VARIABLE = "ZYPHER_URL"


def address() -> str:
    """The address that holds without `--url`."""
    return os.environ.get(VARIABLE) or DEFAULT
