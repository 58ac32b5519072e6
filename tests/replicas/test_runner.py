"""Many coroutines in few tasks: each runs as if it were in one of its own."""

import asyncio
import contextlib
import gc
import weakref
from contextvars import ContextVar

import pytest

from zypher.prediction import Claim
from zypher.replicas.runner import Runner
from zypher.replicas.runs import Run
from zypher.replicas.warm_up import Nobody

pytestmark = pytest.mark.anyio

NAME: ContextVar[str] = ContextVar("name", default="nobody's")


class Said(list[str]):
    """What was said, in order; a rest is one of the runner."""

    async def say(self, word: str) -> None:
        self.append(word)

    async def wait(self, event: asyncio.Event, word: str) -> None:
        self.append(f"{word} waits")
        await event.wait()
        self.append(word)

    def rest(self) -> None:
        self.append("-")


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_does_not_wait_runs_in_one_task_and_what_follows_a_wait_in_others() -> None:
    said, event, tasks = Said(), asyncio.Event(), list[asyncio.Task[None] | None]()

    async def note() -> None:
        tasks.append(asyncio.current_task())

    runner = Runner(said.rest)
    runner.take([note(), note(), said.wait(event, "a"), note(), said.say("b")])
    await turns()
    assert said == ["a waits", "-", "b"]
    assert tasks[0] is tasks[1] is not tasks[2]
    runner.take([said.say("c")])
    await turns()
    event.set()
    await turns()
    assert said[3:] == ["c", "-", "a"]


async def test_each_has_a_context_of_its_own_to_its_end() -> None:
    said, event = Said(), asyncio.Event()

    async def name(word: str, waits: bool) -> None:
        said.append(NAME.get())
        NAME.set(word)
        if waits:
            await event.wait()
            said.append(NAME.get())

    runner = Runner(said.rest)
    runner.take([name("a", False), name("b", True), name("c", True), name("d", False)])
    await turns()
    event.set()
    await turns()
    assert said == ["nobody's", "nobody's", "-", "nobody's", "nobody's", "b", "c"]


async def test_who_asks_for_its_own_interruption_does_not_have_the_next_interrupted() -> None:
    said, event = Said(), asyncio.Event()

    async def interrupt() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    Runner(said.rest).take([interrupt(), said.wait(event, "a")])
    await turns()
    event.set()
    await turns()
    assert said == ["-", "a waits", "a"]


async def test_a_run_that_ends_before_it_is_interrupted_leaves_the_next_alone() -> None:
    said, event = Said(), asyncio.Event()
    runner = Runner(said.rest)
    run = Run([Claim("id", 1)], None, Nobody())

    async def end() -> None:
        run.begin(runner.task)
        run.withdraw(run.claims[0])
        run.end()

    runner.take([end(), said.wait(event, "a")])
    await turns()
    event.set()
    await turns()
    assert said == ["a waits", "-", "a"]


async def test_an_interruption_comes_to_the_one_that_waits_where_it_waits() -> None:
    said, event = Said(), asyncio.Event()
    runner = Runner(said.rest)
    run = Run([Claim("id", 1)], None, Nobody())

    async def wait() -> None:
        run.begin(runner.task)
        try:
            await event.wait()
        except asyncio.CancelledError:
            said.append("interrupted")

    runner.take([said.say("a"), wait(), said.say("b")])
    await turns()
    run.withdraw(run.claims[0])
    await turns()
    assert said == ["a", "-", "b", "interrupted"]


async def test_what_an_interrupted_run_had_open_is_closed_with_it() -> None:
    opened: list[weakref.ref[Said]] = []

    async def wait() -> None:
        something = Said()
        opened.append(weakref.ref(something))
        run.begin(runner.task)
        await asyncio.Event().wait()

    async def see_through() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await wait()

    runner = Runner(Said().rest)
    run = Run([Claim("id", 1)], None, Nobody())
    gc.disable()
    try:
        runner.take([see_through()])
        await turns()
        run.withdraw(run.claims[0])
        await turns()
        assert opened[0]() is None
    finally:
        gc.enable()
