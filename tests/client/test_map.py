"""What `map` promises: order, bounds, and an end."""

import threading
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any, cast

import pytest

from tests.client.conftest import Connect, meanwhile
from tests.harness import Holder, Server, holder, target
from zypher import AsyncClient, Client
from zypher.errors import InvalidInput, ModelError, Unreachable


def test_the_results_come_in_the_order_of_the_inputs(client: Client) -> None:
    seconds = [0.3, 0.0, 0.2, 0.1, 0.0, 0.05]
    assert list(client.map(seconds, concurrency=3, model="nap")) == seconds


def test_inputs_are_taken_as_results_are(client: Client) -> None:
    taken = count()
    results = client.map(taken, concurrency=4)
    assert [next(results) for _ in range(100)] == list(range(100))
    cast("Any", results).close()
    assert next(taken) <= 100 + 2 * 4


def test_of_nothing_comes_nothing(client: Client) -> None:
    assert list(client.map([])) == []


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_concurrency_that_would_call_nothing_is_refused_at_once(kind: type) -> None:
    for concurrency in (0, -1):
        with pytest.raises(ValueError, match=f"from 1 on: not {concurrency}"):
            kind("http://127.0.0.1:9").map([1], concurrency=concurrency)


def test_the_model_and_the_options_hold_for_each(client: Client) -> None:
    with pytest.raises(ModelError, match="no luck"):
        list(client.map(["no luck"], model="fails"))
    with pytest.raises(InvalidInput, match="ttl"):
        list(client.map([1], ttl=-1))


def test_so_many_run_at_once_and_no_more(client: Client, server: Server) -> None:
    def answer() -> None:
        for _ in range(3):
            runs = [holding.started(), holding.started()]
            assert models(server)["hold"]["processing"] == 2
            for run in runs:
                run.finish()

    with holder() as holding, meanwhile(answer):
        assert list(client.map([holding.port] * 6, concurrency=2, model="hold")) == ["done"] * 6


def test_the_first_error_comes_in_its_place_and_nothing_is_begun_after_it(
    connect: Connect,
) -> None:
    def inputs() -> Iterator[object]:
        for number in count():
            taken.append(number)
            yield "no number" if number == 5 else 0.01

    taken: list[int] = []
    with Server(target("nap")) as server:
        results = connect(server.url).map(inputs(), concurrency=3)
        assert [next(results) for _ in range(5)] == [0.01] * 5
        with pytest.raises(InvalidInput):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        assert len(taken) <= 5 + 2 * 3
        assert models(server)["nap"]["completed"] <= 5 + 3


def test_an_error_of_the_inputs_is_raised(client: Client) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(client.map(inputs()))


def test_a_full_queue_is_waited_for_with_no_patience_at_all(connect: Connect) -> None:
    with Server(target("hold_blocking"), "--max-queued", "10") as server, holder() as holding:

        def answer() -> None:
            run = holding.started()
            while models(server)["hold_blocking"]["queued"] < 10:
                pass
            run.finish()  # so far 16 were begun, for which there was no room
            _finish(holding, 19)

        with meanwhile(answer):
            results = connect(server.url, patience=0).map([holding.port] * 20, concurrency=16)
            assert list(results) == ["done"] * 20


def test_where_nobody_listens_it_fails(connect: Connect) -> None:
    with pytest.raises(Unreachable):
        next(connect("http://127.0.0.1:9", patience=0).map(count()))


def test_its_threads_end_with_it(server: Server) -> None:
    before = set(threading.enumerate())
    with Client(server.url) as client:
        list(client.map(range(20), concurrency=5))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.anyio
async def test_inputs_may_come_asynchronously(server: Server) -> None:
    async def inputs() -> AsyncIterator[int]:
        for number in range(10):
            yield number

    async with AsyncClient(server.url) as client:
        assert [result async for result in client.map(inputs())] == list(range(10))


def models(server: Server) -> Any:
    """The numbers of each model."""
    return server.client.get("/stats").json()["models"]


def _finish(holding: Holder, number: int) -> None:
    for _ in range(number):
        holding.started().finish()
