"""The headers of a prediction request, beside those that say how long to wait."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from starlette.datastructures import Headers

from zypher.errors import Forbidden, InvalidHeader, NotAcceptable
from zypher.tracing import valid

_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_VISIBLE = re.compile(r"[!-~]{1,255}")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}

_JSON = "application/json"
_EVENTS = "text/event-stream"


def idempotency_key(headers: Headers) -> str | None:
    """The `Idempotency-Key`, bare or as the quoted string of the IETF draft; None without one.

    Raises `InvalidHeader` for what is no key.
    """
    values = headers.getlist("idempotency-key")
    if not values:
        return None
    key = _unquoted(values[0].strip())
    if len(values) > 1 or key is None or not _VISIBLE.fullmatch(key):
        raise InvalidHeader(
            "Idempotency-Key must be one key of 1 to 255 visible ASCII characters, bare or quoted."
        )
    return key


def require_own_page(headers: Headers, origins: Sequence[str]) -> None:
    """Refuse what a page of another site has a browser send, unless it is of one of these origins.

    That is for calls without a body: of one, the browser asks first, because of its type. It tells
    from where it sends (Fetch Metadata). Raises `Forbidden`.
    """
    is_others = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_others and "*" not in origins and headers.get("origin") not in origins:
        raise Forbidden("Pages of other sites may not do this. To let one, add it to cors-origins.")


def cancel_after(headers: Headers) -> float | None:
    """The seconds of `Cancel-After`, as in `90s`, `1.5m` or `90`; None without one.

    Raises `InvalidHeader` for what is no such time.
    """
    value = headers.get("cancel-after")
    if value is None:
        return None
    match = _DURATION.fullmatch(value.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise InvalidHeader(
            f"Cancel-After is {value!r}; it must be a time greater than 0, "
            "as in 90s, with one of the units ms, s, m and h."
        )
    return seconds


def traceparent(headers: Headers) -> str | None:
    """The `traceparent` that the caller sent (W3C Trace Context); None without a valid one.

    One that is not is as good as none: no request is refused for it (§3.2.2).
    """
    values = headers.getlist("traceparent")
    return valid(values[0].strip()) if len(values) == 1 else None


def prefers_events(headers: Headers) -> bool:
    """True if `Accept` would rather have events than JSON; what it leaves open is JSON.

    Raises `NotAcceptable` if it takes neither.
    """
    accept = ", ".join(headers.getlist("accept"))
    if accept in ("", "*/*", _JSON):
        return False
    ranges = list(_media_ranges(accept))
    json, events = _preference(ranges, _JSON), _preference(ranges, _EVENTS)
    if ranges and not json.quality and not events.quality:
        raise NotAcceptable(f"The answer can be {_JSON} or {_EVENTS}, but Accept has neither.")
    return events > json


class _Preference(NamedTuple):
    """How much a media type is wanted, and how exactly the range says so that decides."""

    quality: float = 0.0
    exactness: int = 0


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    """The media ranges of `Accept` and their qualities; what makes no sense is passed over."""
    for part in accept.split(","):
        range, *parameters = (word.strip().lower() for word in part.split(";"))
        if range.count("/") == 1:
            yield range, next((_quality(p) for p in parameters if p.startswith("q=")), 1.0)


def _preference(ranges: list[tuple[str, float]], media_type: str) -> _Preference:
    """What these ranges say of a media type: the most exact one counts (RFC 9110 §12.5.1)."""
    exactness = {"*/*": 1, f"{media_type.partition('/')[0]}/*": 2, media_type: 3}
    fitting = [(exactness[name], quality) for name, quality in ranges if name in exactness]
    exact, quality = max(fitting, default=(0, 0.0))
    return _Preference(quality, exact)


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 1.0


def _unquoted(value: str) -> str | None:
    """The text of a quoted string; of anything else, itself."""
    if not value.startswith('"'):
        return value
    match = _QUOTED.fullmatch(value)
    return match and re.sub(r"\\(.)", r"\1", match[1])
