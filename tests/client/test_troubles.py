"""What the client promises while servers, connections and queues fail: nothing lost or doubled."""

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.client.conftest import Connect, meanwhile
from tests.client.wire import wire_to
from tests.harness import PATIENCE, Server, free_port, holder, steady_port, target
from tests.redis_servers import RedisServer
from zypher.errors import QueueFull, Unavailable, Unreachable

QUICK = ("--mock-delay", "0")


def runs(server: Server) -> int:
    """How many predictions have ended at this server."""
    models = server.client.get("/stats").json()["models"].values()
    return sum(model["completed"] for model in models)


def test_a_submit_whose_answer_is_lost_is_repeated_and_is_one_prediction(connect: Connect) -> None:
    with Server(*QUICK) as server, wire_to(server) as wire:
        client = connect(wire.url)
        wire.lose_next_answer()
        handle = client.submit("x")
        assert wire.has_lost_an_answer
        handle.wait()
        assert [record.id for record in client.list()] == [handle.id]
        assert runs(server) == 1


def test_a_retry_whose_answer_is_lost_is_repeated_and_is_one_prediction(connect: Connect) -> None:
    with Server(*QUICK) as server, wire_to(server) as wire:
        client = connect(wire.url)
        handle = client.submit("x")
        handle.wait()
        wire.lose_next_answer()
        again = handle.retry()
        assert wire.has_lost_an_answer
        again.wait()
        assert [record.id for record in client.list()] == [again.id, handle.id]


def test_a_predict_with_a_key_is_repeated_and_runs_once(connect: Connect) -> None:
    with Server(*QUICK) as server, wire_to(server) as wire:
        wire.lose_next_answer()
        float(connect(wire.url).predict("x", idempotency_key="order-17"))
        assert wire.has_lost_an_answer
        assert runs(server) == 1


def test_a_predict_without_a_key_is_not_repeated_once_it_was_sent(connect: Connect) -> None:
    with Server(*QUICK) as server, wire_to(server) as wire:
        wire.lose_next_answer()
        with pytest.raises(Unreachable, match="broke before the answer was there") as lost:
            connect(wire.url).predict("x")
        assert lost.value.was_sent
        assert runs(server) == 1


def test_a_predict_without_a_key_is_repeated_while_nothing_can_be_sent(connect: Connect) -> None:
    arguments = (*QUICK, "--port", str(steady_port()))
    with Server(*arguments) as first:
        client = connect(first.url)
        client.predict("it has answered")

    def come_back() -> None:
        with Server(*arguments) as again:
            assert finished.wait(PATIENCE)
            assert runs(again) == 1

    finished = threading.Event()
    with meanwhile(come_back):
        client.predict("x")
        finished.set()


def test_a_cancel_whose_answer_is_lost_has_canceled(connect: Connect) -> None:
    with Server(target("hold")) as server, wire_to(server) as wire, holder() as holding:
        handle = connect(wire.url).submit(holding.port)
        run = holding.started()
        wire.lose_next_answer()
        assert handle.cancel().status == "canceled"
        assert wire.has_lost_an_answer
        run.close()


def test_where_nobody_listens_the_error_says_so_and_soon(connect: Connect) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    client = connect(url)
    began = time.monotonic()
    for call in (client.models, lambda: client.submit(1), lambda: client.predict(1)):
        with pytest.raises(Unreachable, match=f"{url} .*Start one with `zypher serve`") as refused:
            call()
        assert not refused.value.was_sent
    assert time.monotonic() - began < 10


def test_without_patience_nothing_is_repeated(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{free_port()}", patience=0)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        client.models()
    assert time.monotonic() - began < 1


def test_a_wait_survives_the_sudden_death_of_the_server(connect: Connect, tmp_path: Path) -> None:
    arguments = (target("hold"), "--port", str(steady_port()))
    with holder() as holding:
        first = Server(*arguments, cwd=tmp_path)
        with first:
            handle = connect(first.url).submit(holding.port)
            run = holding.started()

            def die_and_come_back() -> None:
                first.kill()
                run.close()
                with Server(*arguments, cwd=tmp_path):
                    again = holding.started()
                    again.finish("after all")
                    finished.wait(PATIENCE)

            finished = threading.Event()
            with meanwhile(die_and_come_back):
                assert handle.wait(timeout=PATIENCE) == "after all"
                assert handle.get().attempt == 2
                finished.set()


def test_a_wait_gives_up_in_time_where_the_server_stays_away(connect: Connect) -> None:
    with Server(target("hold")) as server, holder() as holding:
        handle = connect(server.url).submit(holding.port)
        holding.started().close()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=handle.id) as late:
        handle.wait(timeout=3)
    assert 2.9 < time.monotonic() - began < 6
    assert isinstance(late.value.__cause__, Unreachable)


