"""What answers mean: values, errors, and troubles that may pass."""

from typing import Any, NamedTuple, TypeVar

import httpx2
import msgspec

from zypher.client.urls import proxy_to
from zypher.client.values import Model, Record, Status
from zypher.errors import PredictionError, Unreachable, prediction_errors

# What came of sending a request.
Reply = httpx2.Response | httpx2.TransportError

T = TypeVar("T")

_KINDS = {kind.code: kind for kind in prediction_errors()}

# Nothing of the request can have been received when one of these is raised.
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class Trouble(NamedTuple):
    """Why a request has no answer yet, which may pass.

    `is_refusal`: it was certainly not taken in. `is_full`: the server is there, but has no room.
    """

    error: PredictionError
    is_refusal: bool
    is_full: bool = False


def trouble_of(reply: Reply, url: str) -> Trouble | None:
    """The trouble with a reply; None for an answer, be it good or bad."""
    if isinstance(reply, httpx2.TransportError):
        return _lost(reply, url)
    if reply.status_code not in (429, 502, 503, 504):
        return None
    problem = _problem(reply)
    if problem is None:
        return None if reply.status_code == 429 else _broken_way(reply, url)
    if reply.status_code == 504:  # a clock of the prediction
        return None
    # What was taken in has an id, also where it then went wrong.
    is_refusal = "X-Prediction-Id" not in reply.headers
    return Trouble(problem.error(reply), is_refusal, reply.status_code == 429)


def _lost(error: httpx2.TransportError, url: str) -> Trouble:
    reason = str(error) or type(error).__name__
    if isinstance(error, _NOT_SENT):
        return Trouble(Unreachable(_nobody(url, reason)), is_refusal=True)
    if isinstance(error, httpx2.ReadTimeout):
        sentence = f"The server at {url} did not answer in time."
    else:
        sentence = f"The connection to {url} broke before the answer was there ({reason})."
    return Trouble(Unreachable(sentence, was_sent=True), is_refusal=False)


def _nobody(url: str, reason: str) -> str:
    proxy = proxy_to(url)
    if proxy is not None:
        return (
            f"No server can be reached at {url} through the proxy {proxy} ({reason}). "
            "Is the proxy right? Without one: put the host into NO_PROXY."
        )
    if url.startswith("https://") and "WRONG_VERSION_NUMBER" in reason:
        return f"The server at {url} does not speak https. Give its url with http://."
    return (
        f"No server can be reached at {url} ({reason}). "
        "Start one with `zypher serve`, or give the url of the one that you mean."
    )


def _broken_way(response: httpx2.Response, url: str) -> Trouble:
    sentence = f"Something on the way to {url} answered {_status_line(response)} in its place."
    return Trouble(Unreachable(sentence, was_sent=True), is_refusal=False)


class _Problem(msgspec.Struct):
    """Why a call was refused, or a prediction failed."""

    code: str
    detail: str
    errors: list[dict[str, Any]] | None = None

    def error(self, response: httpx2.Response) -> PredictionError:
        """The error that it stands for: of the class with its `code`, if there is one."""
        kind = _KINDS.get(self.code, PredictionError)
        error = kind(self.detail)
        error.code = self.code
        error.errors = self.errors or error.errors
        after = response.headers.get("Retry-After", "")
        error.retry_after = int(after) if after.isdigit() and after.isascii() else None
        return error


def _problem(response: httpx2.Response) -> _Problem | None:
    try:
        return msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def error_of(response: httpx2.Response) -> PredictionError:
    """The error that an answer tells of, or that it is none of a Zypher server."""
    problem = _problem(response)
    if problem is not None and not response.is_success:
        return problem.error(response)
    error = PredictionError(
        f"{response.url} answered {_status_line(response)}, but not as a Zypher server does. "
        "Is the url right?"
    )
    error.code = f"http_{response.status_code}"
    return error


def wrong_root(response: httpx2.Response, url: str, path: str) -> PredictionError:
    """The error when there is nothing at a path that every server has."""
    problem = _problem(response)
    if problem is None:
        return error_of(response)
    problem.detail = (
        f"There is no {path} at {url}. Is the url right? It must be the root of the server."
    )
    return problem.error(response)


def _status_line(response: httpx2.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


class _Answer(msgspec.Struct):
    result: Any


class _Accepted(msgspec.Struct):
    prediction_id: str


class _Outcome(msgspec.Struct):
    status: Status
    output: _Answer | None = None


class Page(msgspec.Struct):
    """A page of the list of predictions."""

    predictions: list[Record]
    cursor: str | None


class _Models(msgspec.Struct):
    models: list[Model]


def result(response: httpx2.Response) -> Any:
    """The result in a synchronous answer. Raises the error that it tells of."""
    return _decoded(response, _Answer).result


def accepted(response: httpx2.Response) -> str:
    """The id of what was taken in. Raises the error that the answer tells of."""
    return _decoded(response, _Accepted).prediction_id


def outcome(response: httpx2.Response) -> Any:
    """The result of a prediction that has ended. Raises the error that it failed with."""
    ended = _decoded(response, _Outcome)
    if ended.output is not None:
        return ended.output.result
    problem = _problem(response)
    raise error_of(response) if problem is None else problem.error(response)


def record(response: httpx2.Response) -> Record:
    """A whole record."""
    return _decoded(response, Record)


def page(response: httpx2.Response) -> Page:
    """A page of records."""
    return _decoded(response, Page)


def models(response: httpx2.Response) -> list[Model]:
    """The models, the default one first."""
    return _decoded(response, _Models).models


def readiness(response: httpx2.Response) -> dict[str, Any]:
    """How a server stands, which it tells with 503, too."""
    return _decoded(response, dict[str, Any], also=503)


def statistics(response: httpx2.Response) -> dict[str, Any]:
    """Numbers about each model."""
    return _decoded(response, dict[str, Any])


def _decoded(response: httpx2.Response, type: type[T], *, also: int | None = None) -> T:
    """An answer as a value. Raises the error that it tells of."""
    if response.is_success or (response.status_code == also and _problem(response) is None):
        try:
            return msgspec.json.decode(response.content, type=type)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    raise error_of(response)
