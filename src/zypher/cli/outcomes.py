"""Waiting for a prediction, and printing what comes of it."""

import sys
from typing import TYPE_CHECKING, Any

from zypher.cli.documents import json_text, put_result
from zypher.cli.panels import panel
from zypher.cli.text import complain, put

if TYPE_CHECKING:
    from zypher.client import Handle, Model


def put_outcome(handle: "Handle", model: "Model | None", *, follow: bool, as_json: bool) -> None:
    """Print the result, once it is there. Raises the error that the prediction failed with."""
    parts = _Parts(
        is_text=model is not None and (model.output_schema or {}).get("type") == "string"
    )
    if follow:
        _follow(handle, None if as_json else parts)
    parts.complete(handle.wait(), as_json=as_json)


def _follow(handle: "Handle", parts: "_Parts | None") -> None:
    """Show on standard error how it goes, to its end, and print the parts of the result."""
    with panel(handle) as shown:
        for event in handle.events():
            match event.type, event.data:
                case "status", {"status": "queued" | "processing" as status}:
                    shown.status(status)
                case "progress", {"fraction": fraction, "text": text}:
                    shown.progress(fraction, text)
                case "log", {"text": text}:
                    shown.log(text)
                case "output", part if parts is not None:
                    shown.give_way()
                    parts.add(part)
                case "reset", _ if parts is not None:
                    parts.reset()


class _Parts:
    """The parts of a generator's result. Those of a text make one text; others are a line each.

    On a terminal they are printed as they come. A pipe cannot be told that what it has got counts
    no more, when a run begins again: it gets them once they are certain.
    """

    def __init__(self, *, is_text: bool) -> None:
        self._is_text = is_text
        self._is_shown = sys.stdout is not None and sys.stdout.isatty()
        self._has_come = False
        self._parts: list[Any] = []

    def add(self, part: Any) -> None:
        """Take a part, and print it where that can be taken back."""
        self._has_come = True
        self._parts.append(part)
        if self._is_shown:
            put(str(part) if self._is_text else _line(part))

    def reset(self) -> None:
        """Forget what has come: the run begins again."""
        if self._parts and self._is_shown:
            self._end_line()
            complain("The run begins again: what it has printed counts no more.")
        self._parts.clear()

    def complete(self, result: Any, *, as_json: bool) -> None:
        """Print the result, unless its parts were printed already."""
        if not self._is_shown and self._has_come and isinstance(result, list):
            put("".join(map(_line, result)))
            return
        if not self._is_shown or not self._parts:
            put_result(result, as_json=as_json)
            return
        self._end_line()
        if result != ("".join(self._parts) if self._is_text else self._parts):
            complain("Not all parts came through; this is the whole result:")
            put_result(result, as_json=as_json)

    def _end_line(self) -> None:
        if self._is_text and not "".join(map(str, self._parts[-1:])).endswith("\n"):
            put("\n")


def _line(part: Any) -> str:
    text = part if isinstance(part, str) else json_text(part)
    return text if text.endswith("\n") else f"{text}\n"
