"""The API's description (OpenAPI 3.1): the operations, completed with the models' types."""

import copy
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from zypher.brokers.base import ModelInfo
from zypher.prediction import Status
from zypher.server.gate import OPEN
from zypher.server.operations import ID, TEXT, Schema, problem_answer, ref
from zypher.server.options import Body
from zypher.server.problems import STATUS

PACKAGE_VERSION = version("zypher")


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


_NUMBER: Schema = {"type": "number", "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "string", "format": "date-time"}
_REPLICAS = _object(
    "ready starting slots failure",
    ready=_COUNT,
    starting=_COUNT,
    slots=_COUNT,
    failure={"type": ["string", "null"]},
)
_PRIORITY: Schema = {"enum": ["high", "normal", "low"]}


def _options() -> dict[str, Schema]:
    """The schemas of what may stand beside `input`."""
    properties: dict[str, Schema] = msgspec.json.schema(Body)["$defs"]["Body"]["properties"]
    return {name: schema for name, schema in properties.items() if name != "input"}


_SUMMARY: dict[str, Schema] = {
    "prediction_id": ID,
    "model": TEXT,
    "status": {"enum": list(Status)},
    "owner": TEXT,
    "priority": _PRIORITY,
    "options": {"type": "object"},
    "attempt": _COUNT,
    "crashes": _COUNT,
    "retried": _COUNT,
    "created": _TIME,
    "started": _TIME,
    "finished": _TIME,
    "expires": _TIME,
    "traceparent": TEXT,
    "retry_of": ID,
    "error": TEXT,
    "detail": TEXT,
    "code": {"enum": list(STATUS)},
    "errors": {"type": "array"},
}
_ALWAYS = "prediction_id model status priority options attempt crashes retried created"

_SCHEMAS: dict[str, Schema] = {
    "Summary": _object(_ALWAYS, **_SUMMARY),
    "Record": _object(
        f"{_ALWAYS} input",
        **_SUMMARY,
        input={},
        result={},
        log={"type": "array", "items": TEXT},
        queue_position=_COUNT,
        estimated_wait=_NUMBER,
        progress={},
        logs={"type": "array", "maxItems": 20},
    ),
    "Page": _object(
        "predictions cursor",
        predictions={"type": "array", "items": ref("Summary"), "maxItems": 200},
        cursor={"type": ["string", "null"]},
    ),
    "Stats": _object(
        "models workers",
        models={"type": "object", "additionalProperties": ref("ModelStats")},
        workers={
            "type": "array",
            "items": _object(
                "id host pid stale_outcomes replicas",
                id=TEXT,
                host=TEXT,
                pid=_COUNT,
                stale_outcomes=_COUNT,
                replicas={"type": "object", "additionalProperties": _REPLICAS},
            ),
        },
    ),
    "ModelStats": _object(
        "queued queued_bytes waiting paused refused processing oldest_queued_age "
        "oldest_processing_age service_time completed failed canceled retried crashes rate "
        "replicas",
        queued=_COUNT,
        queued_bytes=_COUNT,
        waiting=_object("high normal low", high=_COUNT, normal=_COUNT, low=_COUNT),
        paused=_COUNT,
        refused=_COUNT,
        processing=_COUNT,
        oldest_queued_age=_NUMBER,
        oldest_processing_age=_NUMBER,
        service_time={"type": ["number", "null"]},
        completed=_COUNT,
        failed=_COUNT,
        canceled=_COUNT,
        retried=_COUNT,
        crashes=_COUNT,
        rate=_NUMBER,
        replicas=_REPLICAS,
    ),
    "Accepted": _object("message prediction_id", message=TEXT, prediction_id=ID),
    "Unfinished": _object(
        "prediction_id status error detail",
        prediction_id=ID,
        status={"enum": [Status.QUEUED, Status.PROCESSING]},
        error=TEXT,
        detail=TEXT,
    ),
    "Ended": _object(
        "prediction_id status",
        prediction_id=ID,
        status={"enum": [Status.COMPLETED, Status.FAILED, Status.CANCELED]},
        output=_object("input result", input={}, result={}),
        error=TEXT,
        detail=TEXT,
        code={"enum": list(STATUS)},
    ),
    "Problem": _object(
        "type title status detail code error",
        type=TEXT,
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        code={"enum": list(STATUS)},
        error=TEXT,
        errors={
            "type": "array",
            "items": _object("loc msg type", loc={"type": "array"}, msg=TEXT, type=TEXT),
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


_KEY_SCHEMES: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}


def require_keys(described: dict[str, Any]) -> None:
    """Say in a document that its endpoints need an API key, but for those that are open."""
    described["components"]["securitySchemes"] = _KEY_SCHEMES
    described["security"] = [{name: []} for name in _KEY_SCHEMES]
    for path, operations in described["paths"].items():
        for operation in operations.values():
            if path in OPEN and path != "/":
                operation["security"] = []
            else:
                answers = operation["responses"]
                answers["401"] = problem_answer("There is no API key, or none that is known.")
                answers.setdefault("429", problem_answer("More requests than the key may make."))


def _model_schemas(model: ModelInfo, suffix: str) -> dict[str, Schema]:
    """The schemas of a model's requests and answers, and of the types that they name."""
    input, types = _hoisted(model.input_schema, model.name)
    result, more_types = _hoisted(model.output_schema or {}, f"{model.name}.result")
    return {
        **types,
        **more_types,
        f"Request{suffix}": _object("input", input=input, **_options())
        | {"additionalProperties": False},
        f"Answer{suffix}": _object("input result", input=input, result=result),
    }


def _hoisted(schema: Schema, name: str) -> tuple[Schema, dict[str, Schema]]:
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
    content["schema"] = ref(f"Request.{name}")
    operation["responses"]["200"]["content"]["application/json"]["schema"] = ref(f"Answer.{name}")
    return path
