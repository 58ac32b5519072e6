"""`/predict`: the simple face of the API, to the letter, against a real server."""

import asyncio
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.harness import ASYNC, Holder, Server, gather_posts, holder, target

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ALIASES = ["/predict", "/predictions/predict"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ("echo", "hold", "fails", "not_a_number", "long_text", "counts", "counts_async")
    with Server(*map(target, models), "--max-result-size", "1000") as server:
        yield server


@pytest.fixture
def held() -> Iterator[Holder]:
    with holder() as holding:
        yield holding


@pytest.mark.parametrize("path", ALIASES)
def test_a_synchronous_call_answers_with_input_and_result(server: Server, path: str) -> None:
    response = server.client.post(path, json={"input": {"text": "Grüße"}})
    assert response.status_code == 200
    assert response.json() == {"input": {"text": "Grüße"}, "result": {"text": "Grüße"}}
    assert UUID7.fullmatch(response.headers["X-Prediction-Id"])


def test_the_input_comes_back_exactly_as_it_was_sent(server: Server) -> None:
    body = b'{ "input" : {"b": 1.0,  "a": 1e2, "c": "\\u00e9"} }'
    response = server.client.post(
        "/predict", content=body, headers={"Content-Type": "application/json"}
    )
    assert b'{"b": 1.0,  "a": 1e2, "c": "\\u00e9"}' in response.content


@pytest.mark.parametrize("path", ALIASES)
def test_an_asynchronous_call_answers_with_an_id_under_which_the_result_is_found(
    server: Server, path: str
) -> None:
    response = server.client.post(path, json={"input": [1, 2]}, headers=ASYNC)
    assert response.status_code == 202
    id = response.json()["prediction_id"]
    assert response.json() == {
        "message": "Request received. Processing asynchronously.",
        "prediction_id": id,
    }
    assert response.headers["X-Prediction-Id"] == id
    assert response.headers["Location"] == f"{path}/{id}"
    assert int(response.headers["Retry-After"]) >= 1
    found = server.client.get(response.headers["Location"], headers={"Prefer": "wait=20"})
    assert found.status_code == 200
    assert found.json() == {
        "prediction_id": id,
        "status": "completed",
        "output": {"input": [1, 2], "result": [1, 2]},
    }


def test_an_unfinished_prediction_says_so_and_when_to_ask_again(
    server: Server, held: Holder
) -> None:
    id = server.submit(held.port, model="hold")
    run = held.started()
    response = server.poll(id)
    assert response.status_code == 202
    assert response.json() == {
        "prediction_id": id,
        "status": "processing",
        "error": "Prediction is still being processed.",
        "detail": "Prediction is still processing.",
    }
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["Location"] == f"/predict/{id}"
    run.finish()
    assert server.poll(id, wait=20).json()["output"]["result"] == "done"


def test_a_failed_prediction_is_told_with_its_reason(server: Server) -> None:
    id = server.submit("out of tea", model="fails")
    response = server.poll(id, wait=20)
    assert response.status_code == 200
    assert response.json() == {
        "prediction_id": id,
        "status": "failed",
        "error": "The model raised ValueError: out of tea",
        "detail": "The model raised ValueError: out of tea",
        "code": "model_error",
    }


def test_a_failed_synchronous_call_is_a_problem_with_the_id_in_its_headers(server: Server) -> None:
    response = server.predict("out of tea", model="fails")
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "model_error"
    assert response.json()["error"] == "The model raised ValueError: out of tea"
    assert UUID7.fullmatch(response.headers["X-Prediction-Id"])


@pytest.mark.parametrize("path", ALIASES)
def test_an_unknown_id_is_not_found(server: Server, path: str) -> None:
    for id in ("01890a5d-ac96-774b-bcce-b302099a8057", "nonsense", "%00", "a" * 5000):
        response = server.client.get(f"{path}/{id}")
        assert response.status_code == 404
        assert response.json()["error"] == "Prediction ID not found."
        assert response.json()["code"] == "not_found"


def test_a_synchronous_prediction_is_gone_once_answered(server: Server) -> None:
    id = server.predict(1).headers["X-Prediction-Id"]
    assert server.poll(id).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status", "applied"),
    [
        ({}, 200, None),
        ({"Async-Mode": "false"}, 200, None),
        ({"Async-Mode": "TRUE"}, 202, None),
        ({"async_mode": "true"}, 202, None),
        ({"Prefer": "respond-async"}, 202, "respond-async"),
        ({"Prefer": "Respond-Async; foo=bar"}, 202, "respond-async"),
        ({"Prefer": "respond-async, wait=10"}, 200, "respond-async, wait=10"),
        ({"Prefer": 'foo="a, respond-async", wait=7'}, 200, "wait=7"),
        ({"Prefer": "wait=100000"}, 200, "wait=50"),
        ({"Prefer": "wait=soon"}, 200, None),
        ({"Prefer": "wait=0"}, 202, "wait=0"),
        ({"Prefer": "return=minimal"}, 200, None),
        ({"Prefer": "respond-async", "Async-Mode": "false"}, 200, None),
        ({"Prefer": "wait=10", "Async-Mode": "true"}, 202, None),
    ],
)
def test_the_mode_is_what_async_mode_says_or_else_what_is_preferred(
    server: Server, headers: dict[str, str], status: int, applied: str | None
) -> None:
    response = server.client.post("/predict", json={"input": 1}, headers=headers)
    assert response.status_code == status
    assert response.headers.get("Preference-Applied") == applied


