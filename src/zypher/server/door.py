"""The door: what a request must be before it becomes a prediction.

Nothing behind the door meets malformed input: one decoder, one JSON Schema validator
(of the model's own signature), and bounds on size and depth.
"""

from typing import Any, NamedTuple

import msgspec
from fastapi import Request

from zypher.brokers.base import ModelInfo
from zypher.errors import (
    InvalidHeader,
    InvalidInput,
    MalformedJSON,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from zypher.server.validation import Validator, fault

MAX_DEPTH = 100


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a prediction request. An unknown member is an error, never ignored."""

    input: msgspec.Raw
    webhook: str | None = None


class Admitted(NamedTuple):
    """What a request asks for: the raw `input`, and what it says beside it."""

    input: bytes
    webhook: str | None


_decoder = msgspec.json.Decoder(Body)


class Door:
    """Reads requests and refuses the bad ones; `max_body_size` in bytes."""

    def __init__(self, max_body_size: int) -> None:
        self._max_body_size = max_body_size
        self._validators: dict[str, Validator] = {}

    async def read(self, request: Request) -> bytes:
        """The body of a request that declares itself as JSON.

        Raises `UnsupportedMediaType`, `InvalidHeader` or `PayloadTooLarge`. To insist on the
        content type is what keeps other sites' pages from posting here: a browser asks first
        before it sends JSON across origins.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(
                "The body must be JSON: send it with the header Content-Type: application/json."
            )
        if "upgrade" in request.headers:  # its body is lost in the parser
            raise InvalidHeader(
                "This server speaks HTTP/1.1 alone: send the request without an Upgrade header "
                "(with curl, --http1.1)."
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("The body must be sent without a Content-Encoding.")
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_body_size:
            raise self._too_large()
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body_size:
                raise self._too_large()
        return bytes(body)

    def admit(self, body: bytes, model: ModelInfo) -> Admitted:
        """What a body asks for, if this model can take it.

        Raises `MalformedJSON` or `InvalidInput`.
        """
        try:
            request = _request(body)
            value = msgspec.json.decode(request.input)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                f"The input has a value out of bounds: {error}.",
                errors=[fault(["input"], error, "bounds")],
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedJSON(f"The body is not JSON: {error}.") from None
        except RecursionError:
            raise _too_deep() from None
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
            raise _too_deep()
        validator = self._validator(model)
        if not validator.takes(value):
            raise self._refusal(model, validator.errors(value, len(request.input)))
        return Admitted(bytes(request.input), request.webhook)

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


def _request(body: bytes) -> Body:
    """The members of a body."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f'The body must be {{"input": ...}}, with nothing but "webhook" beside it: {error}.',
            errors=[fault(["body"], error, "body")],
        ) from None


def is_deeper(value: Any, depth: int) -> bool:
    """True if lists and objects are nested in `value` more than `depth` deep."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for parent in level
            if isinstance(parent, list | dict)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
    return bool(level)


def _too_deep() -> InvalidInput:
    detail = f"nested more than {MAX_DEPTH} deep"
    return InvalidInput(f"The input is {detail}.", errors=[fault(["input"], detail, "depth")])
