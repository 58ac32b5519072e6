"""The gate: who may call, how often, and whose predictions they see."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from tests.server.service import PATIENCE, Call, Service
from zypher.api_keys import hashed
from zypher.brokers import Limits
from zypher.brokers.memory import MemoryBroker
from zypher.node import limits_of
from zypher.prediction import new_id
from zypher.server.app import build_router
from zypher.server.intake import Intake
from zypher.server.quota import Quota
from zypher.testing.contract.base import new

pytestmark = pytest.mark.anyio

ANN, BOB, OPS = "zy_of-ann-which-is-long", "zy_of-bob-which-is-long", "zy_of-ops-which-is-long"
KEYS = [f"ann={ANN}", hashed("bob", BOB), f"ops={OPS}"]
LIMITED = {"rate": 0.5, "burst": 2, "max_queued": 1}
ASYNC = {"Async-Mode": "true"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Guarded(Service):
    """A server with keys: ann, bob, and ops, who sees all."""

    def __init__(self, **tables: Any) -> None:
        super().__init__(api_keys=KEYS, keys={"ops": {"sees": "all"}} | tables)
        self.broker = self.state.broker = MemoryBroker(limits_of(self.state.settings), self.clock)
        self.ann, self.bob, self.ops = (self.caller(key) for key in (ANN, BOB, OPS))

    def caller(self, key: str, app: FastAPI | None = None) -> httpx2.AsyncClient:
        client = self.client_of(app or self.app)
        client.headers["X-API-Key"] = key
        return client

    async def submitted(self, client: httpx2.AsyncClient, **headers: str) -> str:
        """The id of a prediction of a caller."""
        names = ASYNC | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await client.post("/predict", json={"input": "x"}, headers=names)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["prediction_id"])


@pytest.fixture
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Guarded]:
    guarded = Guarded(**getattr(request, "param", {}))
    await guarded.start()
    yield guarded
    for client in (guarded.ann, guarded.bob, guarded.ops):
        await client.aclose()
    await guarded.stop()


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Who may call.


OPEN = {"/livez", "/readyz", "/favicon.ico", "/ui", "/ui/", "/ui/{name}", "/docs"}


@pytest.mark.parametrize("prefix", ["", "/models-of/ours"])
async def test_every_endpoint_needs_a_key_but_probes_and_files_in_our_app_and_in_a_hosts(
    guarded: Guarded, prefix: str
) -> None:
    app: FastAPI = guarded.app
    if prefix:
        app = FastAPI()
        app.include_router(guarded.app.router, prefix=prefix)
    asked = set()
    async with guarded.client_of(app) as nobody:
        for route in all_routes(guarded):
            path = prefix + route.path.format(id=new_id(), name="main.js")
            for method in route.methods or ():
                answer = await nobody.request(method, path, content=b"{")
                if route.path in OPEN:
                    assert answer.status_code in (200, 307), path
                else:
                    asked.add(route.path)
                    assert code(answer) == (401, "unauthorized"), (method, path)
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert {"/", "/predict", "/events", "/stats", "/models", "/openapi.json"} <= asked


async def test_a_probe_without_a_key_learns_the_status_and_nothing_of_the_models(
    guarded: Guarded,
) -> None:
    async with guarded.client_of(guarded.app) as nobody:
        brief = await nobody.get("/readyz")
    full = await guarded.ann.get("/readyz")
    assert "guarantee" in full.json()
    assert brief.json() == {"status": full.json()["status"], "node": "server"}
    assert brief.status_code == full.status_code


def all_routes(service: Service) -> list[APIRoute]:
    router = build_router(service.state, Intake(service.state))
    return [route for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize(
    "headers",
    [
        bearer(ANN),
        {"X-API-Key": ANN},
        {"authorization": f"bearer {ANN}"},
        {"Authorization": f"BEARER   {ANN}"},
        {"Authorization": "Basic cHJveHk6eA==", "X-API-Key": ANN},
        bearer(BOB),
    ],
)
async def test_a_key_is_taken_from_either_header(guarded: Guarded, headers: dict[str, str]) -> None:
    assert (await guarded.client.get("/stats", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("X-API-Key", "")],
        [("Authorization", ANN)],
        [("Authorization", f"Basic {base64.b64encode(ANN.encode()).decode()}")],
        [("Authorization", f"Bearer {ANN}x")],
        [("Authorization", f"Bearer {ANN[:-1]}")],
        [("Authorization", f"Bearer {ANN.upper()}")],
        [("Authorization", f"Bearer {ANN} {ANN}")],
        [("Authorization", f"Bearer {hashed('bob', BOB).partition('=')[2]}")],
        [("Authorization", "Bearer ann")],
        [("Authorization", f"Bearer {ANN}"), ("Authorization", f"Bearer {ANN}")],
        [("Authorization", f"Bearer {ANN}"), ("Authorization", "Basic eDp5")],
        [("Authorization", f"Bearer {ANN}"), ("X-API-Key", ANN)],
        [("X-API-Key", ANN), ("X-API-Key", BOB)],
        [("X-API-Key", f"{ANN}, {BOB}")],
        [("X-API-Key", "k\u00e9y-which-is-none-of-ascii".encode("latin-1"))],
        [("X-API-Key", b"\xff\xfe\x00" + ANN.encode())],
        [("X-API-Key", "x" * 1_000_000)],
    ],
)
async def test_what_is_no_key_or_more_than_one_is_refused(
    guarded: Guarded, headers: list[tuple[str, Any]]
) -> None:
    answer = await guarded.client.post("/predict", json={"input": "x"}, headers=headers)
    assert code(answer) == (401, "unauthorized")
    assert ANN not in answer.text


async def test_what_is_refused_is_not_read(guarded: Guarded) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/predict"}
    scope["headers"] = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]

    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded.app(scope, receive, send)
    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    "path",
    [
        *("//stats", "/STATS", "/stats/", "/livez/../stats", "/ui/../stats", "/docs/../stats"),
        *("/docs/..%2fstats", "/ui/%2e%2e/stats", "/stats%2f", "/livez/stats", "/livez;/stats"),
        *("/ui/..%2fstats", "/docs/%2e%2e/%2e%2e/gate.py", "/livez%00/stats", "/./stats"),
    ],
)
async def test_no_spelling_of_a_path_leads_past_the_gate(guarded: Guarded, path: str) -> None:
    for raw in (path, path.replace("%2f", "/").replace("%2e", ".")):
        call = Call(guarded.app, "GET", raw)
        await call.begin()
        assert call.status in (401, 404), raw
        await call.hang_up()


async def test_a_root_path_leads_to_the_same_gate(guarded: Guarded) -> None:
    for root, path in (("/api", "/api/stats"), ("/livez", "/livez/stats"), ("/stats", "/stats")):
        call = Call(guarded.app, "GET", path, root=root)
        await call.begin()
        assert call.status in (401, 404), root
        await call.hang_up()


async def test_a_browser_gets_the_files_of_the_pages_and_nothing_that_is_of_this_server(
    guarded: Guarded,
) -> None:
    html = {"Accept": "text/html"}
    for path in ("/", "/ui", "/docs", "/docs/with-key.js", "/docs/swagger-ui.css"):
        answer = await guarded.client.get(path, headers=html)
        assert answer.status_code == 200, path
        assert "M Model API" not in answer.text
    welcome = await guarded.ann.get("/")
    assert welcome.json()["message"] == "Welcome to the M Model API!"


async def test_the_description_says_what_needs_a_key(guarded: Guarded) -> None:
    document = (await guarded.ann.get("/openapi.json")).json()
    assert {scheme["type"] for scheme in document["components"]["securitySchemes"].values()} == {
        *("http", "apiKey")
    }
    assert len(document["security"]) == 2
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path in ("/livez", "/readyz")
            assert (operation.get("security") == []) == is_open, path
            assert ("401" in operation["responses"]) != is_open, path


async def test_without_keys_nobody_needs_one_and_the_description_names_none(
    service: Service,
) -> None:
    for headers in ({}, bearer("anything")):
        assert (await service.client.get("/stats", headers=headers)).status_code == 200
    id = await service.submit(headers=bearer("anything"))
    assert (await service.record(id)).owner is None
    document = (await service.client.get("/openapi.json")).json()
    assert "security" not in document
    assert "securitySchemes" not in document["components"]


# Whose predictions they see.


async def test_who_predicts_owns_it_and_finds_it_as_ever(guarded: Guarded) -> None:
    id = await guarded.submitted(guarded.ann)
    assert (await guarded.record(id)).owner == "ann"
    assert (await guarded.ann.get(f"/predict/{id}")).status_code == 202
    assert (await guarded.ann.get(f"/predictions/{id}")).json()["owner"] == "ann"
    answer = asyncio.create_task(guarded.ann.post("/predict", json={"input": "y"}))
    (first, second) = [await guarded.run() for _ in range(2)]
    assert {first.owner, second.owner} == {"ann"}
    assert (await answer).json() == {"input": "y", "result": "done"}


REQUESTS = [
    ("GET", "/predict/{id}", {}),
    ("GET", "/predictions/predict/{id}", {}),
    ("GET", "/predict/{id}", {"Prefer": "wait=60"}),
    ("GET", "/predictions/{id}", {}),
    ("GET", "/predictions/{id}/events", {}),
    ("GET", "/predictions/{id}/events", {"Last-Event-ID": "1-1"}),
    ("GET", "/predictions/{id}/events", {"Last-Event-ID": "2-0"}),
    ("POST", "/predictions/{id}/cancel", {}),
    ("POST", "/predictions/{id}/retry", {}),
    ("DELETE", "/predictions/{id}", {}),
]


@pytest.mark.parametrize(("method", "path", "headers"), REQUESTS)
async def test_what_is_anothers_is_not_there_whether_it_waits_or_has_ended(
    guarded: Guarded, method: str, path: str, headers: dict[str, str]
) -> None:
    ended = await guarded.submitted(guarded.ann)
    await guarded.run()
    waits = await guarded.submitted(guarded.ann)
    unknown = await guarded.bob.request(method, path.format(id=new_id()), headers=headers)
    assert code(unknown) == (404, "not_found")
    for id in (ended, waits):
        before = await guarded.record(id)
        async with asyncio.timeout(PATIENCE):
            answer = await guarded.bob.request(method, path.format(id=id), headers=headers)
        assert (answer.status_code, answer.text) == (404, unknown.text)
        assert await guarded.record(id) == before


async def test_an_operators_key_sees_and_ends_what_is_anothers(guarded: Guarded) -> None:
    id = await guarded.submitted(guarded.ann)
    assert (await guarded.ops.get(f"/predictions/{id}")).json()["owner"] == "ann"
    assert (await guarded.ops.post(f"/predictions/{id}/cancel")).status_code == 200
    again = (await guarded.ops.post(f"/predictions/{id}/retry")).json()["prediction_id"]
    assert (await guarded.ann.get(f"/predictions/{again}")).json()["retry_of"] == id
    assert (await guarded.ops.delete(f"/predictions/{id}")).status_code == 204


async def test_each_lists_their_own_and_a_cursor_of_another_leads_nowhere_else(
    guarded: Guarded,
) -> None:
    theirs = [await guarded.submitted(guarded.ann) for _ in range(3)]
    other = await guarded.submitted(guarded.bob)
    page = (await guarded.ann.get("/predictions?limit=2")).json()
    assert [one["prediction_id"] for one in page["predictions"]] == [theirs[2], theirs[1]]
    rest = (await guarded.ann.get(f"/predictions?cursor={page['cursor']}")).json()
    assert [one["prediction_id"] for one in rest["predictions"]] == [theirs[0]]
    assert not (await guarded.bob.get(f"/predictions?cursor={page['cursor']}")).json()[
        "predictions"
    ]
    (one,) = (await guarded.bob.get("/predictions")).json()["predictions"]
    assert one["prediction_id"] == other
    assert len((await guarded.ops.get("/predictions")).json()["predictions"]) == 4


async def test_the_same_idempotency_key_of_two_keys_is_two_predictions(guarded: Guarded) -> None:
    ids = [
        await guarded.submitted(client, Idempotency_Key="k")
        for client in (guarded.ann, guarded.bob, guarded.ann)
    ]
    assert ids[0] == ids[2] != ids[1]


async def test_what_was_submitted_without_keys_is_an_operators(guarded: Guarded) -> None:
    id = (await guarded.broker.submit(new(), keep=True)).id
    assert (await guarded.ann.get(f"/predictions/{id}")).status_code == 404
    assert (await guarded.ops.get(f"/predictions/{id}")).status_code == 200


async def test_the_events_of_the_server_tell_each_of_their_own(guarded: Guarded) -> None:
    ids = [await guarded.submitted(client) for client in (guarded.ann, guarded.bob)]
    seen = {}
    for key in (ANN, BOB, OPS):
        call = Call(guarded.app, "GET", "/events", bearer(key))
        async with asyncio.timeout(PATIENCE):
            while (event := await call.event())["event"] != "predictions":
                if event["event"] == "stats":
                    assert json.loads(event["data"])["models"]["m"]["queued"] == 2
        seen[key] = {one["prediction_id"] for one in json.loads(event["data"])["waiting"]}
        await call.hang_up()
    assert seen == {ANN: {ids[0]}, BOB: {ids[1]}, OPS: {*ids}}


async def test_all_streams_end_with_the_server(guarded: Guarded) -> None:
    calls = [Call(guarded.app, "GET", "/events", bearer(key)) for key in (ANN, BOB, OPS)]
    for call in calls:
        await call.event()
    guarded.state.broadcasts.close()
    async with asyncio.timeout(PATIENCE):
        for call in calls:
            while await call.event():
                pass
            await call.done


# How much.


@pytest.mark.parametrize("guarded", [{"ann": LIMITED}], indirect=True)
async def test_a_key_that_calls_too_often_is_told_when_it_may_again(guarded: Guarded) -> None:
    for _ in range(2):
        assert (await guarded.ann.get("/models")).status_code == 200
    answer = await guarded.ann.get("/models")
    assert code(answer) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "2"
    assert "'ann' may make 0.5 requests a second" in answer.json()["detail"]
    assert (await guarded.bob.get("/models")).status_code == 200
    assert (await guarded.ann.get("/readyz")).status_code == 200
    guarded.clock.advance(1)
    assert (await guarded.ann.get("/models")).headers["Retry-After"] == "1"
    guarded.clock.advance(1)
    assert (await guarded.ann.get("/models")).status_code == 200
    assert (await guarded.ann.get("/models")).status_code == 429
    guarded.clock.advance(3600)
    burst = [(await guarded.ann.get("/models")).status_code for _ in range(3)]
    assert burst == [200, 200, 429]


@pytest.mark.parametrize("guarded", [{"ann": {"max_queued": 1}}], indirect=True)
async def test_a_key_whose_share_waits_is_refused_and_told_when_to_come_back(
    guarded: Guarded,
) -> None:
    await guarded.submitted(guarded.ann)
    for headers in ({}, ASYNC):
        answer = await guarded.ann.post("/predict", json={"input": "x"}, headers=headers)
        assert code(answer) == (429, "queue_full")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "'ann'" in answer.json()["detail"]
        assert "max-queued (1)" in answer.json()["detail"]
    await guarded.submitted(guarded.bob)
    await guarded.claim()
    await guarded.submitted(guarded.ann)


def test_the_bounds_of_keys_are_those_of_the_broker() -> None:
    guarded = Guarded(ann=LIMITED)
    assert limits_of(guarded.state.settings).max_queued_of == {"ann": 1}
    assert Limits().max_queued_of == {}


async def test_half_of_the_event_streams_are_for_other_keys(guarded: Guarded) -> None:
    streams = guarded.state.streams = Quota(4)
    statuses = []
    with streams.of("ann").one_more(), streams.of("ann").one_more():
        for client in (guarded.ann, guarded.bob):
            id = await guarded.submitted(client)
            await client.post(f"/predictions/{id}/cancel")
            statuses.append((await client.get(f"/predictions/{id}/events")).status_code)
        with streams.of("bob").one_more(), streams.of("bob").one_more():
            statuses.append((await guarded.ops.get(f"/predictions/{id}/events")).status_code)
    statuses.append((await guarded.ops.get(f"/predictions/{id}/events")).status_code)
    assert statuses == [503, 200, 503, 200]