def test_preferences_may_come_in_several_headers(server: Server) -> None:
    response = server.client.post(
        "/predict", json={"input": 1}, headers=[("Prefer", "wait=9"), ("Prefer", "respond-async")]
    )
    assert response.headers["Preference-Applied"] == "respond-async, wait=9"


def test_another_value_of_async_mode_is_an_error(server: Server) -> None:
    response = server.predict(1, Async_Mode="yes")
    assert response.status_code == 400
    assert response.json()["code"] == "invalid_header"
    assert "'yes'" in response.json()["error"]


def test_a_call_that_is_not_done_in_time_becomes_a_202_and_the_same_run_goes_on(
    server: Server, held: Holder
) -> None:
    response = server.predict(held.port, model="hold", Prefer="wait=1")
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"
    assert response.json()["message"] == (
        "Not finished within 1 s. Processing goes on asynchronously."
    )
    id = response.json()["prediction_id"]
    assert response.headers["X-Prediction-Id"] == id
    assert response.headers["Location"] == f"/predict/{id}"
    run = held.started()
    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(server.poll, id, 20)
        for _ in range(10):
            server.predict(1)  # the server has turned to the poll by now
        run.finish("the one run")
        assert polling.result().json()["output"]["result"] == "the one run"
    # It is kept from now on, not only until somebody has seen it.
    assert server.poll(id).json()["output"]["result"] == "the one run"


def test_sync_timeout_is_the_longest_that_a_synchronous_call_is_held(held: Holder) -> None:
    with Server(target("hold"), "--sync-timeout", "0.2") as server:
        response = server.predict(held.port)
        assert response.status_code == 202
        held.started().finish()
        assert server.poll(response.json()["prediction_id"]).status_code in (200, 202)


def test_a_long_poll_is_woken_by_the_end_of_the_prediction(server: Server, held: Holder) -> None:
    async def poll_and_finish() -> httpx2.Response:
        id = await asyncio.to_thread(server.submit, held.port, model="hold")
        run = await asyncio.to_thread(held.started)
        polling = asyncio.create_task(asyncio.to_thread(server.poll, id, 20))
        await asyncio.to_thread(server.predict, 1)  # the server has turned to it by now
        run.finish()
        return await polling

    response = asyncio.run(poll_and_finish())
    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "wait=20"


