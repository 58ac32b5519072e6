"""What a server says of a model that its workers have taken out of service."""

from collections.abc import AsyncIterator

import pytest

from tests.server.service import Service
from zypher.brokers.base import ModelInfo, ReplicaCounts, WorkerInfo

pytestmark = pytest.mark.anyio

WHY = "3 predictions in a row failed, the last with: The model raised ValueError"
PAUSED = ReplicaCounts(ready=1, slots=1, suspended=WHY, pause=9.5)
TRYING = ReplicaCounts(ready=1, slots=1, suspended=WHY)


@pytest.fixture
async def service(anyio_backend: object) -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    await service.stop()


async def tell(service: Service, counts: ReplicaCounts, worker: str = "w") -> None:
    """Have a worker say how the model stands there."""
    info = WorkerInfo(id=worker, host="h", pid=1, replicas={"m": counts})
    await service.broker.register_worker(info)
    await service.state.learn()


async def test_new_calls_are_refused_with_the_reason_and_what_was_taken_in_is_not(
    service: Service,
) -> None:
    id = await service.submit()
    await service.run()
    queued = await service.submit()
    await tell(service, PAUSED)
    for answer in (
        await service.predict(),
        await service.predict(headers={"Async-Mode": "true"}),
        await service.client.post(f"/predictions/{id}/retry"),
    ):
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert WHY in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "10"
        assert "X-Prediction-Id" not in answer.headers
    assert (await service.client.get(f"/predict/{queued}")).status_code == 202
    assert (await service.client.get(f"/predict/{id}")).json()["status"] == "completed"


async def test_a_node_whose_only_model_is_out_of_service_is_not_ready(service: Service) -> None:
    for own in (None, {"m": PAUSED}):
        await tell(service, PAUSED)
        service.state.own_replicas = None if own is None else lambda: {"m": PAUSED}
        probe = await service.client.get("/readyz")
        assert (probe.status_code, probe.json()["status"]) == (503, "failing")
        assert probe.json()["degraded"] == [f"m is out of service: {WHY}"]
    service.state.own_replicas = lambda: {"m": TRYING}
    await tell(service, TRYING)  # which needs a call to try
    probe = await service.client.get("/readyz")
    assert probe.status_code == 200
    assert WHY in probe.json()["degraded"][0]
    assert (await service.predict(headers={"Async-Mode": "true"})).status_code == 202


async def test_another_model_of_the_node_goes_on(service: Service) -> None:
    schema = {"type": "integer"}
    await service.broker.register_model(ModelInfo(name="n", description="", input_schema=schema))
    service.state.own_replicas = lambda: {"m": PAUSED, "n": ReplicaCounts(ready=1)}
    await tell(service, PAUSED)
    assert (await service.client.get("/readyz")).status_code == 200
    asked = {"input": 1}
    mode = {"Async-Mode": "true"}
    answer = await service.client.post("/models/n/predict", json=asked, headers=mode)
    assert answer.status_code == 202


async def test_where_another_worker_is_in_service_calls_are_taken_in(service: Service) -> None:
    await tell(service, PAUSED)
    await tell(service, ReplicaCounts(ready=1, slots=1), "other")
    assert (await service.predict(headers={"Async-Mode": "true"})).status_code == 202
    degraded = (await service.client.get("/readyz")).json()["degraded"]
    assert len(degraded) == 1
    assert WHY in degraded[0]


async def test_a_repeat_with_a_key_is_answered_although_nothing_new_is_taken_in(
    service: Service,
) -> None:
    headers = {"Idempotency-Key": "k", "Async-Mode": "true"}
    first = await service.predict(headers=headers)
    await tell(service, PAUSED)
    again = await service.predict(headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())


async def test_nobody_is_told_to_stay_away_for_all_of_a_long_pause(service: Service) -> None:
    await tell(service, ReplicaCounts(ready=1, slots=1, suspended=WHY, pause=300.0))
    assert (await service.predict()).headers["Retry-After"] == "30"
