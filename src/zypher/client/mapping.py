"""Many calls at once, in order: in threads, and in tasks.

Both begin the calls in the order of the inputs, so many at once as they may, and hold as many
results ready again. Once a call has failed no other is begun; its error comes where its result
would have come.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

R = TypeVar("R")

# For each call that may be under way, so many are taken from the inputs.
_AHEAD = 2

_Job = tuple[Any, Future[R]]


def check_concurrency(concurrency: int) -> None:
    """Raises `ValueError` where nothing would ever be called."""
    if concurrency < 1:
        raise ValueError(
            f"concurrency is the number of calls at once, from 1 on: not {concurrency}."
        )


def map_in_threads(
    call: Callable[[Any], R], inputs: Iterable[Any], concurrency: int
) -> Iterator[R]:
    """What `call` returns for each input. What is under way at the end is left to itself."""
    jobs: SimpleQueue[_Job[R] | None] = SimpleQueue()
    taking, failed = Lock(), Event()
    upcoming = iter(inputs)
    window: deque[Future[R]] = deque()
    # They do not hold up the end of the program: it closes their connections.
    threads = [
        Thread(target=_work, args=(call, jobs, taking, failed), daemon=True)
        for _ in range(concurrency)
    ]
    for thread in threads:
        thread.start()
    try:
        while True:
            while len(window) < _AHEAD * concurrency and not failed.is_set():
                try:
                    input = next(upcoming)
                except StopIteration:
                    break
                window.append(Future())
                jobs.put((input, window[-1]))
            if not window:
                return
            yield window.popleft().result()
    finally:
        failed.set()
        for _ in threads:
            jobs.put(None)


def _work(
    call: Callable[[Any], R], jobs: SimpleQueue[_Job[R] | None], taking: Lock, failed: Event
) -> None:
    while True:
        with taking:  # so that what comes before a failure was begun before it
            job = jobs.get()
            if job is None or failed.is_set():
                return
        input, future = job
        try:
            future.set_result(call(input))
        except BaseException as error:
            failed.set()
            future.set_exception(error)


async def map_in_tasks(
    call: Callable[[Any], Awaitable[R]],
    inputs: Iterable[Any] | AsyncIterable[Any],
    concurrency: int,
) -> AsyncIterator[R]:
    """What `call` returns for each input. What is under way at the end is cancelled."""
    slots = asyncio.Semaphore(concurrency)
    failed = asyncio.Event()
    upcoming = _asynchronous(inputs)
    window: deque[asyncio.Task[R]] = deque()

    async def run(input: Any) -> R:
        async with slots:
            if failed.is_set():
                raise asyncio.CancelledError
            try:
                return await call(input)
            except BaseException:
                failed.set()
                raise

    try:
        while True:
            while len(window) < _AHEAD * concurrency and not failed.is_set():
                try:
                    input = await anext(upcoming)
                except StopAsyncIteration:
                    break
                window.append(asyncio.create_task(run(input)))
            if not window:
                return
            yield await window[0]
            window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)


async def _asynchronous(inputs: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(inputs, AsyncIterable):
        async for input in inputs:
            yield input
    else:
        for input in inputs:
            yield input
