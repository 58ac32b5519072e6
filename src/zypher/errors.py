"""Every error that Zypher raises on purpose.

    ZypherError
    ├── ConfigurationError            a wrong setting; the program does not start
    │   └── ModelLoadError            the model's file, import, signature or setup()
    ├── WaitTimeout                   the client's `timeout` is over; a TimeoutError, too
    └── PredictionError               a request or a prediction that could not be served
        ├── MalformedRequest          malformed_request
        ├── MalformedJSON             malformed_json
        ├── InvalidHeader             invalid_header
        ├── Unauthorized              unauthorized
        ├── Forbidden                 forbidden
        ├── NotFound                  not_found
        ├── MethodNotAllowed          method_not_allowed
        ├── NotAcceptable             not_acceptable
        ├── RequestTimeout            request_timeout
        ├── PayloadTooLarge           payload_too_large
        ├── URITooLong                uri_too_long
        ├── HeaderTooLarge            header_too_large
        ├── UnsupportedMediaType      unsupported_media_type
        ├── Conflict                  conflict
        ├── Canceled                  canceled
        ├── InvalidInput              invalid_input
        ├── IdempotencyMismatch       idempotency_mismatch
        ├── QueueFull                 queue_full
        ├── RateLimited               rate_limited
        ├── ModelError                model_error
        ├── ModelCrashed              model_crashed
        ├── InvalidOutput             invalid_output
        ├── ResultTooLarge            result_too_large
        ├── QueueTimeout              queue_timeout
        ├── RunTimeout                run_timeout
        ├── DeadlineExceeded          deadline
        ├── Unavailable               unavailable
        │   └── Unreachable           the same, where no answer has come
        ├── StorageFull               storage_full
        └── Internal                  internal

The message of an error is one sentence for a person: what happened and what to do.
A `PredictionError` also has a stable `code` for programs. The HTTP status of a code
is not known here: that is the server's table (`zypher.server.problems`).
"""

from collections.abc import Iterator
from typing import Any


class ZypherError(Exception):
    """The base of all errors that Zypher raises on purpose."""


class ConfigurationError(ZypherError):
    """A setting, a file or an argument is wrong, and the program cannot start with it."""


class ModelLoadError(ConfigurationError):
    """A model cannot be served.

    `traceback` holds the lines of the user's own code that led here, when it was their
    code that raised; None when the sentence alone says it all.
    """

    def __init__(self, message: str, *, traceback: str | None = None) -> None:
        super().__init__(message)
        self.traceback = traceback

    @property
    def report(self) -> str:
        """The traceback, if there is one, and the sentence below it."""
        return f"{self.traceback}\n{self}" if self.traceback else str(self)


class WaitTimeout(ZypherError, TimeoutError):
    """A client has waited for a result as long as its `timeout` says.

    `id`: which prediction it was; None if the server has told none.
    """

    def __init__(self, message: str, *, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


class PredictionError(ZypherError):
    """A request was refused or a prediction failed, for the reason that `code` names.

    `errors` lists the places in the input that are wrong, each `{"loc", "msg", "type"}`.
    `retry_after` is the number of seconds after which a repeat may succeed.
    """

    code: str

    def __init__(
        self,
        message: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.errors = errors
        self.retry_after = retry_after


class MalformedRequest(PredictionError):
    """What was sent is not HTTP, or can be understood in more than one way."""

    code = "malformed_request"


class MalformedJSON(PredictionError):
    """The request's body is not JSON."""

    code = "malformed_json"


class InvalidHeader(PredictionError):
    """A header has a value that this server does not understand."""

    code = "invalid_header"


class Unauthorized(PredictionError):
    """The request has no API key, or none that the server knows."""

    code = "unauthorized"


class Forbidden(PredictionError):
    """The request may not be made from there."""

    code = "forbidden"


class NotFound(PredictionError):
    """There is nothing at this path or under this id."""

    code = "not_found"


class MethodNotAllowed(PredictionError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"


class NotAcceptable(PredictionError):
    """The answer cannot be in any form that the request accepts."""

    code = "not_acceptable"


class RequestTimeout(PredictionError):
    """The request was sent too slowly."""

    code = "request_timeout"


class URITooLong(PredictionError):
    """The request's path and query are longer than the server reads."""

    code = "uri_too_long"


class HeaderTooLarge(PredictionError):
    """The request has more headers, or larger ones, than the server reads."""

    code = "header_too_large"


class PayloadTooLarge(PredictionError):
    """The request's body is larger than `max-body-size`."""

    code = "payload_too_large"


class UnsupportedMediaType(PredictionError):
    """The request's body is not declared as JSON."""

    code = "unsupported_media_type"


class Conflict(PredictionError):
    """The prediction is in a state that does not allow this."""

    code = "conflict"


class Canceled(PredictionError):
    """Somebody canceled the prediction that this caller waited for."""

    code = "canceled"


class InvalidInput(PredictionError):
    """The input is not what the model takes. Without `errors`, the whole input is meant."""

    code = "invalid_input"
    errors: list[dict[str, Any]]

    def __init__(self, message: str, *, errors: list[dict[str, Any]] | None = None) -> None:
        whole = [{"loc": ["input"], "msg": message, "type": "invalid"}]
        super().__init__(message, errors=errors or whole)


class IdempotencyMismatch(PredictionError):
    """The idempotency key belongs to another input."""

    code = "idempotency_mismatch"


class QueueFull(PredictionError):
    """As many predictions wait as the settings allow, in all or of this API key."""

    code = "queue_full"


class RateLimited(PredictionError):
    """The API key makes more requests than its `rate` allows."""

    code = "rate_limited"


class ModelError(PredictionError):
    """The model raised an exception."""

    code = "model_error"


class ModelCrashed(PredictionError):
    """The model's process died, again and again, while it ran this prediction."""

    code = "model_crashed"


class InvalidOutput(PredictionError):
    """The model returned something that JSON cannot carry."""

    code = "invalid_output"


class ResultTooLarge(PredictionError):
    """The model returned more than `max-result-size`."""

    code = "result_too_large"


class QueueTimeout(PredictionError):
    """The prediction was not started within its `queue_timeout`."""

    code = "queue_timeout"


class RunTimeout(PredictionError):
    """The prediction ran longer than its `run_timeout`."""

    code = "run_timeout"


class DeadlineExceeded(PredictionError):
    """The prediction was not finished within its `deadline`."""

    code = "deadline"


class Unavailable(PredictionError):
    """The server cannot take or finish this now: it starts, it stops or it lost its broker."""

    code = "unavailable"


class Unreachable(Unavailable):
    """No answer came from a server: nobody listens there, or the connection broke.

    `was_sent`: the request may have been received, and what it asked for may be done.
    """

    def __init__(self, message: str, *, was_sent: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class StorageFull(PredictionError):
    """The disk under the queue is full: nothing can be accepted asynchronously."""

    code = "storage_full"


class Internal(PredictionError):
    """A fault of Zypher itself."""

    code = "internal"


def prediction_errors() -> Iterator[type[PredictionError]]:
    """All kinds of `PredictionError`, each with its `code`."""
    yield from PredictionError.__subclasses__()
