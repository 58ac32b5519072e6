"""How long a caller is willing to wait: `Async-Mode`, and the standard's `Prefer` (RFC 7240)."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers

from zypher.errors import InvalidHeader

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
_PREFERENCE = re.compile(
    rf"\s*(?P<name>{_TOKEN})\s*(?:=\s*(?P<value>{_VALUE}))?"
    rf"(?:\s*;\s*{_TOKEN}\s*(?:=\s*{_VALUE})?)*\s*(?:,|$)"
)


class Patience(NamedTuple):
    """How many seconds a caller waits for the outcome, and which preferences said so."""

    seconds: float
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of the preferences that were honoured."""
        return {"Preference-Applied": self.applied} if self.applied else {}


def patience_to_predict(headers: Headers, sync_timeout: float) -> Patience:
    """How long a POST waits before it becomes a 202; 0 for an asynchronous one.

    `Async-Mode` decides if it is there, else `Prefer`, else it is `sync_timeout`, which is
    also the most that anybody gets. Raises `InvalidHeader` for an unknown `Async-Mode`.
    """
    mode = headers.get("async-mode", headers.get("async_mode"))
    if mode is None:
        return _preferred(headers, sync_timeout, otherwise=sync_timeout)
    match mode.strip().lower():
        case "true":
            return Patience(0.0)
        case "false":
            return Patience(sync_timeout)
    raise InvalidHeader(f"Async-Mode is {mode!r}; it can be 'true' or 'false'.")


def patience_to_poll(headers: Headers, sync_timeout: float) -> Patience:
    """How long a GET waits for a prediction that is not finished: not, unless it asks to."""
    patience = _preferred(headers, sync_timeout, otherwise=0.0)
    return patience if patience.seconds else Patience(0.0)


def _preferred(headers: Headers, longest: float, *, otherwise: float) -> Patience:
    preferences = parse_prefer(headers.getlist("prefer"))
    applied = []
    seconds = otherwise
    if "respond-async" in preferences:
        applied.append("respond-async")
        seconds = 0.0
    wait = preferences.get("wait") or ""
    if wait.isascii() and wait.isdigit():
        seconds = min(float(wait), longest)
        applied.append(f"wait={math.floor(seconds)}")
    return Patience(seconds, ", ".join(applied) or None)


def parse_prefer(values: Iterable[str]) -> dict[str, str]:
    """The preferences by lower-case name; of repeated ones the first counts (RFC 7240 §2).

    What does not parse is passed over: preferences are advice, never an error.
    """
    preferences: dict[str, str] = {}
    for value in values:
        for match in _PREFERENCE.finditer(value):
            preferences.setdefault(match["name"].lower(), (match["value"] or "").strip('"'))
    return preferences
