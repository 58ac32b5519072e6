"""`/predictions`: the whole record of a prediction, the list of them, and what is done to one."""

import asyncio

import pytest

from tests.server.service import TEXT, Service
from zypher.brokers.base import ModelInfo
from zypher.prediction import new_id, signature_of

pytestmark = pytest.mark.anyio


async def get(service: Service, id: str) -> dict[str, object]:
    response = await service.client.get(f"/predictions/{id}")
    assert response.status_code == 200
    record: dict[str, object] = response.json()
    return record


async def test_the_record_of_a_queued_prediction_has_its_place_in_line(service: Service) -> None:
    for _ in range(5):
        await service.submit()
        await service.run(seconds=4)
    running = await service.submit()
    await service.claim()
    await service.submit()
    id = await service.submit(priority="low", deadline=90)
    assert await get(service, id) == {
        "prediction_id": id,
        "model": "m",
        "status": "queued",
        "priority": "low",
        "options": {"deadline": 90.0},
        "attempt": 0,
        "crashes": 0,
        "retried": 0,
        "created": "2027-01-15T08:00:20.000Z",
        "input": "x",
        "queue_position": 1,
        "estimated_wait": 8.0,
    }
    assert "queue_position" not in await get(service, running)


async def test_the_record_of_a_running_prediction_has_what_it_told_last(service: Service) -> None:
    id = await service.submit()
    claimed = await service.claim()
    for number in range(25):
        await service.tell(claimed.claim, "log", f"line {number}")
        await service.tell(claimed.claim, "progress", {"fraction": number / 100})
    record = await get(service, id)
    assert (record["status"], record["attempt"]) == ("processing", 1)
    assert record["started"] == "2027-01-15T08:00:00.000Z"
    assert record["progress"] == {"fraction": 0.24}
    assert record["logs"] == [f"line {number}" for number in range(5, 25)]


async def test_the_record_of_an_ended_prediction_has_its_outcome_and_its_times(
    service: Service,
) -> None:
    good, bad = await service.submit(ttl=60), await service.submit()
    await service.run(seconds=2)
    await service.fail((await service.claim()).claim)
    record = await get(service, good)
    assert (record["status"], record["result"]) == ("completed", "done")
    assert record["finished"] == "2027-01-15T08:00:02.000Z"
    assert record["expires"] == "2027-01-15T08:01:02.000Z"
    record = await get(service, bad)
    assert (record["status"], record["code"]) == ("failed", "model_error")
    assert record["error"] == record["detail"] == "The model raised ValueError: no."
    assert record["log"] == ["so far so good"]
    assert "result" not in record


async def test_the_pages_of_the_list_go_from_the_newest_to_the_oldest(service: Service) -> None:
    ids = [await service.submit() for _ in range(5)]
    seen: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    for _ in range(3):
        page = (await service.client.get("/predictions", params=query)).json()
        seen += [one["prediction_id"] for one in page["predictions"]]
        query["cursor"] = page["cursor"]
        await service.submit()
    assert seen == ids[::-1]
    assert page["cursor"] is None


async def test_the_list_has_neither_inputs_nor_results(service: Service) -> None:
    id = await service.submit()
    await service.run()
    (one,) = (await service.client.get("/predictions")).json()["predictions"]
    assert (one["prediction_id"], one["status"]) == (id, "completed")
    assert not {"input", "result", "output"} & set(one)


async def test_the_list_can_be_asked_for_a_status_and_a_model(service: Service) -> None:
    await service.broker.register_model(ModelInfo(name="n", description="", input_schema={}))
    done = await service.submit()
    await service.run()
    queued = await service.submit()
    own = await service.client.post(
        "/models/n/predict", json={"input": 1}, headers={"Async-Mode": "true"}
    )

    async def ids(**query: str) -> list[str]:
        page = (await service.client.get("/predictions", params=query)).json()
        return [one["prediction_id"] for one in page["predictions"]]

    assert await ids(status="completed") == [done]
    assert await ids(status="queued", model="m") == [queued]
    assert await ids(model="n") == [own.json()["prediction_id"]]
    assert await ids(model="nobody") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "done"),
        ("status", ""),
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", "9" * 5000),
        ("limit", "٣"),
        ("cursor", "nonsense!"),
        ("cursor", "_____w=="),
        ("cursor", "é"),
        ("stauts", "failed"),
    ],
)
async def test_a_parameter_of_the_list_with_a_wrong_value_is_refused_with_its_place(
    service: Service, name: str, value: str
) -> None:
    response = await service.client.get("/predictions", params={name: value})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"][0]["loc"] == ["query", name]


