"""Errors as HTTP answers: problem details (RFC 9457), and the one table from code to status."""

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Response

from zypher.errors import PredictionError, Unauthorized
from zypher.server.answers import JSONText

STATUS = {
    "malformed_request": 400,
    "malformed_json": 400,
    "invalid_header": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "request_timeout": 408,
    "conflict": 409,
    "canceled": 409,
    "payload_too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "invalid_input": 422,
    "idempotency_mismatch": 422,
    "queue_full": 429,
    "rate_limited": 429,
    "header_too_large": 431,
    "model_error": 500,
    "model_crashed": 500,
    "invalid_output": 500,
    "result_too_large": 500,
    "internal": 500,
    "unavailable": 503,
    "storage_full": 503,
    "run_timeout": 504,
    "queue_timeout": 504,
    "deadline": 504,
}


def problem(
    code: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer for an error: `type, title, status, detail, code`, and `error` = `detail`."""
    status = STATUS[code]
    body: dict[str, Any] = {
        "type": f"urn:problem-type:zypher:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "error": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return JSONText(
        msgspec.json.encode(body),
        status_code=status,
        headers=headers,
        media_type=b"application/problem+json",
    )


def fault() -> Response:
    """The answer for a fault of ours, which it hides."""
    return problem("internal", "A fault of the server: its log says more.")


def problem_of(error: PredictionError) -> Response:
    """The answer for an error that was raised."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 §11.6.1 wants one
    return problem(error.code, str(error), errors=error.errors, headers=headers)


def problem_with_id(error: PredictionError, id: str) -> Response:
    """The answer for an error of what may run: a refusal has no id."""
    response = problem_of(error)
    response.headers["X-Prediction-Id"] = id
    return response
