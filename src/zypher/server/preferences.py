"""How long a caller is willing to wait: `Async-Mode`, and the standard's `Prefer` (RFC 7240)."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers

from zypher.errors import InvalidHeader

_QUOTED = re.compile(r'"[^"]*"')


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
    values = headers.getlist("prefer")
    if not values:
        return Patience(otherwise)
    preferences = parse_prefer(values)
    applied = []
    seconds = otherwise
    if "respond-async" in preferences:
        applied.append("respond-async")
        seconds = 0.0
    wait = preferences.get("wait") or ""
    if wait.isascii() and wait.isdigit():
        seconds = min(float(wait), longest)
        applied.append(f"wait={math.ceil(seconds)}")
    return Patience(seconds, ", ".join(applied) or None)


def parse_prefer(values: Iterable[str]) -> dict[str, str]:
    """The preferences by lower-case name; of repeated ones the first counts (RFC 7240 §2).

    What makes no sense is passed over: preferences are advice, never an error. The time that
    this takes grows with the length of the header and no faster.
    """
    preferences: dict[str, str] = {}
    for value in values:
        for preference in _QUOTED.sub(_without_separators, value).split(","):
            name, _, argument = preference.partition(";")[0].partition("=")
            preferences.setdefault(name.strip().lower(), argument.strip(' \t"'))
    return preferences


def _without_separators(quoted: re.Match[str]) -> str:
    """A quoted string in which a comma or a semicolon separates nothing."""
    return quoted[0].replace(",", " ").replace(";", " ")
