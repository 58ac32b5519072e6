"""What answers mean, to the last of them; those that no server of ours gives come from a stub."""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

import zypher.errors
from tests.client.conftest import Connect
from zypher.client.answers import error_of
from zypher.errors import PredictionError, Unreachable, prediction_errors
from zypher.server.problems import STATUS, problem


def sent(code: str, **headers: str) -> httpx2.Response:
    """What a client gets of a problem."""
    errors = [{"loc": ["input"], "msg": "no", "type": "x"}]
    response = problem(code, "It went wrong.", errors=errors, headers=headers)
    return httpx2.Response(
        response.status_code, headers=dict(response.headers), content=bytes(response.body)
    )


@pytest.mark.parametrize("code", STATUS)
def test_every_code_is_raised_as_the_class_that_has_it(code: str) -> None:
    error = error_of(sent(code, **{"Retry-After": "7"}))
    (kind,) = [kind for kind in prediction_errors() if kind.code == code]
    assert type(error) is kind
    assert (str(error), error.code, error.retry_after) == ("It went wrong.", code, 7)
    assert error.errors == [{"loc": ["input"], "msg": "no", "type": "x"}]


def test_a_code_that_is_not_known_is_the_base_of_all_with_that_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(STATUS, "from_the_future", 418)
    error = error_of(sent("from_the_future"))
    assert type(error) is PredictionError
    assert error.code == "from_the_future"
    assert not hasattr(PredictionError, "code")


@contextmanager
def stub(*answers: tuple[int, str]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers one after the other; its url, and who asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(f"{self.command} {self.path}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_what_a_proxy_answers_in_its_place_is_asked_again_where_that_is_safe(
    connect: Connect,
) -> None:
    with stub((502, "<html>"), (504, ""), (200, '{"models": []}')) as (url, asked):
        assert connect(url).models() == []
        assert len(asked) == 3


def test_what_a_proxy_answers_to_a_predict_without_a_key_is_final(connect: Connect) -> None:
    for status in (502, 503, 504):
        with stub((status, "<html>")) as (url, asked):
            with pytest.raises(Unreachable, match=f"answered {status} .* in its place") as lost:
                connect(url).predict(1)
            assert lost.value.was_sent
            assert asked == ["POST /predict"]


@pytest.mark.parametrize("answer", [(200, "<html>"), (404, "no"), (200, "[]"), (301, "")])
def test_another_server_is_told_apart(connect: Connect, answer: tuple[int, str]) -> None:
    with stub(answer) as (url, asked):
        client = connect(url)
        calls: list[Callable[[], object]] = [
            client.models,
            client.stats,
            client.ready,
            lambda: client.predict(1),
        ]
        handle = client.handle("x")
        calls += [handle.get, handle.wait, handle.cancel, lambda: list(handle.events())]
        for call in calls:
            with pytest.raises(PredictionError, match="not as a Zypher server does") as error:
                call()
            assert error.value.code == f"http_{answer[0]}"
        assert len(asked) == len(calls)


def test_readiness_is_told_also_when_there_is_none(connect: Connect) -> None:
    with stub((503, '{"status": "draining"}')) as (url, asked):
        assert connect(url).ready() == {"status": "draining"}
        assert len(asked) == 1


def test_errors_survive_being_sent_to_another_process() -> None:
    error = error_of(sent("queue_full", **{"Retry-After": "7"}))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is zypher.errors.QueueFull
    assert (copy.retry_after, str(copy)) == (7, "It went wrong.")
    assert pickle.loads(pickle.dumps(Unreachable("no", was_sent=True))).was_sent
