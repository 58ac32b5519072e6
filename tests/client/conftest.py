"""What the tests of the client share: each promise is tried with both of them."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import pytest
import uvloop

from tests.harness import PATIENCE, Server, target
from zypher import AsyncClient, Client
from zypher.client import AsyncHandle

Connect = Callable[..., Client]


class Blocking:
    """An asynchronous client, or a handle of it, whose methods are called as those of `Client`."""

    def __init__(self, it: AsyncClient | AsyncHandle, runner: asyncio.Runner) -> None:
        self._it = it
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._it, name)
        if not callable(attribute):
            return attribute
        return lambda *arguments, **options: self._settled(attribute(*arguments, **options))

    def _settled(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._settled(self._runner.run(value))
        if isinstance(value, AsyncIterator):
            return self._each(value)
        return Blocking(value, self._runner) if isinstance(value, AsyncHandle) else value

    def _each(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        async def advance() -> Any:
            return await anext(values)

        async def close() -> None:
            await cast("Any", values).aclose()

        try:
            while True:
                try:
                    yield self._settled(self._runner.run(advance()))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(close())


@contextmanager
def asynchronous(*arguments: Any, **options: Any) -> Iterator[Client]:
    """An asynchronous client that is used as a blocking one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        client = AsyncClient(*arguments, **options)
        yield cast("Client", Blocking(client, runner))
        runner.run(client.close())


@contextmanager
def meanwhile(do: Callable[[], object]) -> Iterator[None]:
    """Have this done in another thread; what it raises fails the test."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            do()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not errors, errors


@pytest.fixture(params=[Client, asynchronous], ids=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client: once that of blocking code, and once that of asynchronous code."""
    with ExitStack() as clients:
        yield lambda *arguments, **options: clients.enter_context(
            request.param(*arguments, **options)
        )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with several models, for tests that leave it as it was."""
    names = ["echo", "fails", "counts", "hold", "nap", "numbers", "not_a_number", "poison", "pid"]
    with Server(*map(target, names)) as server:
        yield server


@pytest.fixture
def client(server: Server, connect: Connect) -> Client:
    """A client of that server."""
    return connect(server.url)
