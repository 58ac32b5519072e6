"""What the server tells of itself."""

from collections.abc import Iterator

import pytest
from jsonschema_rs import Draft202012Validator

from tests.harness import Server, target
from zypher.errors import prediction_errors
from zypher.server.problems import STATUS


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ("Sentiment", "distance", "echo")
    with Server(*map(target, models), "--replicas", "2") as server:
        yield server


def test_the_root_welcomes_and_is_titled_after_the_model(server: Server) -> None:
    body = server.client.get("/").json()
    assert body["message"] == "Welcome to the Sentiment Model API!"
    assert body["status"] == "ok"


def test_the_mock_is_welcomed_as_the_mock() -> None:
    with Server("--mock-delay", "0") as server:
        body = server.client.get("/").json()
        assert body["message"] == "Welcome to the Mock Model API!"
        result = server.predict({"any": ["thing"]}).json()["result"]
        assert float(result) == float(result)


def test_there_is_no_favicon_and_no_error_about_it(server: Server) -> None:
    response = server.client.get("/favicon.ico")
    assert (response.status_code, response.json()) == (200, {"message": "No favicon"})


def test_the_documentation_page_names_no_outside_address(server: Server) -> None:
    page = server.client.get("/docs").text
    assert "//" not in page.replace("<!--", "").replace("-->", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"docs/{asset}" in page
        assert server.client.get(f"/docs/{asset}").status_code == 200


def test_the_request_schema_in_openapi_is_that_of_the_model(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    operation = document["paths"]["/predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    assert request == {"$ref": "#/components/schemas/Request"}
    default = Draft202012Validator({**schemas["Request"], "components": document["components"]})
    assert default.is_valid({"input": {"text": "fine", "stars": 5}})
    assert not default.is_valid({"input": {"text": "fine", "stars": 6}})
    assert not default.is_valid({"input": {"text": "fine"}, "unknown": 1})
    own = document["paths"]["/models/distance/predict"]["post"]
    content = own["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Request.distance"}
    distance = {**schemas["Request.distance"], "components": document["components"]}
    assert Draft202012Validator(distance).is_valid({"input": {"a": {"x": 1}, "b": {"x": 2}}})


def test_every_reference_in_openapi_leads_somewhere(server: Server) -> None:
    document = server.client.get("/openapi.json").json()

    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, child in node.items():
                if key == "$ref":
                    yield child
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    found = set(references(document))
    assert found
    for reference in found:
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_models_are_listed_with_their_schemas(server: Server) -> None:
    models = server.client.get("/models").json()["models"]
    assert [model["name"] for model in models] == ["Sentiment", "distance", "echo"]
    one = server.client.get("/models/distance").json()
    assert one == models[1]
    assert one["description"] == "How far apart two points are."
    assert one["input_schema"]["required"] == ["a", "b"]
    assert server.client.get("/models/nobody").status_code == 404


def test_liveness_and_readiness_are_told(server: Server) -> None:
    assert server.client.get("/livez").status_code == 200
    response = server.client.get("/readyz")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ready"
    assert body["replicas"]["echo"]["ready"] >= 1
    assert body["jobs"] == {"queued": 0, "processing": 0}
    assert body["guarantee"].endswith(".")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_name_that_is_not_this_machine_is_refused_on_loopback(server: Server, host: str) -> None:
    response = server.client.get("/models", headers={"Host": host})
    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"
    assert "allowed-hosts" in response.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_the_names_of_this_machine_are_served_on_loopback(server: Server, host: str) -> None:
    assert server.client.get("/livez", headers={"Host": host}).status_code == 200


def test_another_loopback_address_is_served_under_its_own_name() -> None:
    with Server("--host", "127.0.0.2", "--mock-delay", "0") as server:
        assert "127.0.0.2" in server.url
        assert server.client.get("/livez").status_code == 200
        assert server.client.get("/livez", headers={"Host": "evil.example"}).status_code == 403


def test_other_names_can_be_allowed() -> None:
    with Server("--mock-delay", "0", "--allowed-hosts", "api.example, 127.0.0.1") as server:
        assert server.client.get("/livez", headers={"Host": "api.example"}).status_code == 200
        assert server.client.get("/livez", headers={"Host": "localhost"}).status_code == 403


def test_behind_a_proxy_that_strips_a_prefix_the_addresses_have_it() -> None:
    with Server("--mock-delay", "0", "--root-path", "/ml") as server:
        accepted = server.predict(1, Async_Mode="true")
        id = accepted.json()["prediction_id"]
        assert accepted.headers["Location"] == f"/ml/predict/{id}"
        assert server.poll(id, wait=20).status_code == 200
        assert server.client.get("/openapi.json").json()["servers"] == [{"url": "/ml"}]


def test_every_kind_of_error_has_a_status_and_every_status_a_kind() -> None:
    kinds = {error.code for error in prediction_errors()}
    assert kinds == set(STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize("path", ["/docs/predict", "/docs/foo", "/docs"])
def test_what_is_possible_in_no_way_is_not_there(server: Server, path: str) -> None:
    response = server.client.post(path, json={})
    if path == "/docs":
        assert (response.status_code, response.headers["Allow"]) == (405, "GET")
    else:
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
