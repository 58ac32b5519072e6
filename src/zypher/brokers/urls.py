"""What the URL of a broker says, and what of it may be shown."""

import re

_SHARED = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")


def scheme_of(url: str) -> str:
    """The word before the colon."""
    return url.partition(":")[0].lower()


def is_shared(url: str) -> bool:
    """True for a broker that several nodes use at once, on one machine or many."""
    return scheme_of(url) in _SHARED


def without_password(url: str) -> str:
    """The URL as it may be shown: whoever reads a log must not learn how to log in.

    Of what stands before the host nothing is kept: a lone word there is often the password.
    """
    shown = re.sub(r"://.*@", "://***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)(password=)[^&#]*", r"\1***", shown)
