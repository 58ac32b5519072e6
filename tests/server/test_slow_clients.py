"""Clients that are slow on purpose: what they hold is taken from them, and nobody else notices."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from tests.harness import PATIENCE, Server, target
from tests.server.raw import Wire, wire

TIMEOUT = 0.4
AT_ONCE = 2.0  # far more than a neighbour's answer takes, and far less than what they wait for
LARGE = 12_000_000
GREEDY = 5

MODELS = ("echo", "nap", "long_text", "hold", "counts")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*map(target, MODELS), "--client-timeout", str(TIMEOUT)) as server:
        yield server


def neighbour_is_answered_at_once(server: Server) -> None:
    begun = time.monotonic()
    assert server.predict("x", model="echo").json() == {"input": "x", "result": "x"}
    assert server.client.get("/readyz").status_code == 200
    assert time.monotonic() - begun < AT_ONCE


def test_a_request_whose_head_does_not_come_to_its_end_is_refused(server: Server) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(wire(server.url)) for _ in range(50)]
        for client in slow:
            client.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ")
        neighbour_is_answered_at_once(server)
        for client in slow:
            answer = client.answer()
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert client.is_closed()


def test_a_head_that_goes_on_byte_by_byte_is_refused(server: Server) -> None:
    with wire(server.url) as client:
        begun = time.monotonic()
        client.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ")
        while time.monotonic() - begun < TIMEOUT:
            client.send(b"a")
            time.sleep(0.05)
        assert client.answer().status == 408


@pytest.mark.parametrize("path", ["/predict", "/nothing"])
def test_a_body_that_does_not_come_on_ends_its_connection(server: Server, path: str) -> None:
    with wire(server.url) as client:
        length = ("Content-Length: 1000", "Content-Type: application/json")
        client.send(client.head(path, *length, method="POST") + b'{"input": ')
        neighbour_is_answered_at_once(server)
        assert client.answer().status == (408 if path == "/predict" else 404)
        assert client.is_closed()


def test_a_large_body_that_comes_on_is_waited_for(server: Server) -> None:
    text = b'{"input": "' + b"x" * 3000 + b'"}'
    length = (f"Content-Length: {len(text)}", "Content-Type: application/json")
    with wire(server.url) as client:
        client.send(client.head("/predict", *length, method="POST"))
        for begin in range(0, len(text), 200):  # about a second
            client.send(text[begin : begin + 200])
            time.sleep(0.06)
        assert client.answer().status == 200


def test_a_connection_on_which_nothing_is_asked_is_closed_without_a_word(server: Server) -> None:
    with wire(server.url) as never, wire(server.url) as once:
        once.ask()
        assert once.answer().status == 200
        assert never.is_closed()
        assert once.is_closed()


def test_blank_lines_are_no_request(server: Server) -> None:
    begun = time.monotonic()
    with wire(server.url) as client, suppress(ConnectionError):
        while time.monotonic() - begun < PATIENCE:
            client.send(b"\r\n")
            time.sleep(0.05)
    assert time.monotonic() - begun < PATIENCE


def test_a_model_may_take_longer_than_a_client_and_a_stream_be_without_news(
    server: Server,
) -> None:
    with wire(server.url) as waiting, wire(server.url) as client:
        waiting.post(3 * TIMEOUT, "/models/nap/predict")
        client.post(3 * TIMEOUT, "/models/nap/predict", "Accept: text/event-stream")
        assert waiting.answer().status == 200
        assert client.answer().status == 200
        text = b""
        while b"completed" not in text:
            text += client._answers.readline()


def test_an_answer_that_nobody_reads_is_held_no_longer_than_a_client_may_take(
    server: Server,
) -> None:
    process = psutil.Process(server.process.pid)
    sizes = []
    for _ in range(4):
        with ExitStack() as stack:
            greedy = [stack.enter_context(wire(server.url)) for _ in range(GREEDY)]
            for client in greedy:
                client.post(LARGE, "/models/long_text/predict")
            neighbour_is_answered_at_once(server)
            deadline = time.monotonic() + PATIENCE
            while held(server, greedy):
                assert time.monotonic() < deadline, "what nobody reads is still held"
                time.sleep(0.05)
        sizes.append(process.memory_info().rss)
    # Of three times as much, had it been kept: an allocator may keep what one round took.
    assert sizes[-1] - sizes[0] < 2 * GREEDY * LARGE


def held(server: Server, clients: list[Wire]) -> int:
    """How many of these connections the server has not given up."""
    ours = {client._socket.getsockname()[1] for client in clients}
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(1 for one in connections if one.raddr and one.raddr.port in ours)


def test_a_slow_reader_that_comes_on_gets_all_of_a_large_answer(server: Server) -> None:
    with wire(server.url) as client:
        client.post(LARGE, "/models/long_text/predict")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client._answers.read(1)
        left = int(head.lower().partition(b"content-length: ")[2].split()[0])
        while left:
            left -= len(client._answers.read(min(left, 1_500_000)))
            time.sleep(0.1)  # a second, for all


HEADS = {
    "one endless field": (b"X: ", b"a", "header_too_large", 431),
    "many fields": (b"", b"X: a\r\n", "header_too_large", 431),
    "large fields": (b"", b"X: " + 4000 * b"a" + b"\r\n", "header_too_large", 431),
    "an endless name": (b"", b"X", "header_too_large", 431),
}


@pytest.mark.parametrize(("begin", "more", "code", "status"), HEADS.values(), ids=HEADS)
def test_a_head_that_is_too_large_is_refused_before_its_end(
    server: Server, begin: bytes, more: bytes, code: str, status: int
) -> None:
    with wire(server.url) as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + begin)
        client.send(more * (70_000 // len(more)))
        answer = client.answer()
        assert (answer.status, answer.code) == (status, code)
        assert client.is_closed()


@pytest.mark.parametrize("more", [b"a", b"X-T: a\r\n"], ids=["one field", "many"])
def test_what_comes_behind_a_body_is_bounded_as_what_comes_before(
    server: Server, more: bytes
) -> None:
    with wire(server.url) as client:
        length = "Transfer-Encoding: chunked"
        client.send(
            client.head("/predict", length, "Content-Type: application/json", method="POST")
        )
        client.send(b"3\r\n{}\n\r\n0\r\nX-T: ")
        with suppress(OSError):  # it is refused in the middle
            for _ in range(200):
                client.send(more * (1_000_000 // len(more)))
        memory = psutil.Process(server.process.pid).memory_info().rss
        neighbour_is_answered_at_once(server)
        assert memory < 200_000_000


def test_a_whole_head_with_too_many_fields_is_refused(server: Server) -> None:
    with wire(server.url) as client:
        client.ask("/livez", *(f"X-{number}: a" for number in range(100)))
        answer = client.answer()
        assert (answer.status, answer.code) == (431, "header_too_large")


def test_a_path_that_is_too_long_is_refused_before_its_end(server: Server) -> None:
    with wire(server.url) as client:
        client.send(b"GET /" + 70_000 * b"a")
        answer = client.answer()
        assert (answer.status, answer.code) == (414, "uri_too_long")


def test_a_large_head_within_the_bounds_is_read_however_it_is_cut(server: Server) -> None:
    fields = [f"X-{number}: {'a' * 300}" for number in range(90)]
    with wire(server.url) as client:
        for size in (300, 10_000_000):
            head = client.head("/livez", *fields)
            for begin in range(0, len(head), size):
                client.send(head[begin : begin + size])
            assert client.answer().status == 200


def test_many_requests_behind_one_that_waits_are_not_taken_in(server: Server) -> None:
    with wire(server.url) as client:
        client.post(0.3, "/models/nap/predict")
        client.send(client.head("/livez") * 1000)
        neighbour_is_answered_at_once(server)
        assert client.answer().status == 200
        assert 0 < client._answers.read().count(b"HTTP/1.1 200") <= 17
