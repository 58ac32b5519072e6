"""Idempotency-Key: a request that is repeated is one prediction, and has one answer."""

import asyncio

import pytest

from tests.server.service import Call, Service

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k-1"}
ASYNC_KEY = KEY | {"Async-Mode": "true"}


async def test_a_repeat_attaches_to_the_run_that_goes_on(service: Service) -> None:
    first = asyncio.create_task(service.predict(headers=KEY))
    claimed = await service.claim()
    second = asyncio.create_task(service.predict(headers=KEY))
    later = await service.predict(headers=ASYNC_KEY)
    assert (later.status_code, later.json()["prediction_id"]) == (202, claimed.id)
    await service.finish(claimed.claim, "once")
    for response in await first, await second:
        assert response.json() == {"input": "x", "result": "once"}
        assert response.headers["X-Prediction-Id"] == claimed.id


async def test_a_repeat_after_the_end_has_the_first_answer(service: Service) -> None:
    first = await service.predict(headers=ASYNC_KEY)
    claimed = await service.run()
    assert (await service.predict(headers=KEY)).json() == {"input": "x", "result": "done"}
    again = await service.predict(headers=ASYNC_KEY)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["X-Prediction-Id"] == claimed.id
    assert int(again.headers["Retry-After"]) == 1


async def test_a_repeat_of_a_failed_request_has_the_same_problem(service: Service) -> None:
    id = await service.submit(KEY)
    await service.fail((await service.claim()).claim)
    response = await service.predict(headers=KEY)
    assert (response.status_code, response.json()["code"]) == (500, "model_error")
    assert response.headers["X-Prediction-Id"] == id


@pytest.mark.parametrize(
    "other",
    [
        {"input": "y"},
        {"input": "x", "priority": "high"},
        {"input": "x", "deadline": 10},
    ],
)
async def test_the_key_of_another_request_is_refused(
    service: Service, other: dict[str, object]
) -> None:
    await service.submit(KEY)
    response = await service.client.post("/predict", json=other, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


async def test_neither_spelling_nor_mode_nor_headers_make_it_another_request(
    service: Service,
) -> None:
    id = await service.submit(KEY)
    spelt = b'{"retries": null, "priority": "normal", "input":\n "\\u0078"}'
    headers = ASYNC_KEY | {"Cancel-After": "60s", "Content-Type": "application/json"}
    response = await service.client.post("/predict", content=spelt, headers=headers)
    assert response.json()["prediction_id"] == id


async def test_a_bare_key_and_a_quoted_one_are_the_same(service: Service) -> None:
    id = await service.submit({"Idempotency-Key": 'a"b\\c'})
    assert await service.submit({"Idempotency-Key": r'"a\"b\\c"'}) == id


@pytest.mark.parametrize("key", ["", '""', '"a', '"a" b', "a b", "é", "x" * 256])
async def test_what_is_no_key_is_an_error(service: Service, key: str) -> None:
    names = [(b"Idempotency-Key", key.encode("latin-1"))]
    response = await service.client.post("/predict", json={"input": "x"}, headers=names)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_header")


async def test_two_keys_are_an_error(service: Service) -> None:
    names = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    response = await service.client.post("/predict", json={"input": "x"}, headers=names)
    assert response.status_code == 400


async def test_a_keyed_call_that_takes_too_long_becomes_a_202_and_goes_back_in_line(
    service: Service,
) -> None:
    ahead = await service.submit()
    response = await service.predict(headers=KEY | {"Prefer": "wait=1"}, priority="low")
    assert response.status_code == 202
    assert [(await service.run()).id for _ in range(2)] == [
        ahead,
        response.json()["prediction_id"],
    ]


async def test_a_keyed_prediction_outlives_the_caller_who_hangs_up(service: Service) -> None:
    call = Call.predict(service.app, Idempotency_Key="k-1")
    claimed = await service.claim()
    await call.hang_up()
    await service.finish(claimed.claim)
    assert (await service.predict(headers=KEY)).json()["result"] == "done"


async def test_the_key_of_a_deleted_prediction_is_free(service: Service) -> None:
    id = await service.submit(KEY)
    await service.run()
    assert (await service.client.delete(f"/predictions/{id}")).status_code == 204
    assert await service.submit(KEY) != id


async def test_a_call_that_ends_with_the_server_says_which_prediction_goes_on(
    service: Service,
) -> None:
    call = Call.predict(service.app, Idempotency_Key="k")
    claimed = await service.claim()
    await service.broker.aclose()
    await call.begin()
    assert (call.status, call.headers["x-prediction-id"]) == (503, claimed.id)
