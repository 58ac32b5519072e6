"""More connections than there may be: probes are answered, and who asks something goes first."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness import Server, target
from tests.server.raw import Wire, wire
from zypher.server.connections import most_connections

MOST = 20
AT_ONCE = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = map(target, ("echo", "nap"))
    with Server(*models, "--max-connections", str(MOST), "--max-streams", "3") as server:
        yield server


def opened(stack: ExitStack, server: Server, number: int) -> list[Wire]:
    return [stack.enter_context(wire(server.url)) for _ in range(number)]


def test_those_that_ask_nothing_make_room_for_those_that_do(server: Server) -> None:
    with ExitStack() as stack:
        idle = opened(stack, server, MOST)
        busy = stack.enter_context(wire(server.url))
        busy.post(0.5, "/models/nap/predict")
        for _ in range(10):
            idle += opened(stack, server, MOST)
            with wire(server.url) as neighbour:
                begun = time.monotonic()
                neighbour.post("x")
                assert neighbour.answer().status == 200
                assert time.monotonic() - begun < AT_ONCE
        assert busy.answer().body == b'{"input":0.5,"result":0.5}'
        assert idle[0].is_closed()


def test_where_all_ask_something_others_are_told_to_come_back_and_probes_are_answered(
    server: Server,
) -> None:
    with ExitStack() as stack:
        busy = opened(stack, server, MOST)
        for client in busy:
            client.post(1.0, "/models/nap/predict")
        for path, status in [("/livez", 200), ("/readyz", 200), ("/stats", 503), ("/predict", 503)]:
            with wire(server.url) as another:
                another.ask(path)
                answer = another.answer()
                assert answer.status == status
                if status == 503:
                    assert answer.code == "unavailable"
                    assert answer.headers["retry-after"] == "1"
                    assert another.is_closed()
        assert {client.answer().status for client in busy} == {200}


def test_more_event_streams_than_there_may_be_are_told_to_poll(server: Server) -> None:
    with ExitStack() as stack:
        for client in opened(stack, server, 3):
            client.ask("/events")
            assert client.answer().status == 200
        id = server.submit("x")
        server.poll(id, wait=10)
        for path in ("/events", f"/predictions/{id}/events"):
            with wire(server.url) as another:
                another.ask(path)
                answer = another.answer()
                assert (answer.status, answer.code) == (503, "unavailable")
        before = server.client.get("/stats").json()["models"]["echo"]
        with wire(server.url) as another:
            another.post("x", "/predict", "Accept: text/event-stream")
            assert another.answer().status == 503
        after = server.client.get("/stats").json()["models"]["echo"]
        assert before["completed"] == after["completed"]
    there_is_room_for_streams(server)


def test_a_stream_that_others_wait_behind_ends_when_its_caller_hangs_up(server: Server) -> None:
    for _ in range(10):
        there_is_room_for_streams(server, "/livez")


def there_is_room_for_streams(server: Server, *behind: str) -> None:
    """Sooner or later one can be followed; what is asked behind it waits for its end."""
    deadline = time.monotonic() + 10
    status = 503
    while status == 503:
        assert time.monotonic() < deadline
        with wire(server.url) as client:
            client.send(b"".join(map(client.head, ("/events", *behind))))
            status = client.answer().status
    assert status == 200


def test_a_process_may_open_as_many_files_as_its_connections_need(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        assert most_connections(1000) == 1000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1000 + 512
        assert not caplog.records
        assert most_connections(hard) == hard - 512
        assert "max-connections" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_that_may_open_few_files_serves_fewer_connections_and_its_probes() -> None:
    few = ("prlimit", "--nofile=530:530")
    with (
        Server(target("echo"), prefix=few) as server,
        ExitStack() as stack,
    ):
        assert any("18 connections are served at once" in line for line in server.lines)
        opened(stack, server, 200)
        assert server.client.get("/readyz").status_code == 200
        assert server.predict("x").status_code == 200
