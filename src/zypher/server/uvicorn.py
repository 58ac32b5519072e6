"""uvicorn, as the node needs it: it neither starts nor stops anything by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

# How long a client may take, at the end, to receive what it was answered. In seconds.
_LAST_BYTES = 5


class Uvicorn(uvicorn.Server):
    """Answers for an application, and leaves signals to the program."""

    def __init__(self, app: FastAPI, root_path: str) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",  # the node starts and stops around it
                log_config=None,
                log_level="warning",
                access_log=False,
                root_path=root_path,
                timeout_graceful_shutdown=_LAST_BYTES,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: when to stop is decided by the program."""
        yield