@pytest.mark.parametrize("runs", [False, True])
async def test_a_prediction_that_has_not_ended_can_be_canceled(
    service: Service, runs: bool
) -> None:
    id = await service.submit()
    if runs:
        await service.claim()
    response = await service.client.post(f"/predictions/{id}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    assert (await get(service, id))["code"] == "canceled"
    again = await service.client.post(f"/predictions/{id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_the_caller_who_waits_is_told_that_it_was_canceled(service: Service) -> None:
    calling = asyncio.create_task(service.predict())
    claimed = await service.claim()
    canceled = await service.client.post(f"/predictions/{claimed.id}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    response = await calling
    assert (response.status_code, response.json()["code"]) == (409, "canceled")
    assert response.headers["X-Prediction-Id"] == claimed.id


async def test_a_retry_is_a_new_prediction_of_the_same_input_and_options(service: Service) -> None:
    old = await service.submit(priority="low", deadline=90, retries=0)
    await service.fail((await service.claim()).claim)
    service.clock.advance(60)
    response = await service.client.post(f"/predictions/{old}/retry")
    id = response.json()["prediction_id"]
    assert response.status_code == 202
    assert id != old
    assert response.headers["X-Prediction-Id"] == id
    assert response.headers["Location"] == f"/predict/{id}"
    assert int(response.headers["Retry-After"]) >= 1
    record = await get(service, id)
    before = await get(service, old)
    assert record["retry_of"] == old
    for name in ("model", "input", "options", "priority"):
        assert record[name] == before[name]
    signatures = [(await service.record(one)).signature for one in (old, id)]
    assert signatures == [signature_of(TEXT)] * 2
    assert record["created"] == "2027-01-15T08:01:00.000Z"


async def test_a_retry_with_a_key_can_be_repeated_safely(service: Service) -> None:
    old, other = await service.submit(), await service.submit()
    await service.run()
    await service.run()
    key = {"Idempotency-Key": "k"}
    answers = [
        await service.client.post(f"/predictions/{id}/retry", headers=key)
        for id in (old, old, other)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 422]
    assert answers[0].headers["X-Prediction-Id"] == answers[1].headers["X-Prediction-Id"]


async def test_a_prediction_that_has_not_ended_cannot_be_retried(service: Service) -> None:
    id = await service.submit()
    response = await service.client.post(f"/predictions/{id}/retry")
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


async def test_a_retry_of_what_the_model_does_not_take_any_more_is_refused(
    service: Service,
) -> None:
    id = await service.submit()
    await service.run()
    newer = ModelInfo(name="m", description="", input_schema={"type": "integer"})
    await service.broker.register_model(newer)
    await service.state.learn()
    response = await service.client.post(f"/predictions/{id}/retry")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_an_ended_prediction_can_be_deleted(service: Service) -> None:
    id = await service.submit()
    early = await service.client.delete(f"/predictions/{id}")
    assert (early.status_code, early.json()["code"]) == (409, "conflict")
    await service.run()
    response = await service.client.delete(f"/predictions/{id}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await service.client.get(f"/predict/{id}")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/events")],
)
async def test_a_prediction_that_nobody_knows_is_not_found(
    service: Service, method: str, path: str
) -> None:
    for id in (new_id(), "nonsense", "%00"):
        response = await service.client.request(method, f"/predictions/{id}{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_the_old_paths_below_predictions_are_what_they_were(service: Service) -> None:
    mode = {"Async-Mode": "true"}
    made = await service.client.post("/predictions/predict", json={"input": "x"}, headers=mode)
    found = await service.client.get(made.headers["Location"])
    assert (found.status_code, found.json()["status"]) == (202, "queued")


async def test_the_stats_tell_of_queues_replicas_and_workers(service: Service) -> None:
    await service.submit()
    await service.run(seconds=3)
    await service.submit(priority="high")
    await service.submit()
    await service.submit()
    await service.claim()
    service.clock.advance(1)
    stats = (await service.client.get("/stats")).json()
    counts: dict[str, object] = {"ready": 1, "starting": 0, "slots": 1}
    counts |= {"failure": None, "suspended": None, "pause": 0}
    assert stats["workers"] == [
        {
            "id": "w",
            "host": "h",
            "pid": 1,
            "stale_outcomes": 2,
            "replicas": {"m": counts},
        }
    ]
    m = stats["models"]["m"]
    assert (m["queued"], m["processing"], m["completed"], m["failed"]) == (2, 1, 1, 0)
    assert m["waiting"] == {"high": 1, "normal": 1, "low": 0}
    assert (m["service_time"], m["oldest_processing_age"]) == (3, 1)
    assert m["replicas"] == counts
    assert m["rate"] > 0


@pytest.mark.parametrize("action", ["cancel", "retry"])
async def test_pages_of_other_sites_end_and_repeat_nothing(service: Service, action: str) -> None:
    id = await service.submit()
    other = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    refused = await service.client.post(f"/predictions/{id}/{action}", headers=other)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await service.client.get(f"/predictions/{id}")).json()["status"] == "queued"
    own = {"Sec-Fetch-Site": "same-origin"}
    answer = await service.client.post(f"/predictions/{id}/{action}", headers=own)
    assert answer.status_code != 403
