"""Why a webhook is not called, or was called in vain."""

from typing import NamedTuple


class Refused(Exception):
    """A webhook that is not called; the message is a sentence that says why."""


class Miss(NamedTuple):
    """A call that did not arrive, and why; `is_final`: another one would not either."""

    reason: str
    retry_after: float | None = None
    is_final: bool = False
