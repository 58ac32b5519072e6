"""The door: what a request must be before it becomes a prediction.

Nothing behind the door meets malformed input: one decoder, one JSON Schema validator
(of the model's own signature), and bounds on size and depth.
"""

import gc
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import msgspec
from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from zypher.brokers.base import ModelInfo
from zypher.errors import (
    InvalidHeader,
    InvalidInput,
    MalformedJSON,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from zypher.server.nesting import is_deeper, opens_more
from zypher.server.options import Body
from zypher.server.validation import Validator, fault

MAX_DEPTH = 100

# A body of more bytes is looked at for whether an input is all that it has.
_LARGE = 16_384
_SPACE = b" \t\n\r"  # of JSON (RFC 8259 §2)
_BEGIN = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"input"[ \t\n\r]*:[ \t\n\r]*(?=[\[{])')

_decoder = msgspec.json.Decoder(Body)

# Of servers in several threads of a process one at a time changes how that collects garbage.
_reading = threading.Lock()


class Door:
    """Reads requests and refuses the bad ones; `max_body_size` in bytes."""

    def __init__(self, max_body_size: int) -> None:
        self._max_body_size = max_body_size
        self._validators: dict[str, Validator] = {}

    def require_json(self, headers: Headers) -> None:
        """Refuse a body by what is declared of it.

        Raises `UnsupportedMediaType`, `InvalidHeader` or `PayloadTooLarge`. To insist on the
        content type is what keeps other sites' pages from posting here: a browser asks first
        before it sends JSON across origins.
        """
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(
                "The body must be JSON: send it with the header Content-Type: application/json."
            )
        if "upgrade" in headers:  # its body is lost in the parser
            raise InvalidHeader(
                "This server speaks HTTP/1.1 alone: send the request without an Upgrade header "
                "(with curl, --http1.1)."
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("The body must be sent without a Content-Encoding.")
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_body_size:
            raise self._too_large()

    async def read(self, request: Request) -> bytes:
        """The body of a request that declares itself as JSON. Raises what `require_json` does."""
        self.require_json(request.headers)
        chunks, size, more = [], 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
            size += len(chunks[-1])
            if size > self._max_body_size:
                raise self._too_large()
        return b"".join(chunks)

    def admit(self, body: bytes, model: ModelInfo) -> tuple[Body, bytes]:
        """The members of a body with an `input` that this model can take, and the input's text.

        Raises `MalformedJSON` or `InvalidInput`.
        """
        is_large = len(body) > _LARGE
        with _no_collection() if is_large else nullcontext():
            if is_large and (alone := _alone(body)) is not None:
                self._require_fit(*alone, model)
                return Body(msgspec.Raw(alone.text)), alone.text
            request = _request(body)
            text = bytes(request.input)
            self.check(text, model)
            return request, text

    def check(self, input: bytes, model: ModelInfo) -> None:
        """Refuse an input that this model cannot take.

        Raises `MalformedJSON` or `InvalidInput`.
        """
        try:
            value = msgspec.json.decode(input)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"The input has a value out of bounds: {error}.",
                errors=[fault(["input"], error, "bounds")],
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJSON(f"The body is not JSON: {error}.") from None
        except RecursionError:
            raise _too_deep() from None
        self._require_fit(input, value, model)

    def _require_fit(self, input: bytes, value: Any, model: ModelInfo) -> None:
        """Refuse an input with this value if this model cannot take it. Raises `InvalidInput`."""
        may_be = len(input) > MAX_DEPTH and opens_more(input, MAX_DEPTH)
        if may_be and is_deeper(value, MAX_DEPTH):
            raise _too_deep()
        validator = self._validator(model)
        if not validator.takes(value):
            raise self._refusal(model, validator.errors(value, len(input)))

    def know(self, model: ModelInfo) -> None:
        """Prepare for a model. Raises `ModelLoadError` if its schema cannot be used."""
        self._validators[model.name] = Validator(model)

    def _validator(self, model: ModelInfo) -> Validator:
        """What checks the inputs of a model, prepared again only when the model changes."""
        known = self._validators.get(model.name)
        if known is None or known.model is not model:
            self.know(model)
        return self._validators[model.name]

    def _refusal(self, model: ModelInfo, errors: list[dict[str, Any]]) -> InvalidInput:
        first = errors[0]
        where = ".".join(map(str, first["loc"]))
        more = f" (and {len(errors) - 1} more: see errors)" if len(errors) > 1 else ""
        return InvalidInput(
            f"The input does not fit the model {model.name!r}: at {where}, {first['msg']}{more}.",
            errors=errors,
        )

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The body is larger than max-body-size ({self._max_body_size} bytes) allows."
        )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Within it, Python does not look for cycles: there are none in JSON.

    It would look through all values there are again and again while more of them are made, which
    takes seconds if a body is millions of small lists.
    """
    with _reading:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


class _Input(NamedTuple):
    """An input: its JSON text, and its value."""

    text: bytes
    value: Any


def _alone(body: bytes) -> _Input | None:
    """The input of a body in which nothing is beside it; None if that cannot be told by this.

    What is between the beginning and the end of such a body is the input if it is one value of
    JSON. So nobody has to look for the input's end before it is decoded.
    """
    begin, whole = _BEGIN.match(body), body.rstrip(_SPACE)
    if begin is None or not whole.endswith(b"}"):
        return None
    text = whole[begin.end() : -1].rstrip(_SPACE)
    if not text.endswith((b"]", b"}")):  # rather an option than a list or an object
        return None
    try:
        return _Input(text, msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _request(body: bytes) -> Body:
    """The members of a body. Raises `MalformedJSON` or `InvalidInput`."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedJSON(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise _too_deep() from None


def _misfit(error: msgspec.ValidationError) -> InvalidInput:
    """A body that is not what it must be, in one of its members or as a whole."""
    message, _, place = str(error).partition(" - at `$.")
    if place:
        name = place.rstrip("`")
        return InvalidInput(
            f"The body has a wrong {name}: {message}.",
            errors=[fault(["body", name], message, "body")],
        )
    options = ", ".join(name for name in Body.__struct_fields__ if name != "input")
    return InvalidInput(
        f'The body must be {{"input": ...}}, with nothing beside it but {options}: {error}.',
        errors=[fault(["body"], error, "body")],
    )


def _too_deep() -> InvalidInput:
    detail = f"nested more than {MAX_DEPTH} deep"
    return InvalidInput(f"The input is {detail}.", errors=[fault(["input"], detail, "depth")])
