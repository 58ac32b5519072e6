"""The API's description (OpenAPI 3.1): written once here, and completed with the models' types."""

import copy
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from zypher.brokers.base import ModelInfo
from zypher.prediction import Status
from zypher.server.problems import STATUS

PACKAGE_VERSION = version("zypher")

_Schema = dict[str, Any]


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(description: str, schema: _Schema, media_type: str = "application/json") -> _Schema:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(**descriptions: str) -> dict[int | str, Any]:
    """The answers for these codes, described."""
    return {
        STATUS[code]: _body(text, _ref("Problem"), "application/problem+json")
        for code, text in descriptions.items()
    }


_PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "description": "RFC 7240. `respond-async`: do not wait. `wait=N`: wait at most N seconds.",
}
_ASYNC_MODE = {
    "name": "Async-Mode",
    "in": "header",
    "schema": {"type": "boolean"},
    "description": "`true`: answer 202 with a `prediction_id` at once. Beats `Prefer`.",
}

_ID: _Schema = {"type": "string", "format": "uuid"}
_TEXT: _Schema = {"type": "string"}


def _in_path(name: str, schema: _Schema) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


PREDICT: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Run the model on an input",
    "description": (
        "Answers with the result; or, with `Async-Mode: true`, at once with a `prediction_id` "
        "to ask for it. A synchronous call that is not done in time becomes a 202 as well, and "
        "the same run goes on."
    ),
    "responses": {
        200: _body("The result.", _ref("Answer")),
        202: _body("Accepted: the run goes on by itself.", _ref("Accepted"))
        | {
            "headers": {
                "Location": {
                    "schema": {"type": "string"},
                    "description": "Where to ask for the result.",
                },
                "Retry-After": {
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Seconds until it is likely to be finished.",
                },
            }
        },
        **_problems(
            malformed_json="The body is not JSON, or a header has an unknown value.",
            canceled="Somebody canceled the prediction meanwhile.",
            payload_too_large="The body is too large.",
            unsupported_media_type="The body is not declared as JSON.",
            invalid_input="The input is not what the model takes; `errors` says where.",
            queue_full="Too many predictions wait; try again after `Retry-After` seconds.",
            model_error="The model failed; `code` says how.",
            unavailable="The server starts or stops.",
        ),
    },
    "openapi_extra": {
        "parameters": [_ASYNC_MODE, _PREFER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Request")}},
        },
    },
}
POLL: dict[str, Any] = {
    "tags": ["Predictions"],
    "summary": "Ask for a prediction",
    "responses": {
        200: _body("It has ended.", _ref("Ended")),
        202: _body("It has not ended yet.", _ref("Unfinished")),
        **_problems(not_found="There is no such prediction, or it has expired."),
    },
    "openapi_extra": {"parameters": [_in_path("id", _ID), _PREFER]},
}
MODELS: dict[str, Any] = {
    "tags": ["Models"],
    "summary": "The models that are served, the default first",
}
MODEL: dict[str, Any] = {
    "tags": ["Models"],
    "summary": "One model and the schemas of its input and result",
    "responses": _problems(not_found="There is no such model."),
    "openapi_extra": {"parameters": [_in_path("name", _TEXT)]},
}
ROOT: dict[str, Any] = {"tags": ["Server"], "summary": "A welcome"}
LIVEZ: dict[str, Any] = {"tags": ["Server"], "summary": "Is the process alive?"}
READYZ: dict[str, Any] = {
    "tags": ["Server"],
    "summary": "Can this node serve?",
    "responses": {503: {"description": "Not now: `status` and `degraded` say why."}},
}


def _object(required: str, **properties: _Schema) -> _Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


