"""What `/openapi.json` says of each endpoint: its parameters, its answers, an example."""

from typing import Any

from zypher.prediction import Status
from zypher.server.problems import STATUS

Schema = dict[str, Any]

ID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
_EXAMPLE_ID = "01935b2c-8d1e-7b6a-9c3f-2f6d5a1e8b47"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(
    description: str, schema: Schema, media_type: str = "application/json", example: Any = None
) -> Schema:
    content = {"schema": schema} | ({} if example is None else {"example": example})
    return {"description": description, "content": {media_type: content}}


def problem_answer(description: str) -> Schema:
    """An answer that is a problem."""
    return _body(description, ref("Problem"), "application/problem+json")


def _problems(**descriptions: str) -> dict[int | str, Any]:
    """The answers for these codes, described; and those that every endpoint has."""
    everywhere = {
        "forbidden": "The `Host` is not one of this server's.",
        "internal": "The model or the server failed; `code` says how.",
        "unavailable": "The server starts or stops, or cannot reach its queue.",
    }
    return {
        STATUS[code]: problem_answer(text) for code, text in (everywhere | descriptions).items()
    }


def _in_path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _in_header(name: str, description: str, schema: Schema = TEXT) -> Schema:
    return {"name": name, "in": "header", "schema": schema, "description": description}


def _header(description: str, schema: Schema = TEXT) -> Schema:
    return {"description": description, "schema": schema}


_ID = _in_path("id", ID)
_ASYNC_MODE = _in_header(
    "Async-Mode",
    "`true`: answer 202 with a `prediction_id` at once. Beats `Prefer`.",
    {"type": "boolean"},
)
_PREFER = _in_header(
    "Prefer", "RFC 7240. `respond-async`: do not wait. `wait=N`: wait at most N seconds."
)
_IDEMPOTENCY_KEY = _in_header(
    "Idempotency-Key",
    "Repeats of a request with the same key are one prediction, for a day at least.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
_CANCEL_AFTER = _in_header(
    "Cancel-After",
    "A `deadline`, as in `90s`; units are ms, s, m and h.",
    {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,12})?(ms|s|m|h)?$"},
)
_LAST_EVENT_ID = _in_header("Last-Event-ID", "Go on behind the event with this id.")
_SECONDS = {"type": "integer", "minimum": 1}
_ID_HEADER = {"X-Prediction-Id": _header("The id of the prediction.", ID)}
_ACCEPTED = _body(
    "Accepted: the run goes on by itself.",
    ref("Accepted"),
    example={
        "message": "Request received. Processing asynchronously.",
        "prediction_id": _EXAMPLE_ID,
    },
) | {
    "headers": {
        "Location": _header("Where to ask for the result."),
        "Retry-After": _header("Seconds until it is likely to be finished.", _SECONDS),
        **_ID_HEADER,
    }
}
_EVENT_STREAM = {
    "text/event-stream": {
        "schema": TEXT,
        "example": 'event: progress\ndata: {"fraction": 0.5}\nid: 1-3\n\n',
    }
}
_SERVER_EVENTS = {
    "text/event-stream": {
        "schema": TEXT,
        "example": 'event: away\ndata: {"status":"failing","degraded":["Redis is away."]}\n\n',
    }
}
_UNKNOWN = "There is no such prediction, or it has expired."
_RECORD = {
    "prediction_id": _EXAMPLE_ID,
    "model": "mock",
    "status": "queued",
    "priority": "normal",
    "options": {"deadline": 90.0},
    "attempt": 0,
    "crashes": 0,
    "retried": 0,
    "created": "2026-11-21T12:00:00.000Z",
    "input": "hi",
    "queue_position": 3,
    "estimated_wait": 12.5,
}


def _predict_responses() -> dict[int | str, Any]:
    answer = _body("The result; or, if `Accept` prefers them, the events.", ref("Answer"))
    answer["content"] |= _EVENT_STREAM
    return {
        200: answer | {"headers": _ID_HEADER},
        202: _ACCEPTED,
        **_problems(
            malformed_json="The body is not JSON, or a header has an unknown value.",
            not_found="There is no such model; or the prediction was deleted meanwhile.",
            not_acceptable="`Accept` takes neither JSON nor events.",
            canceled="Somebody canceled the prediction meanwhile.",
            payload_too_large="The body is too large.",
            unsupported_media_type="The body is not declared as JSON.",
            invalid_input="The input or an option is not as it must be (`errors` says where), or "
            "the idempotency key was used for another request.",
            queue_full="Too many predictions wait, or it could not be done within its "
            "`queue_timeout` or `deadline`; try again after `Retry-After` seconds.",
            deadline="It was not started, or not done, within one of its times; `code` says which.",
        ),
    }


