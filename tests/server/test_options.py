"""Options beside an input: what a client may ask for, and what the settings allow."""

import asyncio
from typing import Any

import pytest

from tests.server.service import Service
from zypher.prediction import NO_OPTIONS, Options, Priority
from zypher.server.options import Body

pytestmark = pytest.mark.anyio

BOUNDS = {"queue_timeout": 60, "run_timeout": 30, "ttl": 100, "retries": 2}


def given(**settings: Any) -> pytest.MarkDecorator:
    """The settings of the server."""
    return pytest.mark.parametrize("service", [settings], indirect=True, ids=["given"])


async def test_the_options_of_a_request_are_those_of_its_prediction(service: Service) -> None:
    id = await service.submit(
        priority="low", queue_timeout=1, run_timeout=2.5, deadline=3, ttl=0, retries=4
    )
    record = await service.record(id)
    assert record.priority is Priority.LOW
    assert record.options == Options(
        queue_timeout=1.0, run_timeout=2.5, deadline=3.0, ttl=0.0, retries=4
    )


@pytest.mark.parametrize("options", [{}, {"deadline": None}, {"retries": 0}])
async def test_a_request_without_options_has_the_shared_object(
    service: Service, options: dict[str, Any]
) -> None:
    record = await service.record(await service.submit(**options))
    assert record.options is NO_OPTIONS
    assert record.priority is Priority.NORMAL


async def test_a_member_that_is_null_is_as_if_it_were_not_there(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    nothing = dict.fromkeys(Body.__struct_fields__[1:])
    assert await service.submit(key, **nothing) == await service.submit(key)


@given(**BOUNDS)
async def test_the_settings_are_what_a_request_has_that_does_not_say(service: Service) -> None:
    defaults = Options(queue_timeout=60, run_timeout=30, retries=2)
    assert (await service.record(await service.submit())).options == defaults
    own = await service.record(await service.submit(run_timeout=5, retries=0))
    assert own.options == Options(queue_timeout=60, run_timeout=5)


@given(**BOUNDS)
@pytest.mark.parametrize("name", ["queue_timeout", "run_timeout", "ttl"])
async def test_more_than_the_settings_allow_is_refused_and_told_how_much_they_do(
    service: Service, name: str
) -> None:
    too_much: dict[str, Any] = {name: BOUNDS[name] + 0.5}
    response = await service.predict(**too_much)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_input")
    assert problem["errors"][0]["loc"] == ["body", name]
    assert f"{BOUNDS[name]} s" in problem["detail"]
    most: dict[str, Any] = {name: BOUNDS[name]}
    await service.submit(**most)


@given(**BOUNDS)
async def test_more_retries_than_the_setting_may_be_asked_for(service: Service) -> None:
    assert (await service.record(await service.submit(retries=100))).options.retries == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("priority", "urgent"),
        ("priority", 1),
        ("queue_timeout", 0),
        ("run_timeout", -1),
        ("run_timeout", "5"),
        ("deadline", True),
        ("ttl", -0.5),
        ("retries", 101),
        ("retries", -1),
        ("retries", 1.5),
    ],
)
async def test_an_option_with_a_wrong_value_is_refused_with_its_place(
    service: Service, name: str, value: object
) -> None:
    wrong: dict[str, Any] = {name: value}
    response = await service.predict(**wrong)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", name]


async def test_a_misspelt_option_is_refused_and_told_which_there_are(service: Service) -> None:
    response = await service.predict(run_timeuot=5)
    assert response.status_code == 422
    assert "run_timeout" in response.json()["detail"]


@pytest.mark.parametrize(
    ("header", "body", "deadline"),
    [
        ("90s", {}, 90),
        ("90", {}, 90),
        ("1500ms", {}, 1.5),
        ("1.5m", {}, 90),
        ("2h", {}, 7200),
        ("10s", {"deadline": 20}, 10),
        ("30s", {"deadline": 20}, 20),
    ],
)
async def test_cancel_after_is_a_deadline_and_the_smaller_of_two_holds(
    service: Service, header: str, body: dict[str, object], deadline: float
) -> None:
    id = await service.submit({"Cancel-After": header}, **body)
    assert (await service.record(id)).options == Options(deadline=deadline)


@pytest.mark.parametrize("header", ["", "soon", "-1s", "0", "0ms", "1d", "1 s", "1e3", "٣s"])
async def test_a_cancel_after_that_is_no_time_is_an_error(service: Service, header: str) -> None:
    names = [(b"Cancel-After", header.encode())]
    response = await service.client.post("/predict", json={"input": "x"}, headers=names)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_header")


async def test_a_clock_that_runs_out_answers_504_to_the_caller_who_waits(service: Service) -> None:
    calling = asyncio.create_task(service.predict(run_timeout=5))
    await service.claim()
    service.clock.advance(5)
    await service.broker.enforce_clocks()
    response = await calling
    assert (response.status_code, response.json()["code"]) == (504, "run_timeout")
