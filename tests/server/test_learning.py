"""A server that does not know its models' code, and a broker that comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.leaving import LeavingBroker
from tests.server.service import PATIENCE, TEXT, Call, Service
from zypher.brokers import Limits
from zypher.brokers.base import Event, ModelInfo, ReplicaCounts
from zypher.server import Phase

pytestmark = pytest.mark.anyio

NUMBER = {"type": "number"}


def model(name: str, schema: dict[str, str]) -> ModelInfo:
    return ModelInfo(name=name, description=f"It is {name}.", input_schema=schema)


class Remote(Service):
    """A server whose broker is elsewhere, and can go away."""

    broker: LeavingBroker

    def __init__(self) -> None:
        super().__init__()
        self.broker = LeavingBroker(Limits(), self.clock)
        self.state.broker = self.broker

    async def readiness(self) -> tuple[int, str, list[str]]:
        """What a probe is told."""
        response = await self.client.get("/readyz")
        body = response.json()
        return response.status_code, body["status"], body["degraded"]


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    """One that no worker has told of a model yet."""
    remote = Remote()
    await remote.broker.start()
    remote.state.phase = Phase.OPEN
    yield remote
    await remote.stop()


@pytest.fixture
async def served() -> AsyncIterator[Remote]:
    """One whose model has a worker."""
    served = Remote()
    await served.start()
    yield served
    await served.stop()


# Models that come and change.


async def test_a_server_without_any_model_says_so_and_is_not_ready(remote: Remote) -> None:
    response = await remote.predict()
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert "zypher worker" in response.json()["detail"]
    assert (await remote.client.get("/models")).json() == {"models": []}
    assert (await remote.client.get("/openapi.json")).status_code == 200
    assert await remote.readiness() == (503, "starting", [])


async def test_while_the_models_load_nobody_is_told_that_there_are_none_or_only_some(
    remote: Remote,
) -> None:
    remote.state.phase = Phase.STARTING
    for names in ([], ["first"]):
        for name in names:
            await remote.broker.register_model(model(name, TEXT))
            await remote.state.learn()
        posted = await remote.predict()
        for path in ("/models", "/models/first", "/models/second"):
            response = await remote.client.get(path)
            assert (response.status_code, response.json()) == (503, posted.json())
            assert response.headers["Retry-After"] == posted.headers["Retry-After"]
    remote.state.phase = Phase.OPEN
    assert [*remote.state.models] == ["first"]
    assert (await remote.client.get("/models/second")).status_code == 404


async def test_a_model_that_was_registered_just_now_is_served_at_once(remote: Remote) -> None:
    await remote.broker.register_model(model("first", TEXT))
    assert (await remote.predict(headers={"Async-Mode": "true"})).status_code == 202
    await remote.broker.register_model(model("second", NUMBER))
    mode = {"Async-Mode": "true"}
    path = "/models/second/predict"
    accepted = await remote.client.post(path, json={"input": 1}, headers=mode)
    assert accepted.status_code == 202
    refused = await remote.client.post(path, json={"input": "x"}, headers=mode)
    assert refused.status_code == 422


async def test_a_changed_schema_replaces_what_checks_the_inputs(served: Remote) -> None:
    assert (await served.predict("x", {"Async-Mode": "true"})).status_code == 202
    await served.broker.register_model(model("m", NUMBER))
    await served.state.learn()
    assert (await served.predict("x", {"Async-Mode": "true"})).status_code == 422
    assert (await served.predict(1, {"Async-Mode": "true"})).status_code == 202


async def test_the_first_model_stays_the_default_and_all_that_is_told_follows(
    served: Remote,
) -> None:
    await served.broker.register_model(model("another", NUMBER))
    await served.state.learn()
    models = (await served.client.get("/models")).json()["models"]
    assert [one["name"] for one in models] == ["m", "another"]
    assert (await served.client.get("/")).json()["message"] == "Welcome to the M Model API!"
    paths = (await served.client.get("/openapi.json")).json()["paths"]
    assert "/models/another/predict" in paths


async def test_a_request_for_a_known_model_does_not_ask_the_broker_for_models(
    served: Remote,
) -> None:
    asked = served.broker.asked["models"]
    await served.submit()
    await served.client.get("/models/m")
    await served.client.get("/openapi.json")
    assert served.broker.asked["models"] == asked


async def test_a_model_whose_inputs_cannot_be_checked_is_left_out_and_told_once(
    served: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    await served.broker.register_model(model("strange", {"type": "nonsense"}))
    for _ in range(3):
        await served.state.learn()
    assert list(served.state.models) == ["m"]
    (record,) = caplog.records
    assert "strange" in record.getMessage()
    await served.broker.register_model(model("strange", TEXT))
    await served.state.learn()
    assert list(served.state.models) == ["m", "strange"]
    assert not served.state.catalog.unusable


async def test_a_broker_that_has_forgotten_its_models_does_not_take_them_from_the_server(
    served: Remote,
) -> None:
    served.state.catalog.learn({})
    assert list(served.state.models) == ["m"]


# Readiness.


async def test_a_server_is_ready_once_it_knows_a_model_and_says_if_nobody_runs_it(
    remote: Remote,
) -> None:
    await remote.broker.register_model(model("m", TEXT))
    await remote.state.learn()
    complaint = "No worker serves m now: its predictions wait for one"
    assert await remote.readiness() == (200, "ready", [complaint])


async def test_a_server_with_replicas_of_its_own_is_ready_when_one_of_them_is(
    served: Remote,
) -> None:
    own = {"m": ReplicaCounts(starting=1)}
    served.state.own_replicas = lambda: own
    assert (await served.readiness())[:2] == (503, "starting")
    own["m"] = ReplicaCounts(starting=1, failure="no")
    assert (await served.readiness())[:2] == (503, "failing")
    own["m"] = ReplicaCounts(ready=1)
    assert (await served.readiness())[:2] == (200, "ready")


async def test_while_the_broker_is_away_the_server_is_not_ready_and_says_why(
    served: Remote,
) -> None:
    await served.broker.leave()
    assert await served.readiness() == (503, "failing", ["The broker cannot be reached."])
    served.state.phase = Phase.DRAINING
    assert (await served.readiness())[:2] == (503, "draining")
    served.state.phase = Phase.OPEN
    await served.broker.come_back()
    assert await served.readiness() == (200, "ready", [])


async def test_a_probe_does_not_wait_for_a_broker_that_does_not_answer(
    served: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(served.broker, "stats", silence)
    asked = time.monotonic()
    status, _, degraded = await served.readiness()
    assert time.monotonic() - asked < 1.0
    assert (status, degraded) == (503, ["The broker has not answered within 0.5 s."])


# Streams.


async def test_a_stream_goes_on_when_its_broker_is_back(
    served: Remote, caplog: pytest.LogCaptureFixture
) -> None:
    id = await served.submit()
    call = Call(served.app, "GET", f"/predictions/{id}/events")
    assert (await call.event())["event"] == "status"
    await served.broker.leave()
    assert "comment" in await call.event()
    await served.broker.come_back()
    claimed = await served.claim()
    await served.broker.publish([(claimed.claim, Event("log", b"1"))])
    async with asyncio.timeout(PATIENCE):
        while (await call.event()).get("event") != "log":
            pass
    await call.hang_up()
    assert not caplog.records


async def test_who_hangs_up_while_the_broker_is_away_leaves_no_traceback(served: Remote) -> None:
    call = Call.predict(served.app, Accept="text/event-stream")
    assert (await call.event())["event"] == "status"
    await served.broker.leave()
    await call.hang_up()