PREDICT: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Run the model on an input",
    "description": (
        "Answers with the result; or, with `Async-Mode: true`, at once with a `prediction_id` "
        "to ask for it. A synchronous call that is not done in time becomes a 202 as well, and "
        "the same run goes on. With `Accept: text/event-stream`, the events of the run."
    ),
    "responses": _predict_responses(),
    "openapi_extra": {
        "parameters": [_ASYNC_MODE, _PREFER, _IDEMPOTENCY_KEY, _CANCEL_AFTER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("Request")}},
        },
    },
}
POLL: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Ask for a prediction",
    "responses": {
        200: _body("It has ended.", ref("Ended")),
        202: _body("It has not ended yet.", ref("Unfinished")),
        **_problems(not_found=_UNKNOWN),
    },
    "openapi_extra": {"parameters": [_ID, _PREFER]},
}
LIST: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "List predictions, the newest first",
    "description": "All that were kept: asynchronous ones, those with a key, and those that "
    "became a 202. Without inputs and results.",
    "responses": {
        200: _body(
            "One page.",
            ref("Page"),
            example={
                "predictions": [
                    {
                        name: value
                        for name, value in _RECORD.items()
                        if name not in ("input", "queue_position", "estimated_wait")
                    }
                ],
                "cursor": "MDE5MzViMmMtOGQxZS03YjZhLTljM2YtMmY2ZDVhMWU4YjQ3",
            },
        ),
        **_problems(invalid_input="A parameter has a wrong value."),
    },
    "openapi_extra": {
        "parameters": [
            _in_query("status", {"enum": list(Status)}, "Those of this status alone."),
            _in_query("model", TEXT, "Those of this model alone."),
            _in_query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
                "How many at most.",
            ),
            _in_query("cursor", TEXT, "The `cursor` of the page before."),
        ]
    },
}
GET: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "The whole record of a prediction",
    "responses": {
        200: _body("The record.", ref("Record"), example=_RECORD),
        **_problems(not_found=_UNKNOWN),
    },
    "openapi_extra": {"parameters": [_ID]},
}
DELETE: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Forget a prediction that has ended",
    "status_code": 204,
    "responses": {
        204: {"description": "It is forgotten."},
        **_problems(not_found=_UNKNOWN, conflict="It has not ended yet: cancel it first."),
    },
    "openapi_extra": {"parameters": [_ID]},
}
EVENTS: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Follow a prediction",
    "description": "Server-sent events until it has ended: `status`, `progress`, `output`, `log`, "
    "and `reset` when what came before counts no more.",
    "responses": {
        200: {"description": "The events, as they happen.", "content": _EVENT_STREAM},
        204: {"description": "It has ended, and `Last-Event-ID` says that this is known."},
        **_problems(not_found=_UNKNOWN),
    },
    "openapi_extra": {"parameters": [_ID, _LAST_EVENT_ID]},
}
CANCEL: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Cancel a prediction",
    "responses": {
        200: _body("It is canceled.", ref("Record"), example=_RECORD | {"status": "canceled"}),
        **_problems(not_found=_UNKNOWN, conflict="It has ended already."),
    },
    "openapi_extra": {"parameters": [_ID]},
}
RETRY: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Run the input of a prediction once more",
    "description": "A new prediction of the same input with the same options; its `retry_of` "
    "names the old one.",
    "status_code": 202,
    "responses": {
        202: _ACCEPTED,
        **_problems(
            not_found="There is no such prediction, or its model is not served any more.",
            conflict="It has not ended yet.",
            malformed_json="A header has an unknown value.",
            invalid_input="The model does not take this input any more, or the idempotency key was "
            "used for another request.",
            queue_full="Too many predictions wait; try again after `Retry-After` seconds.",
        ),
    },
    "openapi_extra": {"parameters": [_ID, _IDEMPOTENCY_KEY]},
}
MODELS: dict[str, Any] = {
    "tags": ["Models"],
    "summary": "The models that are served, the default first",
    "responses": _problems(),
}
MODEL: dict[str, Any] = {
    "tags": ["Models"],
    "summary": "One model and the schemas of its input and result",
    "responses": _problems(not_found="There is no such model."),
    "openapi_extra": {"parameters": [_in_path("name", TEXT)]},
}
STATS: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "The queues, the replicas and the workers",
    "responses": {200: _body("How they stand.", ref("Stats")), **_problems()},
}
METRICS: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "Metrics for Prometheus",
    "description": "What this node has counted since its start, and how the queues of all nodes "
    "stand now; the latter is left out while the queue cannot be reached.",
    "responses": {
        200: {
            "description": "In the format that `Accept` asks for.",
            "content": {
                "text/plain": {"schema": TEXT},
                "application/openmetrics-text": {"schema": TEXT},
            },
        },
        **_problems(),
    },
}
LIVE: dict[str, Any] = {
    "name": "server_events",
    "tags": ["Server"],
    "summary": "Follow the whole server",
    "description": "Server-sent events until the server stops: `stats` about once a second, "
    "`predictions` when they change, `history` at the beginning and each `sample` behind it, and "
    "`away` while the queue cannot be reached.",
    "responses": {
        200: {"description": "The events, as they happen.", "content": _SERVER_EVENTS},
        **_problems(),
    },
}
ROOT: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "A welcome",
    "description": "A browser, which accepts HTML, gets the page.",
    "responses": {
        200: {
            "description": "A few words, or the page.",
            "content": {"application/json": {"schema": {}}, "text/html": {"schema": TEXT}},
        },
        **_problems(),
    },
}
LIVEZ: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "Is the process alive?",
    "responses": _problems(),
}
READYZ: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "Can this node serve?",
    "responses": _problems() | {503: _body("Not now: `status` and `degraded` say why.", {})},
}
