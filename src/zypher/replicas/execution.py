"""Running a model on inputs: decode, call, encode, and every way in which that can end."""

import asyncio
import contextlib
import contextvars
import inspect
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import msgspec

from zypher.errors import Canceled, InvalidInput, InvalidOutput, ResultTooLarge
from zypher.model.author import ItemError
from zypher.model.codec import encode_result
from zypher.model.current import running
from zypher.model.loading import Model, user_traceback
from zypher.prediction import Failure, Outcome
from zypher.replicas.frames import Call, last_lines, sendable
from zypher.replicas.parts import Parts
from zypher.replicas.runs import BatchRun, Run

_errors_decoder: msgspec.json.Decoder[list[dict[str, Any]] | None]
_errors_decoder = msgspec.json.Decoder(list[dict[str, Any]] | None)


# What becomes of a run that was called off, whatever it does; the broker has its end already.
_CALLED_OFF = Outcome(failure=Failure("canceled", "The run was called off."))


class Executor:
    """Runs one loaded model; `concurrency` is how many runs it gets at once."""

    def __init__(self, model: Model, concurrency: int, max_result_size: int) -> None:
        self.model = model
        self._max_result_size = max_result_size
        # One blocking run at a time needs no thread: nothing else happens here meanwhile, and
        # many libraries want the main thread.
        self._threads = (
            ThreadPoolExecutor(concurrency) if concurrency > 1 and not model.is_async else None
        )

    async def run(self, call: Call, run: Run, task: "asyncio.Task[Any]") -> Outcome:
        """The outcome of one prediction, which runs in this task."""
        try:
            run.begin(task if self.model.is_async else None)
            arguments = self.model.signature.decode(call.input)
            return self.completed(await self.call(arguments, run))
        except BaseException as error:  # whatever a model raises is its error, and no more
            return _CALLED_OFF if run.withdrawn else _failed(error, call)

    async def run_batch(
        self, calls: Sequence[Call], run: BatchRun, task: "asyncio.Task[Any]"
    ) -> list[Outcome]:
        """The outcomes of a batch, one per call. What is wrong with one stays with it."""
        outcomes: dict[Call, Outcome] = {}
        items: dict[Call, Any] = {}
        with contextlib.suppress(asyncio.CancelledError):
            run.begin(task if self.model.is_async else None)
        for call in calls:
            try:
                items[call] = self.model.signature.decode(call.input)
            except Exception as error:
                outcomes[call] = _failed(error, call)
        outcomes |= await self._run_items(items, run)
        return [outcomes[call] for call in calls]

    async def _run_items(self, items: dict[Call, Any], run: BatchRun) -> dict[Call, Outcome]:
        """Run the items together; if that raises, each by itself, so that only the bad fail."""
        outcomes = {call: _CALLED_OFF for call in items if not run.wants(call.claim)}
        items = {call: item for call, item in items.items() if call not in outcomes}
        try:
            results = await self.call(list(items.values()), run) if items else []
            return outcomes | {
                call: self._item_completed(result, call)
                for call, result in zip(items, results, strict=True)
            }
        except BaseException as error:
            if run.withdrawn:
                return outcomes | dict.fromkeys(items, _CALLED_OFF)
            if len(items) == 1:
                return outcomes | {call: _failed(error, call) for call in items}
        for call, item in items.items():
            outcomes |= await self._run_items({call: item}, run)
        return outcomes

    async def call(self, arguments: Any, run: Run) -> Any:
        """What the model returns, or the `Parts` that it yields. Raises what the model raises."""
        if self.model.is_async:
            result = await self.model.run_async(arguments)
            if type(result) is AsyncGeneratorType:
                return await self._gather_async(result, run)
            return result
        if self._threads is None:
            return self._run(arguments, run)
        loop = asyncio.get_running_loop()
        in_context = contextvars.copy_context().run
        return await loop.run_in_executor(
            self._threads, in_context, self._run_in_thread, arguments, run
        )

    async def complaint(self) -> str | None:
        """What the model's `healthcheck()` finds wrong, as the end of a sentence."""
        check = self.model.healthcheck
        if check is None:
            return None
        try:
            if self._threads is None or inspect.iscoroutinefunction(check):
                verdict = check()
            else:
                verdict = await asyncio.get_running_loop().run_in_executor(self._threads, check)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            # One without a return statement raises when something is wrong.
            is_well = verdict is None or bool(verdict)
        except BaseException as error:
            with contextlib.suppress(Exception):
                print(sendable(user_traceback(error)), file=sys.stderr, flush=True)
            return f"its healthcheck() raised {type(error).__name__}: {_text(error)}"
        return None if is_well else f"its healthcheck() returned {sendable(repr(verdict))[:100]}"

    def _run(self, arguments: Any, run: Run) -> Any:
        result = self.model.run(arguments)
        return self._gather(result, run) if type(result) is GeneratorType else result

    def _run_in_thread(self, arguments: Any, run: Run) -> Any:
        try:
            return self._run(arguments, run)
        except StopIteration as error:  # a future cannot carry it
            raise RuntimeError("StopIteration") from error

    def _gather(self, generator: Generator[Any, Any, Any], run: Run) -> Parts:
        parts = self._no_parts(run)
        with contextlib.closing(generator):
            for part in generator:
                _require_wanted(run)
                parts.add(part)
        return parts

    async def _gather_async(self, generator: AsyncGenerator[Any, Any], run: Run) -> Parts:
        parts = self._no_parts(run)
        async with contextlib.aclosing(generator):
            async for part in generator:
                _require_wanted(run)
                parts.add(part)
        return parts

    def _no_parts(self, run: Run) -> Parts:
        return Parts(run, joined=self.model.signature.joined, max_size=self._max_result_size)

    def _item_completed(self, result: Any, call: Call) -> Outcome:
        if isinstance(result, ItemError | InvalidInput):
            return _failed(result, call)
        try:
            return self.completed(result)
        except Exception as error:
            return _failed(error, call)

    def completed(self, result: Any) -> Outcome:
        """The outcome with this result. Raises InvalidOutput and ResultTooLarge."""
        text = result.json() if type(result) is Parts else encode_result(result)
        if len(text) > self._max_result_size:
            raise ResultTooLarge(
                f"The model returned {len(text)} bytes; max-result-size allows "
                f"{self._max_result_size}."
            )
        return Outcome(result=text)