_SCHEMAS: dict[str, _Schema] = {
    "Accepted": _object("message prediction_id", message=_TEXT, prediction_id=_ID),
    "Unfinished": _object(
        "prediction_id status error detail",
        prediction_id=_ID,
        status={"enum": [Status.QUEUED, Status.PROCESSING]},
        error=_TEXT,
        detail=_TEXT,
    ),
    "Ended": _object(
        "prediction_id status",
        prediction_id=_ID,
        status={"enum": [Status.COMPLETED, Status.FAILED, Status.CANCELED]},
        output=_object("input result", input={}, result={}),
        error=_TEXT,
        detail=_TEXT,
        code={"enum": list(STATUS)},
    ),
    "Problem": _object(
        "type title status detail code error",
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        code={"enum": list(STATUS)},
        error=_TEXT,
        errors={
            "type": "array",
            "items": _object("loc msg type", loc={"type": "array"}, msg=_TEXT, type=_TEXT),
        },
    ),
}


def title(models: Mapping[str, ModelInfo]) -> str:
    """What the API is called: after its default model."""
    name = next(iter(models), "zypher").replace("_", " ").replace("-", " ")
    return f"{name.title()} Model API"


def document(router: APIRouter, models: Mapping[str, ModelInfo], prefix: str) -> dict[str, Any]:
    """The OpenAPI document of this router's endpoints, for these models, under this prefix."""
    described = get_openapi(
        title=title(models),
        version=PACKAGE_VERSION,
        description=next((model.description for model in models.values()), ""),
        routes=router.routes,
        servers=[{"url": prefix or "/"}],
    )
    paths: dict[str, Any] = described["paths"]
    schemas: dict[str, Any] = described.setdefault("components", {}).setdefault("schemas", {})
    schemas |= _SCHEMAS
    template = paths.pop("/models/{name}/predict")
    for position, model in enumerate(models.values()):
        if position == 0:
            schemas |= _model_schemas(model, "")
        schemas |= _model_schemas(model, f".{model.name}")
        paths[f"/models/{model.name}/predict"] = _own_path(template, model.name)
    return described


def _model_schemas(model: ModelInfo, suffix: str) -> dict[str, _Schema]:
    """The schemas of a model's requests and answers, and of the types that they name."""
    input, types = _hoisted(model.input_schema, model.name)
    result, more_types = _hoisted(model.output_schema or {}, f"{model.name}.result")
    return {
        **types,
        **more_types,
        f"Request{suffix}": _object("input", input=input) | {"additionalProperties": False},
        f"Answer{suffix}": _object("input result", input=input, result=result),
    }


def _hoisted(schema: _Schema, name: str) -> tuple[_Schema, dict[str, _Schema]]:
    """A schema without its `$defs`, and those as components of their own."""

    def move(reference: str) -> str:
        return reference.replace("#/$defs/", f"#/components/schemas/{name}.", 1)

    def rename(node: Any) -> Any:
        if isinstance(node, list):
            return [rename(child) for child in node]
        if not isinstance(node, dict):
            return node
        renamed = {key: rename(child) for key, child in node.items()}
        if isinstance(node.get("$ref"), str):
            renamed["$ref"] = move(node["$ref"])
        if isinstance(node.get("discriminator"), dict):
            mapping = node["discriminator"].get("mapping", {})
            renamed["discriminator"]["mapping"] = {key: move(mapping[key]) for key in mapping}
        return renamed

    renamed = rename({key: value for key, value in schema.items() if key != "$defs"})
    types = rename(schema.get("$defs", {}))
    return renamed, {f"{name}.{local}": type for local, type in types.items()}


def _own_path(template: dict[str, Any], name: str) -> dict[str, Any]:
    """The path of one model, from the one that stands for all."""
    path = copy.deepcopy(template)
    operation = path["post"]
    operation["summary"] = f"Run {name} on an input"
    operation["operationId"] = f"predict_{name}"
    content = operation["requestBody"]["content"]["application/json"]
    content["schema"] = _ref(f"Request.{name}")
    operation["responses"]["200"]["content"]["application/json"]["schema"] = _ref(f"Answer.{name}")
    return path
