"""Bad input is refused at the door, in both modes, with the right problem."""

from collections.abc import Iterator

import httpx2
import psutil
import pytest

from tests.harness import ASYNC, JSON, MODELS, Server, target

MODES: list[dict[str, str]] = [{}, ASYNC]
LIMIT = 20_000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ("echo", "distance", "Sentiment", "counts")
    with Server(*map(target, models), "--max-body-size", str(LIMIT)) as server:
        yield server


def post(server: Server, body: bytes, mode: dict[str, str], model: str = "echo") -> httpx2.Response:
    return server.client.post(f"/models/{model}/predict", content=body, headers=JSON | mode)


def assert_problem(response: httpx2.Response, status: int, code: str) -> None:
    """RFC 9457, with the members that every problem of ours has."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:problem-type:zypher:{code}"
    assert body["error"] == body["detail"]
    assert body["detail"].endswith(".")
    assert "Traceback" not in response.text


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b'{"input": 1',
        b'{"input": 1} trailing',
        b'{"input": NaN}',
        b'{"input": [Infinity]}',
        b'{"input": -Infinity}',
        b'{"input": 01}',
        b'{"input": "\xff\xfe"}',
        b'{"input": "\xed\xa0\x80"}',
        b'{"input": "\\ud800"}',
        b'{"\xff": 1}',
        b'{"input": "a\nb"}',
        b'{"input": "\\x41"}',
        b"{'input': 1}",
        b'\xef\xbb\xbf{"input": 1}',
        '{"input": 1}'.encode("utf-16"),
        b"\x00",
    ],
)
def test_what_is_not_json_is_refused(server: Server, body: bytes, mode: dict[str, str]) -> None:
    assert_problem(post(server, body, mode), 400, "malformed_json")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"1",
        b"{}",
        b'{"inputs": 1}',
        b'{"input": 1, "prioritty": "high"}',
        b'{"input": 1e400}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"input": ' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"input": ' + b'{"a":' * 101 + b"1" + b"}" * 101 + b"}",
    ],
)
def test_a_body_that_is_not_a_prediction_request_is_refused(
    server: Server, body: bytes, mode: dict[str, str]
) -> None:
    response = post(server, body, mode)
    assert_problem(response, 422, "invalid_input")
    assert response.json()["errors"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("model", "body", "loc"),
    [
        ("counts", b'{"input": "3"}', ["input"]),
        ("counts", b'{"input": true}', ["input"]),
        ("counts", b'{"input": 2.5}', ["input"]),
        ("counts", b'{"input": null}', ["input"]),
        ("distance", b'{"input": {"a": {"x": 1}}}', ["input"]),
        ("distance", b'{"input": {"a": {"x": 1}, "b": {"x": "2"}}}', ["input", "b", "x"]),
        ("distance", b'{"input": {"a": {"x": 1}, "b": {"x": 2}, "c": 3}}', ["input"]),
        ("distance", b'{"input": {"a": {"x": 1}, "b": {"x": 2, "z": 3}}}', ["input", "b"]),
        (
            "distance",
            b'{"input": {"a": {"x": 1}, "b": {"x": 2}, "metric": "crow"}}',
            ["input", "metric"],
        ),
        ("Sentiment", b'{"input": {"text": ""}}', ["input", "text"]),
        ("Sentiment", b'{"input": {"text": "ok", "stars": 6}}', ["input", "stars"]),
    ],
)
def test_an_input_that_the_model_does_not_take_is_refused_with_the_place(
    server: Server, model: str, body: bytes, loc: list[str], mode: dict[str, str]
) -> None:
    response = post(server, body, mode, model)
    assert_problem(response, 422, "invalid_input")
    error = response.json()["errors"][0]
    assert error["loc"] == loc
    assert set(error) == {"loc", "msg", "type"}


@pytest.mark.parametrize("model", ["numbers", "maybe_numbers", "rows"])
def test_a_large_wrong_input_is_refused_as_fast_as_a_right_one(model: str) -> None:
    file = MODELS.with_name("array_models.py") if model == "rows" else MODELS
    with Server(f"{file}:{model}") as server:
        memory = psutil.Process(server.process.pid).memory_info().rss
        body = b'{"input": [' + b",".join([b'""'] * 1_000_000) + b"]}"
        response = server.client.post("/predict", content=body, headers=JSON, timeout=5)
        assert_problem(response, 422, "invalid_input")
        assert len(response.content) < 2_000
        assert psutil.Process(server.process.pid).memory_info().rss - memory < 300_000_000


def test_what_is_wrong_is_told_without_repeating_the_input(server: Server) -> None:
    response = server.predict("secret" * 100, model="counts")
    assert "secret" not in response.text


def test_a_request_to_upgrade_is_told_that_it_cannot(server: Server) -> None:
    headers = JSON | {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    response = server.client.post("/predict", content=b'{"input": 1}', headers=headers)
    assert_problem(response, 400, "invalid_header")
    assert "Upgrade" in response.json()["detail"]
    assert response.headers["Connection"] == "close"


def test_good_input_of_every_shape_is_taken(server: Server) -> None:
    nested: object = 1
    for _ in range(98):
        nested = [nested]
    for value in (None, 0, -1.5, "", "ü", [], {}, [[1], {"a": None}], 2**53, nested):
        assert server.predict(value).json()["result"] == value
    points = {"a": {"x": 0}, "b": {"x": 3, "y": 4}}
    assert server.predict(points, model="distance").json()["result"] == 5
    assert server.predict(points | {"metric": "taxi"}, model="distance").json()["result"] == 7
    review = {"text": "fine", "stars": 4}
    assert server.predict(review, model="Sentiment").json()["result"] == {"label": "good"}


@pytest.mark.parametrize("mode", MODES)
def test_a_body_may_be_as_large_as_allowed_and_not_a_byte_larger(
    server: Server, mode: dict[str, str]
) -> None:
    frame = len(b'{"input":""}')
    fits = b'{"input":"' + b"x" * (LIMIT - frame) + b'"}'
    assert post(server, fits, mode).status_code in (200, 202)
    assert_problem(post(server, fits + b" ", mode), 413, "payload_too_large")


def test_a_body_that_does_not_say_its_size_is_bounded_as_well(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"input":"'
        for _ in range(LIMIT // 100 + 1):
            yield b"x" * 100

    response = server.client.post("/predict", content=endless(), headers=JSON)
    assert_problem(response, 413, "payload_too_large")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_a_body_that_is_not_declared_as_json_is_refused_and_told_what_to_send(
    server: Server, media_type: str | None, mode: dict[str, str]
) -> None:
    headers = mode | ({} if media_type is None else {"Content-Type": media_type})
    response = server.client.post("/predict", content=b'{"input": 1}', headers=headers)
    assert_problem(response, 415, "unsupported_media_type")
    assert "Content-Type: application/json" in response.json()["detail"]


def test_the_content_type_may_carry_parameters_and_capitals(server: Server) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert server.client.post("/predict", content=b'{"input": 1}', headers=headers).is_success


def test_a_compressed_body_is_refused(server: Server) -> None:
    headers = JSON | {"Content-Encoding": "gzip"}
    response = server.client.post("/predict", content=b'{"input": 1}', headers=headers)
    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/predict"), ("DELETE", "/predict/1"), ("PUT", "/models/echo/predict"), ("POST", "/")],
)
def test_an_unknown_method_is_refused_and_told_which_are_possible(
    server: Server, method: str, path: str
) -> None:
    response = server.client.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] in response.json()["detail"]


def test_all_methods_that_are_possible_are_told(server: Server) -> None:
    response = server.client.put("/predictions/1")
    assert response.headers["Allow"] == "DELETE, GET"


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/predict/1/2", "/docs/no.js"])
def test_an_unknown_path_is_not_found(server: Server, path: str) -> None:
    assert_problem(server.client.get(path), 404, "not_found")
