"""Webhooks of a real server: asked for with a prediction, and called whatever happens."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from standardwebhooks import Webhook

from tests.harness import Server, target
from tests.receiver import SECRET, Receiver
from zypher.errors import ConfigurationError, InvalidInput
from zypher.server.webhooks import door_for
from zypher.settings import load_settings

SENDING = ("--webhook-secret", SECRET, "--webhook-allow-private", "true")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(target("echo"), target("fails"), *SENDING) as server:
        yield server


def ask(
    server: Server, value: object, webhook: object, *, mode: str = "true", model: str = "echo"
) -> httpx2.Response:
    """POST an input with a webhook."""
    body = {"input": value, "webhook": webhook}
    headers = {"Async-Mode": mode}
    return server.client.post(f"/models/{model}/predict", json=body, headers=headers)


def test_the_end_of_a_prediction_is_told_to_its_webhook(server: Server) -> None:
    with Receiver() as receiver:
        id = ask(server, "hi", receiver.url()).json()["prediction_id"]
        call = receiver.next()
    told = Webhook(SECRET).verify(call.body, dict(call.headers))
    assert told["type"] == "prediction.completed"
    data = told["data"]
    assert (data["prediction_id"], data["input"], data["result"]) == (id, "hi", "hi")


def test_a_failure_is_told_as_well(server: Server) -> None:
    with Receiver() as receiver:
        ask(server, "no", receiver.url(), model="fails")
        data = receiver.next().data
    assert (data["status"], data["code"]) == ("failed", "model_error")
    assert "ValueError" in data["error"]


def test_a_caller_who_waits_gets_the_result_and_the_webhook_is_called(server: Server) -> None:
    with Receiver() as receiver:
        assert ask(server, 1, receiver.url(), mode="false").json() == {"input": 1, "result": 1}
        assert receiver.next().data["result"] == 1


def test_a_receiver_that_does_not_answer_delays_no_prediction(server: Server) -> None:
    with Receiver(None) as receiver:
        for number in range(20):
            assert ask(server, number, receiver.url(), mode="false").json()["result"] == number
        receiver.next()


@pytest.mark.parametrize("webhook", ["ftp://receiver.example/", "https://", 1, ["https://a/"]])
def test_a_webhook_that_cannot_be_called_is_refused(server: Server, webhook: object) -> None:
    response = ask(server, 1, webhook)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][0] == "body"


def test_without_a_secret_a_webhook_is_refused_with_the_setting_that_is_missing() -> None:
    door = door_for(load_settings(webhook_secret=""))
    with pytest.raises(InvalidInput, match="webhook-secret") as raised:
        door.require("https://receiver.example/")
    assert raised.value.errors is not None
    assert raised.value.errors[0]["loc"] == ["body", "webhook"]


def test_a_private_receiver_is_refused_with_the_setting_that_would_allow_it() -> None:
    door = door_for(load_settings(webhook_secret=SECRET))
    with pytest.raises(InvalidInput, match="webhook-allow-private"):
        door.require("https://10.0.0.1/")


@pytest.mark.parametrize("secret", ["hunter2", "whsec_hunter2", "whsec_aHVudGVyMg=="])
def test_a_wrong_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="webhook-secret is wrong") as raised:
        load_settings(webhook_secret=secret)
    assert secret not in str(raised.value)


def test_secrets_do_not_appear_where_settings_are_shown() -> None:
    settings = load_settings(webhook_secret=f"{SECRET}, {SECRET}")
    assert len(settings.webhook_secret) == 2
    assert SECRET not in f"{settings!r} {settings.model_dump_json()}"


def test_what_ended_before_the_server_was_killed_is_told_by_the_next(tmp_path: Path) -> None:
    with Receiver(None, 200) as receiver:
        with Server(target("echo"), *SENDING, cwd=tmp_path) as server:
            id = ask(server, "hi", receiver.url()).json()["prediction_id"]
            first = receiver.next()  # it has ended, and the receiver has not answered
            os.killpg(server.process.pid, signal.SIGKILL)
        with Server(target("echo"), *SENDING, cwd=tmp_path) as server:
            second = receiver.next()
            assert server.poll(id).json()["status"] == "completed"
            server.stop()
            assert SECRET not in "".join(server.lines)
    assert first.id == second.id == id
    assert Webhook(SECRET).verify(second.body, dict(second.headers))["data"] == first.data
