"""What the client promises about time: `timeout` and `patience` are kept, and told truly."""

import json
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx2
import pytest

from tests.client.conftest import Connect
from tests.harness import Server, free_port, holder
from zypher import AsyncClient, Client
from zypher.client import calls, persistence, requests
from zypher.client.calls import Calls
from zypher.client.http import arguments
from zypher.errors import Unavailable, Unreachable, WaitTimeout, ZypherError
from zypher.server.streams import HEARTBEAT
from zypher.testing.clock import ManualClock

LOADING = {"code": "unavailable", "detail": "The models are still loading."}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time of those who take the steps of a call themselves, instead of the machine's."""
    clock = ManualClock()
    for module in (calls, persistence):
        monkeypatch.setattr(module, "monotonic", clock.steady)
    return clock


@contextmanager
def hanging() -> Iterator[str]:
    """The url of a server that takes connections, but answers nobody."""
    with Server("--mock-delay", "0") as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            yield server.url
        finally:
            server.process.send_signal(signal.SIGCONT)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails if it takes longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
def test_a_server_that_loads_its_models_gets_all_patience_also_when_it_was_away_at_first(
    headers: dict[str, str], clock: ManualClock
) -> None:
    steps = Calls("http://127.0.0.1:8080", None, patience=60).models()
    next(steps)
    began = clock.steady()
    request = steps.send(httpx2.ConnectError("Connection refused"))
    while clock.steady() - began < 50:
        clock.advance(request.pause)
        request = steps.send(httpx2.Response(503, headers=headers, json=LOADING))
    with pytest.raises(StopIteration):
        steps.send(httpx2.Response(200, json={"models": []}))


def test_a_timeout_is_kept_where_the_server_hangs(connect: Connect) -> None:
    with hanging() as url:
        client = connect(url)
        given_up: list[Callable[[], object]] = [
            lambda: client.predict("x", timeout=2),
            lambda: client.predict("x", idempotency_key="key", timeout=2),
            lambda: client.handle("abc").wait(timeout=2),
        ]
        for call in given_up:
            with within(4), pytest.raises(WaitTimeout, match="did not answer in time") as late:
                call()
            assert isinstance(late.value.__cause__, Unreachable)
            assert "goes on" not in str(late.value)


def test_patience_is_kept_where_the_server_hangs(connect: Connect) -> None:
    with hanging() as url:
        client = connect(url, patience=5)
        client._calls.has_answered = True
        for call in (client.models, lambda: client.submit("x")):
            with within(8), pytest.raises(Unreachable, match="did not answer in time"):
                call()


def test_a_timeout_says_that_nobody_has_answered(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{free_port()}")
    with within(3), pytest.raises(WaitTimeout, match="No server can be reached") as late:
        client.handle("abc").wait(timeout=1)
    assert "Whether prediction abc has ended could not be learned" in str(late.value)
    assert late.value.id == "abc"
    with within(3), pytest.raises(WaitTimeout, match=r"No result .*No server can be") as late:
        client.predict("x", timeout=1)
    assert late.value.id is None


def test_a_timeout_has_the_id_of_what_goes_on(client: Client) -> None:
    with holder() as holding:
        with pytest.raises(TimeoutError, match="It goes on") as late:
            client.predict(holding.port, model="hold", timeout=0.5)
        error = late.value
        assert isinstance(error, WaitTimeout)
        assert isinstance(error, ZypherError)
        assert error.id is not None
        assert pickle.loads(pickle.dumps(error)).id == error.id
        holding.started().finish("late")
        assert client.handle(error.id).wait() == "late"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("name", ["timeout", "patience"])
def test_what_is_no_time_is_refused_at_once(kind: Callable[..., Any], name: str) -> None:
    for value in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"{name} is a number of seconds from 0 on"):
            kind(**{name: value})
    with pytest.raises(TypeError, match=f"{name} is a number of seconds, not '5'"):
        kind(**{name: "5"})


def test_what_is_no_time_is_refused_by_each_call(client: Client) -> None:
    for call in (client.predict, lambda _, timeout: client.handle("x").wait(timeout)):
        with pytest.raises(ValueError, match="timeout is a number of seconds from 0 on"):
            cast("Any", call)(1, timeout=-1)
        with pytest.raises(TypeError, match="timeout is a number of seconds, not '5'"):
            cast("Any", call)(1, timeout="5")


def test_a_stream_of_events_may_be_silent_for_longer_than_a_heartbeat() -> None:
    assert arguments(requests.events("x", None))["timeout"].read >= 2 * HEARTBEAT


def test_while_room_is_awaited_the_timeout_does_not_run(clock: ManualClock) -> None:
    full = {"code": "queue_full", "detail": "No room."}
    calls = Calls("http://127.0.0.1:8080", timeout=1.5, patience=60)
    steps = calls.predict(1, None, None, {}, awaits_room=True)
    first = next(steps)
    clock.advance(1)
    again = steps.send(httpx2.Response(429, content=json.dumps(full)))
    assert again.wait == first.wait == 1


def test_a_repeat_asks_the_server_to_wait_for_what_is_left(clock: ManualClock) -> None:
    steps = Calls("http://127.0.0.1:8080", timeout=2.5, patience=60).predict(1, None, "key", {})
    assert next(steps).wait == 2
    clock.advance(1)
    assert steps.send(httpx2.Response(503, json=LOADING)).wait == 1
    clock.advance(1.6)
    with pytest.raises(WaitTimeout, match="still loading") as late:
        steps.send(httpx2.Response(503, json=LOADING))
    assert isinstance(late.value.__cause__, Unavailable)
