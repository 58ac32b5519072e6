"""/openapi.json describes what the endpoints do: every answer is one of those that it names."""

import asyncio
from typing import Any

import httpx2
import pytest
from jsonschema_rs import Draft202012Validator

from tests.server.service import EVENTS, Call, Service
from zypher.prediction import new_id

pytestmark = pytest.mark.anyio

ASYNC = {"Async-Mode": "true"}
KEY = {"Idempotency-Key": "k"}


class Description:
    """The API's description, and the operations of which an answer was compared with it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.compared: set[tuple[str, str]] = set()

    @property
    def operations(self) -> set[tuple[str, str]]:
        """All that are described, by method and path."""
        paths = self._document["paths"].items()
        return {(method.upper(), path) for path, methods in paths for method in methods}

    def compare(self, method: str, template: str, response: httpx2.Response) -> None:
        """The status, media type, headers and body are as they are described."""
        self.compared.add((method, template))
        responses = self._document["paths"][template][method.lower()]["responses"]
        described = responses[str(response.status_code)]
        for name, header in described.get("headers", {}).items():
            assert name in response.headers, f"{response.status_code} has no {name}"
            if header["schema"]["type"] == "integer":
                assert int(response.headers[name]) >= header["schema"]["minimum"]
        content = described.get("content")
        if content is None:
            assert response.content == b""
            return
        media_type = response.headers["Content-Type"].partition(";")[0]
        assert media_type in content
        if media_type.endswith("json"):
            self.validator(content[media_type]["schema"]).validate(response.json())

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """What checks JSON against a schema of the description."""
        components = self._document["components"]
        return Draft202012Validator({**schema, "components": components}, validate_formats=True)

    def examples(self) -> list[tuple[dict[str, Any], Any]]:
        """All examples of JSON answers, with their schemas."""
        return [
            (content["schema"], content["example"])
            for methods in self._document["paths"].values()
            for operation in methods.values()
            for response in operation["responses"].values()
            for media_type, content in response.get("content", {}).items()
            if media_type == "application/json" and "example" in content
        ]


@pytest.fixture
async def description(service: Service) -> Description:
    return Description((await service.client.get("/openapi.json")).json())


async def test_every_operation_answers_as_it_is_described(
    service: Service, description: Description
) -> None:
    async def ask(
        method: str, template: str, status: int, id: str = "", **more: Any
    ) -> httpx2.Response:
        path = template.replace("{id}", id).replace("{name}", id)
        response = await service.client.request(method, path, **more)
        assert response.status_code == status, response.text
        description.compare(method, template, response)
        return response

    async def post(status: int, body: object, **headers: str) -> httpx2.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask("POST", "/predict", status, json=body, headers=names)

    good = {"input": "x"}

    # While a caller waits.
    for path in ("/predict", "/models/m/predict"):
        calling = asyncio.create_task(ask("POST", path, 200, json=good))
        await service.run()
        await calling
    streaming = asyncio.create_task(post(200, good, **EVENTS))
    await service.run()
    await streaming
    calling = asyncio.create_task(post(500, good))
    await service.fail((await service.claim()).claim)
    await calling
    calling = asyncio.create_task(post(409, good))
    await ask("POST", "/predictions/{id}/cancel", 200, (await service.claim()).id)
    await calling
    calling = asyncio.create_task(post(504, good | {"deadline": 1}))
    await service.claim()
    service.clock.advance(1)
    await service.broker.enforce_clocks()
    await calling

    # What is refused.
    await post(400, good, Async_Mode="maybe")
    await post(400, good, Cancel_After="never")
    await post(406, good, Accept="image/png")
    await post(422, {"input": 1})
    await post(422, good | {"run_timeout": 0})
    await ask(
        "POST",
        "/predict",
        413,
        content=b" " * 20_000_000,
        headers={"Content-Type": "application/json"},
    )
    await ask("POST", "/predict", 415, content=b"{}")
    await ask("GET", "/livez", 403, headers={"Host": "evil.example"})

    # The life of one.
    made = await post(202, good, **ASYNC, **KEY)
    await post(422, {"input": "y"}, **ASYNC, **KEY)
    id = made.json()["prediction_id"]
    await ask("GET", "/predict/{id}", 202, id)
    await ask("GET", "/predictions/{id}", 200, id)
    await ask("GET", "/predictions", 200)
    await ask("POST", "/predictions/{id}/retry", 409, id)
    await ask("DELETE", "/predictions/{id}", 409, id)
    await service.run(seconds=10)
    await ask("GET", "/predict/{id}", 200, id)
    await ask("GET", "/predictions/{id}", 200, id)
    await ask("GET", "/predictions/{id}/events", 200, id)
    await ask("GET", "/predictions/{id}/events", 204, id, headers={"Last-Event-ID": "2-0"})
    await ask("POST", "/predictions/{id}/cancel", 409, id)
    await ask("POST", "/predictions/{id}/retry", 202, id)
    await post(429, good | {"deadline": 1}, **ASYNC)
    await ask("GET", "/predictions", 200)
    await ask("GET", "/predictions", 422, params={"limit": "0"})
    await ask("DELETE", "/predictions/{id}", 204, id)
    for method, path in description.operations:
        if "{id}" in path:
            await ask(method, path, 404, new_id())

    # The server.
    await ask("GET", "/stats", 200)
    await ask("GET", "/metrics", 200)
    await ask("GET", "/models", 200)
    await ask("GET", "/models/{name}", 200, "m")
    await ask("GET", "/models/{name}", 404, "n")
    await ask("GET", "/", 200)
    await ask("GET", "/", 200, headers={"Accept": "text/html"})
    following = Call(service.app, "GET", "/events")
    await following.begin()
    description.compare("GET", "/events", httpx2.Response(200, headers=following.headers))
    await following.hang_up()
    await ask("GET", "/livez", 200)
    await ask("GET", "/readyz", 200)
    assert description.compared == description.operations
    await service.broker.aclose()
    await post(503, good, **ASYNC)
    await ask("GET", "/predictions/{id}", 503, id)


async def test_every_example_is_of_its_schema(description: Description) -> None:
    examples = description.examples()
    assert examples
    for schema, example in examples:
        description.validator(schema).validate(example)


async def test_the_options_are_described_with_their_bounds(
    service: Service, description: Description
) -> None:
    request = description.validator({"$ref": "#/components/schemas/Request"})
    options = {"priority": "low", "run_timeout": 1.5, "retries": 100, "deadline": None}
    assert request.is_valid({"input": "x"} | options)
    for wrong in ({"priority": "urgent"}, {"run_timeout": 0}, {"retries": 101}, {"ttl": -1}):
        assert not request.is_valid({"input": "x"} | wrong)
        assert (await service.predict(**wrong)).status_code == 422
