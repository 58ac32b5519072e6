"""The replica's own process: loads one model and runs what it is sent.

    python -m zypher.replicas.child SOCKET TICKETS PARENT

It knows neither HTTP nor the broker: messages come and go over one socket, and it ends with
its parent.
"""

import asyncio
import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, NoReturn

import msgspec

from zypher import tracing
from zypher.errors import ModelLoadError
from zypher.model.imports import files_of_code, forget_young_bytecode
from zypher.model.loading import MOCK, Model, load, user_traceback
from zypher.prediction import Claim, Outcome
from zypher.replicas import lines, runs
from zypher.replicas.capture import capture
from zypher.replicas.channel import FAULT, Channel
from zypher.replicas.execution import Executor
from zypher.replicas.frames import (
    Batching,
    Call,
    Cancel,
    Check,
    Checked,
    Described,
    Finished,
    Load,
    LoadFailed,
    Message,
    Ready,
    Run,
    SetUp,
    sendable,
)
from zypher.replicas.runner import Runner, Work
from zypher.replicas.tickets import Tickets
from zypher.replicas.warm_up import warm_up
from zypher.scheduling import give_way_no_more

# How many runs are in flight at once unless told otherwise; of a blocking model it is one.
ASYNC_CONCURRENCY = 1_000
MOCK_CONCURRENCY = 10_000

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent until it goes away."""
    descriptor, tickets, parent = map(int, sys.argv[1:])
    die_with(parent)
    give_way_no_more()
    # Ctrl-C is for the parent, which lets running work finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(all_threads=False)  # where a segfault happened is in the log
    capture()
    asyncio.run(serve(socket.socket(fileno=descriptor), Tickets(tickets)))


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel was asked
        os._exit(1)


async def serve(connection: socket.socket, tickets: Tickets) -> None:
    """Act on the messages of the parent until it closes the connection."""
    Child(connection, tickets)
    await asyncio.Event().wait()  # the end of the connection ends the process


class Child:
    """What the parent asks for, done."""

    def __init__(self, connection: socket.socket, tickets: Tickets) -> None:
        self._channel = Channel(connection, self._receive)
        self._tickets = tickets
        self._outcomes: list[tuple[Claim, Outcome]] = []
        self._runs: dict[Claim, runs.Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner = Runner(rests=self._flush)

    def _receive(self, message: Message) -> None:
        match message:
            case Load():
                self._order = message
                self._spawn(self._or_give_up(self._load()))
            case SetUp():
                self._spawn(self._or_give_up(self._set_up()))
            case Run(ticket=None):
                self._runner.take(self._works(message.calls))
            case Run(ticket=int(ticket)):
                works = self._works(message.calls)
                self._runner.take([self._run_next(ticket, message.calls, works)])
            case Check():
                self._spawn(self._check())
            case Cancel():
                for claim in message.claims:
                    if claim in self._runs:
                        self._runs[claim].withdraw(claim)

    async def _load(self) -> None:
        order = self._order
        self._model = load(order.target, mock_delay=order.mock_delay)
        self._concurrency = order.concurrency or _default_concurrency(self._model)
        self._example = order.example or self._model.example
        self._send(_describe(self._model, self._concurrency, self._example, self._files()))

    async def _set_up(self) -> None:
        await set_up(self._model)
        tracing.start_in_replica()
        self._executor = Executor(self._model, self._concurrency, self._order.max_result_size)
        if self._example is not None:
            await warm_up(self._executor, self._example)
        gc.collect()
        gc.freeze()  # what is loaded stays, and need not be looked through again and again
        self._send(Ready(self._files()))

    async def _check(self) -> None:
        self._send(Checked(await self._executor.complaint()))

    async def _or_give_up(self, step: Coroutine[Any, Any, None]) -> None:
        """Take a step on the way to a loaded model, or say what is in the way, and end."""
        try:
            await step
        except ModelLoadError as error:
            self._give_up(str(error), error.traceback, error)
        except BaseException as error:
            fault = f"A fault of Zypher while it loaded {self._order.target}: {error!r}."
            self._give_up(fault, traceback.format_exc(), error)

    def _give_up(self, message: str, traceback: str | None, error: BaseException) -> None:
        files = self._files(error)
        self._send(LoadFailed(sendable(message), traceback and sendable(traceback), files))
        self._channel.close()

    def _files(self, error: BaseException | None = None) -> list[str]:
        files = files_of_code(self._order.target, error)
        forget_young_bytecode(files)
        return [sendable(file) for file in files]

    def _works(self, calls: list[Call]) -> list[Work]:
        """The runs of these: one of all together, or one of each."""
        if self._executor.model.batch:
            return [self._run_batch(calls)]
        return [self._run_one(call) for call in calls]

    async def _run_next(self, ticket: int, calls: list[Call], works: list[Work]) -> None:
        """Run what was handed over before the last was out, unless it has been taken back.

        Outcomes leave before: should it end this process, none is lost.
        """
        try:
            self._flush()
            await self._channel.flushed()
            self._channel.poll()  # perhaps nobody wants it any more
            if self._tickets.take(ticket):
                lines.begin()
                for work in works:
                    await work
            else:
                self._drop(calls, works)
        except BaseException:
            _fail()

    def _drop(self, calls: list[Call], works: list[Work]) -> None:
        for call in calls:
            del self._runs[call.claim]
        for work in works:
            work.close()

    def _run_one(self, call: Call) -> Work:
        run = runs.Run([call.claim], call.deadline, self._channel, call.traceparent)
        self._runs[call.claim] = run
        return self._see_one_through(call, run)

    async def _see_one_through(self, call: Call, run: runs.Run) -> None:
        try:
            outcome = await self._executor.run(call, run, self._runner.task)
            self._end(run, [(call.claim, outcome)])
        except BaseException:
            _fail()

    def _run_batch(self, calls: list[Call]) -> Work:
        claims = [call.claim for call in calls]
        run = runs.BatchRun(claims, self._channel, calls[0].traceparent)
        self._runs |= dict.fromkeys(run.claims, run)
        return self._see_batch_through(calls, run)

    async def _see_batch_through(self, calls: list[Call], run: runs.BatchRun) -> None:
        try:
            outcomes = await self._executor.run_batch(calls, run, self._runner.task)
            self._end(run, list(zip(run.claims, outcomes, strict=True)))
        except BaseException:
            _fail()

    def _end(self, run: runs.Run, outcomes: list[tuple[Claim, Outcome]]) -> None:
        """Send outcomes; what ends in the same turn of the loop shares a frame."""
        run.end()
        for claim in run.claims:
            del self._runs[claim]
        if not self._outcomes and not self._runner.is_busy:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outcomes += outcomes

    def _flush(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        try:
            if outcomes:
                self._send(Finished(outcomes))
        except Exception:
            _fail()

    def _send(self, message: Message) -> None:
        self._channel.send(message)

    def _spawn(self, work: Work) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception():
            os._exit(FAULT)


def _fail() -> NoReturn:
    """End this process: a fault of ours must be a crash, which is seen, and never a hang."""
    traceback.print_exc()
    os._exit(FAULT)


async def set_up(model: Model) -> None:
    """Run the model's `setup()`. Raises `ModelLoadError` with the user's traceback."""
    try:
        await model.setup()
    except BaseException as error:
        raise ModelLoadError(
            f"setup() of {model.target} raised {type(error).__name__}: {error}",
            traceback=user_traceback(error),
        ) from error


def _default_concurrency(model: Model) -> int:
    if model.target == MOCK:
        return MOCK_CONCURRENCY
    if model.concurrency:
        return model.concurrency
    return ASYNC_CONCURRENCY if model.is_async and not model.batch else 1


def _describe(model: Model, concurrency: int, example: bytes | None, files: list[str]) -> Described:
    batch = model.batch
    examples = {} if example is None else {"examples": [msgspec.json.decode(example)]}
    return Described(
        description=model.description,
        input_schema=model.signature.input_schema | examples,
        output_schema=model.signature.output_schema,
        concurrency=concurrency,
        is_serial=concurrency == 1 and not model.is_async,
        batching=Batching(batch.max_size, batch.max_wait) if batch else None,
        files=files,
    )


if __name__ == "__main__":
    main()