def test_a_long_poll_that_ends_in_vain_answers_as_any_poll(server: Server, held: Holder) -> None:
    id = server.submit(held.port, model="hold")
    response = server.poll(id, wait=1)
    assert response.status_code == 202
    assert response.json()["status"] in ("queued", "processing")
    held.started().finish()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_prediction_of_a_caller_who_hangs_up_is_canceled(
    server: Server, held: Holder, accept: str
) -> None:
    def canceled() -> int:
        count: int = server.client.get("/stats").json()["models"]["hold"]["canceled"]
        return count

    before = canceled()
    body = b'{"input": %d}' % held.port
    with socket.create_connection(("127.0.0.1", httpx2.URL(server.url).port or 0)) as connection:
        connection.sendall(
            b"POST /models/hold/predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Accept: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (accept.encode(), len(body), body)
        )
        run = held.started()
    while canceled() == before:
        pass
    run.finish()


def test_what_json_cannot_carry_is_an_error_that_names_the_place(server: Server) -> None:
    response = server.predict(2, model="not_a_number")
    assert response.status_code == 500
    assert response.json()["code"] == "invalid_output"
    assert "result[2]" in response.json()["error"]


def test_a_result_that_is_too_large_is_refused(server: Server) -> None:
    assert server.predict(998, model="long_text").status_code == 200
    response = server.predict(999, model="long_text")
    assert response.status_code == 500
    assert response.json()["code"] == "result_too_large"


@pytest.mark.parametrize("model", ["counts", "counts_async"])
def test_the_parts_of_a_generator_are_a_list(server: Server, model: str) -> None:
    assert server.predict(3, model=model).json()["result"] == [0, 1, 2]


def test_the_first_model_is_the_default_and_each_has_its_own_path(server: Server) -> None:
    assert server.predict(1).json() == server.predict(1, model="echo").json()
    response = server.client.post("/models/echo/predict", json={"input": 1}, headers=ASYNC)
    assert response.headers["Location"] == f"/predict/{response.json()['prediction_id']}"
    unknown = server.predict(1, model="nobody")
    assert unknown.status_code == 404
    assert "There is: echo, hold" in unknown.json()["error"]


def test_a_thousand_callers_at_once_each_get_their_own_answer(server: Server) -> None:
    values: list[object] = list(range(1000))
    responses = asyncio.run(gather_posts(server.url, values))
    assert [response.json()["result"] for response in responses] == values


def test_a_full_queue_answers_429_with_the_time_to_come_back(held: Holder) -> None:
    with Server(target("hold"), "--concurrency", "1", "--max-queued", "5") as server:
        server.submit(held.port)
        run = held.started()
        for _ in range(10):
            last = server.predict(held.port, Async_Mode="true")
            if last.status_code == 429:
                break
        assert last.status_code == 429
        assert last.json()["code"] == "queue_full"
        assert int(last.headers["Retry-After"]) >= 1
        run.finish()
        held.started().finish()


@pytest.mark.parametrize("compat", ["streams", "background"])
def test_a_compat_rendering_changes_only_the_bodies_of_polls(held: Holder, compat: str) -> None:
    with Server(target("hold"), "--compat", compat) as server:
        id = server.submit(held.port)
        run = held.started()
        unfinished = server.poll(id)
        assert unfinished.status_code == 202
        assert "Retry-After" in unfinished.headers
        run.finish()
        finished = server.poll(id, wait=20)
        assert finished.status_code == 200
    output = {"input": held.port, "result": "done"}
    if compat == "streams":
        processing = {"input": held.port, "result": "processing"}
        assert unfinished.json() == {"prediction_id": id, "output": processing}
        assert finished.json() == {"prediction_id": id, "status": "completed", "output": output}
    else:
        assert unfinished.json() == {"detail": "Prediction is still processing."}
        assert finished.json()["output"] == output | {"status": "completed"}
