"""Times, as people write and read them."""

import re
from datetime import UTC, datetime

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FOREVER = 1e9  # what clocks and timers can still count with
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def span(text: str) -> float:
    """The seconds of `90s`, `15m`, `1h`, `2d`; a bare number is seconds. Raises ValueError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time; write it as in 90s, 15m, 1h or 2d.")
    return min(float(match[1]) * _UNITS[match[2]], _FOREVER)


def timestamp(moment: datetime) -> str:
    """A moment, as the API writes it."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def clock_time(moment: datetime) -> str:
    """A moment, as the clock here shows it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def short_span(seconds: float) -> str:
    """How long something took or takes, in the unit that fits."""
    for unit in ("d", "h", "m"):
        if seconds >= 2 * _UNITS[unit]:
            return f"{seconds / _UNITS[unit]:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