def test_a_predict_that_waits_on_survives_a_restart(connect: Connect, tmp_path: Path) -> None:
    options = (target("hold"), "--sync-timeout", "0.2", "--grace", "0")
    arguments = (*options, "--port", str(steady_port()))
    with holder() as holding:
        first = Server(*arguments, cwd=tmp_path)
        with first:

            def restart() -> None:
                run = holding.started()
                # Only once it is on the disk: before, it would be lost with the server.
                while not first.client.get("/predictions").json()["predictions"]:
                    pass
                assert first.stop() == 0
                run.close()
                with Server(*arguments, cwd=tmp_path):
                    holding.started().finish("after all")
                    finished.wait(PATIENCE)

            finished = threading.Event()
            client = connect(first.url)
            with meanwhile(restart):
                assert client.predict(holding.port) == "after all"
                finished.set()


def test_a_predict_refused_by_a_server_that_stops_is_taken_by_the_next(
    connect: Connect, tmp_path: Path
) -> None:
    arguments = (target("hold"), target("echo"), "--port", str(steady_port()))
    with holder() as holding:
        first = Server(*arguments, cwd=tmp_path)
        with first:
            client = connect(first.url)
            client.submit(holding.port)
            run = holding.started()
            first.process.send_signal(signal.SIGTERM)
            while first.client.get("/readyz").json()["status"] != "draining":
                pass
            assert first.predict(1, model="echo").status_code == 503

            def come_back() -> None:
                run.finish()
                assert first.process.wait(PATIENCE) == 0
                with Server(*arguments, cwd=tmp_path):
                    finished.wait(PATIENCE)

            finished = threading.Event()
            with meanwhile(come_back):
                assert client.predict("x", model="echo") == "x"
                finished.set()


def test_events_go_on_behind_the_last_one_after_a_lost_connection(connect: Connect) -> None:
    with Server(target("counts"), target("hold")) as server, wire_to(server) as wire:
        client = connect(wire.url)
        handle = client.submit(1000, model="counts")
        seen = []
        for event in handle.events():
            seen.append(event)
            if len(seen) == 3:
                wire.reset()
        assert [event.data for event in seen if event.type == "output"] == list(range(1000))
        statuses = [event.data["status"] for event in seen if event.type == "status"]
        assert statuses[-1] == "completed"
        assert len(statuses) == len(set(statuses))


def test_a_run_that_begins_again_is_told_as_a_reset(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "from tests.models import hold\n"
        "async def told(port: int):\n    yield 'begun'\n    yield await hold(port)\n"
    )
    arguments = ("model.py:told", "--port", str(steady_port()))
    path = str(Path(__file__).parents[2])
    with holder() as holding:
        first = Server(*arguments, cwd=tmp_path, PYTHONPATH=path)
        with first:
            handle = connect(first.url).submit(holding.port)
            run = holding.started()
            told = threading.Event()

            def die_and_come_back() -> None:
                assert told.wait(PATIENCE)
                first.kill()
                run.close()
                with Server(*arguments, cwd=tmp_path, PYTHONPATH=path):
                    holding.started().finish("ended")
                    assert finished.wait(PATIENCE)

            finished = threading.Event()
            parts: list[object] = []
            resets: list[int] = []
            with meanwhile(die_and_come_back):
                for event in handle.events():
                    if event.type == "output":
                        parts.append(event.data)
                        told.set()
                    elif event.type == "reset":
                        resets.append(event.data["attempt"])
                        parts.clear()
                finished.set()
            assert resets[-1] == 2
            assert parts == ["begun", "ended"]
            assert event.data["result"] == ["begun", "ended"]


def test_a_full_queue_is_waited_for(connect: Connect) -> None:
    limits = ("--max-queued", "10")
    with Server(target("hold_blocking"), *limits) as server, holder() as holding:
        client = connect(server.url)
        handles = [client.submit(holding.port)]
        run = holding.started()
        handles += [client.submit(holding.port) for _ in range(9)]
        with pytest.raises(QueueFull, match="max-queued") as refused:
            connect(server.url, patience=0).submit(holding.port)
        assert refused.value.retry_after

        def make_room() -> None:
            run.finish()
            for _ in range(10):
                holding.started().finish()

        with meanwhile(make_room):
            handles.append(client.submit(holding.port))
            for handle in handles:
                assert handle.wait() == "done"
        assert runs(server) == 11


def test_a_predict_that_the_broker_may_have_is_not_repeated(
    connect: Connect, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis, Server("--broker", redis.url, *QUICK) as server:
        client = connect(server.url)
        client.predict("x")
        redis.kill()
        with pytest.raises(Unavailable, match="Redis") as lost:
            client.predict("x")
        assert not isinstance(lost.value, Unreachable)
        answer = server.predict("x")
        assert answer.status_code == 503
        assert answer.headers["X-Prediction-Id"]
        redis.start()
        client.predict("x", idempotency_key="order-18")
