"""A real server for a test: `zypher serve` as a child process."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zypher.client import Client
from zypher.settings import option
from zypher.testing.models import target_of

_SERVING = re.compile(r"^Serving .* at (?P<url>http://\S+)")
_PATIENCE = 30.0

# Nothing is kept beyond a test, and what a test leaves unfinished is not waited for.
_FOR_TESTS = {"port": 0, "broker": "memory:", "grace": 0}


@contextmanager
def serving(*models: str | Callable[..., Any], **settings: Any) -> Iterator[Client]:
    """Serve models, as `zypher serve` does, and give a client for them.

        with zypher.testing.serving("sentiment.py:Sentiment", sync_timeout=1) as client:
            assert client.predict("all is fine") == {"score": 0.5}

    `models` are as on the command line, or classes and functions that can be imported; without
    any, what `zypher.toml` in the current directory says, else the mock. `settings` are flags
    with underscores. The port is free, the queue in memory. `client.url` is the address.

    Raises RuntimeError, with all that the server wrote, when it does not come up, or does not
    end as it should. Where the block raises, the same is added to the error as a note.
    """
    server = _Server([*map(_argument, models), *_flags(_FOR_TESTS | settings)])
    try:
        with Client(server.url()) as client:
            yield client
    except BaseException as error:
        server.stop()
        error.add_note(server.report())
        raise
    if code := server.stop():
        raise RuntimeError(f"zypher serve ended with the exit code {code}. {server.report()}")


def _argument(model: str | Callable[..., Any]) -> str:
    """A model as one writes it on the command line."""
    if isinstance(model, str):
        return model
    target = target_of(model)
    if "<" in target or target.startswith("__main__:"):
        raise ValueError(
            f"A server cannot import {target}: define it at the top of a module, and not within "
            "a function or in the program that was started."
        )
    return target


def _flags(settings: dict[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        yield f"--{option(name)}"
        yield str(value).lower() if isinstance(value, bool) else str(value)


class _Server:
    """`zypher serve` with these arguments, until it is stopped."""

    def __init__(self, arguments: list[str]) -> None:
        self._lines: list[str] = []
        self._announced: re.Match[str] | None = None
        self._is_known = threading.Event()  # whether it came up
        self._process = subprocess.Popen(  # noqa: S603 - what the author of the test wrote
            [sys.executable, "-P", "-m", "zypher", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # What the test can import, its models' processes can, too.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # a Ctrl-C is for the test, which then stops it
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def url(self) -> str:
        """Where it serves, once it does; it gives up by itself after `setup-timeout`."""
        self._is_known.wait()
        if self._announced is None:
            raise RuntimeError("zypher serve did not come up.")
        return self._announced["url"]

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self._process.terminate()
        try:
            code = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(_PATIENCE)
        return code

    def report(self) -> str:
        """All that it wrote."""
        return "It wrote:\n" + "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.append(line)
                if match := _SERVING.search(line):
                    self._announced = match
                    self._is_known.set()
        self._is_known.set()
