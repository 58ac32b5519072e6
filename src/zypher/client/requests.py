"""The requests that a client makes."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote
from uuid import uuid4

import msgspec

from zypher.client.values import Options
from zypher.errors import InvalidHeader, InvalidInput

_KEY = re.compile(r"[!-~]{1,255}")

# What a server answers in the last moment still has to arrive.
_LATE = 1.0

# A server says every 15 s that a stream of events is alive.
_LONGEST_SILENCE = 45.0


class Request(NamedTuple):
    """A request, to be sent after a `pause`.

    It asks the server to `wait` before it answers, if that is not None. The answer may take so much
    longer as the `margin`.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    wait: int | None = None
    margin: float = 15.0
    pause: float = 0.0

    def within(self, seconds: float) -> Self:
        """The same, with an answer by then, as near as that can be had."""
        seconds = max(0.0, seconds - self.pause)
        wait = None if self.wait is None else int(min(self.wait, seconds))
        margin = min(self.margin, seconds - (wait or 0) + _LATE)
        return self._replace(wait=wait, margin=margin)


def predict(
    input: Any, model: str | None, key: str | None, options: Options, *, wait: int | None
) -> Request:
    """Have an input predicted; `wait` None: without waiting.

    Raises `InvalidInput` for what JSON cannot carry, `InvalidHeader` for what is no key.
    """
    path = "/predict" if model is None else f"/models/{quote(model, safe='')}/predict"
    headers = {"Content-Type": "application/json"} | _with_key(key)
    headers |= {"Async-Mode": "true"} if wait is None else {}
    return Request("POST", path, _body(input, options), headers, wait=wait)


def poll(id: str, *, wait: int, pause: float) -> Request:
    """Ask for an outcome."""
    path = f"/predict/{quote(id, safe='')}"
    return Request("GET", path, wait=wait, pause=pause)


def get(id: str) -> Request:
    """Ask for a record."""
    return Request("GET", _resource(id))


def cancel(id: str) -> Request:
    """Call a prediction off."""
    return Request("POST", f"{_resource(id)}/cancel")


def retry(id: str) -> Request:
    """Have the input of a prediction run once more, as a new prediction."""
    return Request("POST", f"{_resource(id)}/retry", headers=_with_key(new_key()))


def delete(id: str) -> Request:
    """Have a prediction forgotten."""
    return Request("DELETE", _resource(id))


def events(id: str, last: str | None) -> Request:
    """Follow a prediction from behind the `last` event that was seen."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    seen = {} if last is None else {"Last-Event-ID": last}
    path = f"{_resource(id)}/events"
    return Request("GET", path, headers=headers | seen, margin=_LONGEST_SILENCE)


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return str(uuid4())


def _resource(id: str) -> str:
    return f"/predictions/{quote(id, safe='')}"


def _with_key(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not _KEY.fullmatch(key):
        raise InvalidHeader("An idempotency key has 1 to 255 visible ASCII characters.")
    return {"Idempotency-Key": key}


def _body(input: Any, options: Options) -> bytes:
    """The body of a prediction."""
    return encoded({"input": input, **options})


def encoded(value: Any) -> bytes:
    """The JSON text of what a caller gives. A NaN is refused: JSON has none, and it must not
    become a null."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The input cannot be sent as JSON: {error}.") from None


def _plain(value: Any) -> Any:
    """What JSON has in the place of an object; pydantic and NumPy are known by their methods."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    return msgspec.to_builtins(value)