def _require_wanted(run: Run) -> None:
    if run.cancelled:
        raise Canceled("Nobody wants the rest of the parts.")


def _failed(error: BaseException, call: Call) -> Outcome:
    """The outcome of a run that raised. What the model itself raised goes to its log, too."""
    text = _text(error)
    if isinstance(error, InvalidInput | InvalidOutput | ResultTooLarge):
        return Outcome(failure=Failure(error.code, text, _sendable_errors(error.errors, text)))
    if isinstance(error, ItemError):
        return Outcome(failure=Failure("model_error", text or "The model refused this item."))
    name = type(error).__name__
    detail = f"The model raised {name}: {text}" if text else f"The model raised {name}."
    return Outcome(failure=Failure("model_error", detail, log=_logged(error, call)))


def _logged(error: BaseException, call: Call) -> list[str] | None:
    """The last lines of the user's traceback, which is written to the log."""
    try:
        report = sendable(user_traceback(error))
    except Exception:
        return None
    with contextlib.suppress(Exception):  # a log that cannot be written costs no prediction
        if isinstance(run := running.get(None), Run):
            run.raised(call.claim, report)
    return last_lines(report.splitlines())


def _sendable_errors(errors: list[dict[str, Any]] | None, text: str) -> list[dict[str, Any]] | None:
    """The places that are wrong; where they hold what cannot be sent, the whole input."""
    try:
        return _errors_decoder.decode(msgspec.json.encode(errors))
    except Exception:
        return [{"loc": ["input"], "msg": text, "type": "invalid"}]


def _text(error: BaseException) -> str:
    """The message of an error, in any case, and as text that can be sent."""
    try:
        return sendable(str(error))
    except Exception:
        return ""
