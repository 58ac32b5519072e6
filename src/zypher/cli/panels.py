"""How a prediction goes, on standard error: a bar on a terminal, else lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from zypher.cli.text import complain, one_line
from zypher.errors import ZypherError

if TYPE_CHECKING:
    from zypher.client import Handle

# How often the place in the queue is asked for, in seconds.
_EVERY = 1.0


class Panel(AbstractContextManager["Panel"]):
    """Shows how a prediction goes."""

    def __exit__(self, *_: object) -> None:
        pass

    def status(self, status: str) -> None:
        """It has another status, or another place in the queue."""

    def progress(self, fraction: float, text: str) -> None:
        """The model has told how far it is."""

    def log(self, text: str) -> None:
        """The model has told a line."""

    def give_way(self) -> None:
        """The result is printed now: on a terminal, what was shown makes room for it."""


@contextmanager
def panel(handle: "Handle") -> Iterator[Panel]:
    """A panel for one prediction, which also says where in the queue that is."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if is_terminal and os.environ.get("TERM") not in ("dumb", "unknown"):
        from zypher.cli.bar import Bar

        kind: type[Panel] = Bar
    else:
        kind = _Lines
    with kind() as shows:
        place = _Place(handle, shows)
        try:
            yield place
        finally:
            place.leave()


class _Lines(Panel):
    """Says each thing that is new in a line."""

    def __init__(self) -> None:
        self._said = ""

    def status(self, status: str) -> None:
        self._say(status)

    def progress(self, fraction: float, text: str) -> None:
        self._say(f"{fraction:.0%} {text}")

    def log(self, text: str) -> None:
        complain(text)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            complain(one_line(text))


class _Place(Panel):
    """Another panel, and on it the place in the queue, as long as the prediction waits."""

    def __init__(self, handle: "Handle", shows: Panel) -> None:
        self._handle = handle
        self._shows = shows
        self._has_left = Event()
        self._asking = Thread(target=self._ask, daemon=True)

    def status(self, status: str) -> None:
        if status != "queued":
            self.leave()
        elif self._asking.ident is None:
            self._asking.start()
        self._shows.status(status)

    def progress(self, fraction: float, text: str) -> None:
        self._shows.progress(fraction, text)

    def log(self, text: str) -> None:
        self._shows.log(text)

    def give_way(self) -> None:
        self._shows.give_way()

    def leave(self) -> None:
        """Ask no more."""
        self._has_left.set()

    def _ask(self) -> None:
        while not self._has_left.wait(_EVERY):
            try:
                position = self._handle.get().queue_position
            except ZypherError:
                continue  # whoever follows the events is told
            if position is not None and not self._has_left.is_set():
                self._shows.status(f"queued, {position} before it")
