"""Running many coroutines: a task for each of those that have to wait, and few for the others."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import coroutine
from typing import Any

Work = Coroutine[Any, Any, None]


class Runner:
    """Runs coroutines, which never raise, each in a context of its own.

    To make a task for each costs more than most of them take. So they run one after the other in
    one task, until one has to wait: that keeps the task to its end, and the rest get their own.
    `rests` is called whenever all have begun that were to begin.

    `task` is that of the one which just begins.
    """

    task: "asyncio.Task[Any]"

    def __init__(self, rests: Callable[[], None]) -> None:
        self._rests = rests
        # Not that of whoever hands something over: a run may take in others while it runs.
        self._context = contextvars.copy_context()
        self._together: deque[Work] = deque()
        self.is_busy = False
        self._tasks: set[asyncio.Task[None]] = set()  # which nobody else would hold

    def take(self, works: Iterable[Work]) -> None:
        """Run these, soon."""
        self._together.extend(works)
        if self._together and not self.is_busy:
            self.is_busy = True
            self._spawn(self._run_together())

    async def _run_together(self) -> None:
        self.task = task = _this_task()
        while self._together:
            work = self._together.popleft()
            context = self._context.copy()
            try:
                awaited = context.run(work.send, None)
            except StopIteration:  # it has ended
                if not task.cancelling():
                    continue
                self._part()  # it asked for that itself, which must not hit the next
                break
            self._part()
            await _steps(work, context, awaited)
            break
        else:
            self._rest()
        self._tasks.discard(task)

    async def _run_alone(self, work: Work) -> None:
        self.task = task = _this_task()
        await work
        self._tasks.discard(task)

    def _part(self) -> None:
        """Give all that would run next in this task their own."""
        while self._together:
            self._spawn(self._run_alone(self._together.popleft()))
        self._rest()

    def _rest(self) -> None:
        self.is_busy = False
        self._rests()

    def _spawn(self, work: Work) -> None:
        self._tasks.add(asyncio.create_task(work, context=self._context.copy()))


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


@coroutine
def _steps(work: Work, context: contextvars.Context, awaited: object) -> Generator[Any, Any, None]:
    """Run the rest of a coroutine in its context, from where it waits for `awaited`."""
    while True:
        step: Callable[[Any], Any] = work.send
        value: Any = None
        try:
            value = yield awaited
        except BaseException as error:
            step, value = work.throw, error
        try:
            awaited = context.run(step, value)
        except StopIteration:
            return
        finally:
            # What was raised holds on to this frame, and that to all that the model had open.
            del step, value
