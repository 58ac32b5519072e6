"""Our standard error, for tests that read it or leave it unread."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from zypher.stderr import Outlet


@contextmanager
def our_stderr() -> Iterator[int]:
    """Our standard error is a pipe meanwhile, of which this is the reading end."""
    ours = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    Outlet._is_torn = False
    try:
        yield reading
    finally:
        os.dup2(ours, 2)
        os.close(ours)
        os.close(reading)
