"""What the client promises while nothing goes wrong on the way."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import pytest

from tests.harness import Server, holder
from zypher import Client
from zypher.client import Options
from zypher.errors import (
    Canceled,
    Conflict,
    DeadlineExceeded,
    InvalidHeader,
    InvalidInput,
    InvalidOutput,
    ModelError,
    NotFound,
    PayloadTooLarge,
)
from zypher.server.options import Body


def test_predict_returns_the_result(client: Client) -> None:
    values: list[object] = [{"a": [1, 2.5, None, "ü"]}, None, 2**70, [], "x" * 100_000]
    for value in values:
        assert client.predict(value) == value


def test_predict_asks_the_model_that_is_named(client: Client) -> None:
    assert client.predict([1, 2, 3], model="numbers") == 6
    with pytest.raises(NotFound, match="no model 'elsewhere'"):
        client.predict(1, model="elsewhere")


def test_an_input_is_what_json_can_carry(client: Client) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert client.predict((moment, b"abc")) == ["2026-01-02T00:00:00Z", "YWJj"]
    for value in (float("nan"), [float("inf")], object(), {1: {2}, "x": object()}):
        with pytest.raises(InvalidInput, match="cannot be sent as JSON"):
            client.predict(value)


def test_what_the_model_does_not_take_is_told_with_its_places(client: Client) -> None:
    with pytest.raises(InvalidInput, match="does not fit") as refused:
        client.predict(["x"], model="numbers")
    assert refused.value.errors[0]["loc"] == ["input", 0]


def test_a_failure_of_the_model_is_raised_by_its_class(client: Client) -> None:
    with pytest.raises(ModelError, match="ValueError: no luck"):
        client.predict("no luck", model="fails")
    with pytest.raises(ModelError, match="ValueError: no luck"):
        client.submit("no luck", model="fails").wait()
    with pytest.raises(InvalidOutput):
        client.submit(1, model="not_a_number").wait()


def test_submit_returns_at_once_and_wait_has_the_result(client: Client) -> None:
    with holder() as holding:
        handle = client.submit(holding.port, model="hold")
        run = holding.started()
        assert handle.get().status == "processing"
        assert not handle.get().done
        run.finish("late")
        assert handle.wait() == "late"


def test_a_record_has_the_values_of_the_prediction(client: Client) -> None:
    handle = client.submit([1, 2], priority="low", deadline=60, model="numbers")
    handle.wait()
    record = handle.get()
    assert (record.id, record.model, record.status) == (handle.id, "numbers", "completed")
    assert (record.input, record.result, record.done) == ([1, 2], 3, True)
    assert (record.priority, record.options) == ("low", {"deadline": 60})
    assert record.finished is not None
    assert timedelta(0) < record.finished - record.created < timedelta(seconds=60)
    assert record.error is record.code is None


def test_the_record_of_a_failure_says_why(client: Client) -> None:
    handle = client.submit("no luck", model="fails")
    with pytest.raises(ModelError):
        handle.wait()
    record = handle.get()
    assert (record.status, record.code, record.done) == ("failed", "model_error", True)
    assert record.error == "The model raised ValueError: no luck"


def test_a_key_makes_two_calls_one_prediction(client: Client) -> None:
    with holder() as holding:
        key = f"key-{holding.port}"
        first = client.submit(holding.port, model="hold", idempotency_key=key)
        holding.started().finish("once")
        assert client.predict(holding.port, model="hold", idempotency_key=key) == "once"
        again = client.submit(holding.port, model="hold", idempotency_key=key)
        assert again.id == first.id


def test_a_key_that_no_header_can_carry_is_refused(client: Client) -> None:
    for key in ("", "two words", "ü", "a\nb", "x" * 256):
        with pytest.raises(InvalidHeader, match="1 to 255 visible ASCII"):
            client.predict(1, idempotency_key=key)


def test_without_a_key_two_submits_are_two_predictions(client: Client) -> None:
    assert client.submit(1).id != client.submit(1).id


def test_an_unknown_id_is_not_found(client: Client) -> None:
    for id in ("nothing", "../stats", "a b?c#d%e", "ü"):
        handle = client.handle(id)
        assert handle.id == id
        for call in (handle.get, handle.wait, handle.cancel, handle.retry, handle.delete):
            with pytest.raises(NotFound):
                call()
        with pytest.raises(NotFound):
            list(handle.events())


def test_what_is_canceled_tells_so_to_those_who_wait(client: Client) -> None:
    with holder() as holding:
        handle = client.submit(holding.port, model="hold")
        run = holding.started()
        assert handle.cancel().status == "canceled"
        assert handle.cancel().status == "canceled"  # it is what was wanted
        with pytest.raises(Canceled):
            handle.wait()
        run.close()


def test_what_has_ended_cannot_be_canceled(client: Client) -> None:
    handle = client.submit(1)
    handle.wait()
    with pytest.raises(Conflict, match="ended already"):
        handle.cancel()


def test_retry_is_a_new_prediction_of_the_same_input(client: Client) -> None:
    handle = client.submit({"a": 1})
    handle.wait()
    again = handle.retry()
    assert again.wait() == {"a": 1}
    assert again.get().retry_of == handle.id != again.id


def test_what_was_deleted_is_gone(client: Client) -> None:
    handle = client.submit(1)
    handle.wait()
    handle.delete()
    with pytest.raises(NotFound):
        handle.get()


def test_out_of_time_the_error_has_the_id_and_the_run_goes_on(client: Client) -> None:
    with holder() as holding:
        for timeout in (0, 0.3, 1.2):
            with pytest.raises(TimeoutError, match="It goes on") as late:
                client.predict(holding.port, model="hold", timeout=timeout)
            id = str(late.value).split()[1]
            with pytest.raises(TimeoutError, match=id):
                client.handle(id).wait(timeout)
            holding.started().finish("after all")
            assert client.handle(id).wait() == "after all"


def test_the_timeout_of_a_client_holds_for_its_calls(server: Server, connect: Any) -> None:
    client: Client = connect(server.url, timeout=0.2)
    with holder() as holding:
        with pytest.raises(TimeoutError):
            client.predict(holding.port, model="hold")
        holding.started().close()
        handle = client.submit(holding.port, model="hold")
        with pytest.raises(TimeoutError, match=handle.id):
            handle.wait()
        holding.started().finish("now")
        assert handle.wait(30) == "now"


def test_the_headers_of_a_client_go_with_every_request(server: Server, connect: Any) -> None:
    client: Client = connect(server.url, headers={"Cancel-After": "0.1s"})
    with pytest.raises(DeadlineExceeded):
        client.predict(60, model="nap")
    with pytest.raises(DeadlineExceeded):
        client.submit(60, model="nap").wait()


def test_what_is_too_large_is_refused(client: Client) -> None:
    with pytest.raises(PayloadTooLarge, match="max-body-size"):
        client.predict("x" * 17_000_000)


def test_a_call_that_becomes_a_202_waits_on(connect: Any) -> None:
    with Server("--sync-timeout", "0.2", "--mock-delay", "1") as server:
        client: Client = connect(server.url)
        float(client.predict("a"))
        assert [record.status for record in client.list()] == ["completed"]


def test_list_pages_by_itself(connect: Any) -> None:
    with Server("--mock-delay", "0") as server:
        client: Client = connect(server.url)
        ids = [client.submit(number).id for number in range(210)]
        for id in ids:
            client.handle(id).wait()
        assert [record.id for record in client.list()] == ids[::-1]
        assert [record.id for record in client.list(limit=205)] == ids[:4:-1]
        assert [record.id for record in client.list(limit=2)] == ids[:-3:-1]
        assert not list(client.list(limit=0))
        assert not list(client.list(status="failed"))
        with pytest.raises(InvalidInput, match="status"):
            list(client.list(status="done"))  # type: ignore[arg-type]


def test_models_stats_and_readiness_are_those_of_the_server(client: Client) -> None:
    models = {model.name: model for model in client.models()}
    assert next(iter(models)) == "echo"
    assert models["numbers"].input_schema["type"] == "array"
    assert models["numbers"].description == "Adds up."
    assert client.stats()["models"]["echo"]["replicas"]["ready"] == 1
    assert client.ready()["status"] == "ready"


def test_the_options_are_those_of_the_server() -> None:
    theirs = {name for name in Body.__struct_fields__ if name != "input"}
    assert set(get_type_hints(Options)) == theirs


def test_an_option_that_does_not_exist_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInput, match="prioritty"):
        client.predict(1, prioritty="high")  # type: ignore[call-arg]


def test_events_tell_what_happens_and_end_with_the_end(client: Client) -> None:
    events = list(client.submit(3, model="counts").events())
    assert [event.data for event in events if event.type == "output"] == [0, 1, 2]
    assert {event.type for event in events} == {"status", "output"}
    assert events[-1].type == "status"
    assert events[-1].data["result"] == [0, 1, 2]
