"""Where the server is that a command talks to."""

import os

VARIABLE = "ZYPHER_URL"
PORT_VARIABLES = ("ZYPHER_PORT", "PORT")
DEFAULT = "http://127.0.0.1:8080"


def address() -> str:
    """The address that holds without `--url`: as told, or where a server here would listen."""
    return os.environ.get(VARIABLE) or _here() or DEFAULT


def _here() -> str | None:
    """This machine, at the port that the environment gives to a server."""
    for variable in PORT_VARIABLES:
        port = os.environ.get(variable, "")
        if port and not port.startswith("tcp://"):  # which is what Kubernetes says of a service
            return f"http://127.0.0.1:{port}"
    return None
