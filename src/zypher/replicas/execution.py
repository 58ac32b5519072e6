"""Running a model on inputs: decode, call, encode, and every way in which that can end."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from zypher.errors import InvalidInput, InvalidOutput, ResultTooLarge
from zypher.model.author import ItemError
from zypher.model.codec import encode_result
from zypher.model.loading import Model, user_traceback
from zypher.prediction import Failure, Outcome
from zypher.replicas.frames import Call

_errors_decoder: msgspec.json.Decoder[list[dict[str, Any]] | None]
_errors_decoder = msgspec.json.Decoder(list[dict[str, Any]] | None)


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

    async def run(self, call: Call) -> Outcome:
        """The outcome of one prediction."""
        try:
            arguments = self.model.signature.decode(call.input)
            return self._completed(await self._call(arguments))
        except BaseException as error:  # whatever a model raises is its error, and no more
            return _failed(error, call)

    async def run_batch(self, calls: Sequence[Call]) -> list[Outcome]:
        """The outcomes of a batch, one per call. What is wrong with one stays with it."""
        outcomes: dict[Call, Outcome] = {}
        items: dict[Call, Any] = {}
        for call in calls:
            try:
                items[call] = self.model.signature.decode(call.input)
            except Exception as error:
                outcomes[call] = _failed(error, call)
        outcomes |= await self._run_items(items)
        return [outcomes[call] for call in calls]

    async def _run_items(self, items: dict[Call, Any]) -> dict[Call, Outcome]:
        """Run the items together; if that raises, each by itself, so that only the bad fail."""
        try:
            results = await self._call(list(items.values())) if items else []
            return {
                call: self._item_completed(result, call)
                for call, result in zip(items, results, strict=True)
            }
        except BaseException as error:
            if len(items) == 1:
                return {call: _failed(error, call) for call in items}
        outcomes: dict[Call, Outcome] = {}
        for call, item in items.items():
            outcomes |= await self._run_items({call: item})
        return outcomes

    async def _call(self, arguments: Any) -> Any:
        if self.model.is_async:
            return await self.model.run_async(arguments)
        if self._threads is None:
            return self.model.run(arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run_in_thread, arguments)

    def _run_in_thread(self, arguments: Any) -> Any:
        try:
            return self.model.run(arguments)
        except StopIteration as error:  # a future cannot carry it
            raise RuntimeError("StopIteration") from error

    def _item_completed(self, result: Any, call: Call) -> Outcome:
        if isinstance(result, ItemError | InvalidInput):
            return _failed(result, call)
        try:
            return self._completed(result)
        except Exception as error:
            return _failed(error, call)

    def _completed(self, result: Any) -> Outcome:
        text = encode_result(result)
        if len(text) > self._max_result_size:
            raise ResultTooLarge(
                f"The model returned {len(text)} bytes; max-result-size allows "
                f"{self._max_result_size}."
            )
        return Outcome(result=text)


def _failed(error: BaseException, call: Call) -> Outcome:
    """The outcome of a run that raised. What the model itself raised goes to its log, too."""
    text = _text(error)
    if isinstance(error, InvalidInput | InvalidOutput | ResultTooLarge):
        return Outcome(failure=Failure(error.code, text, _sendable_errors(error.errors, text)))
    if isinstance(error, ItemError):
        return Outcome(failure=Failure("model_error", text or "The model refused this item."))
    with contextlib.suppress(Exception):  # a log that cannot be written costs no prediction
        print(f"prediction {call.claim.id}: {user_traceback(error)}", file=sys.stderr, flush=True)
    name = type(error).__name__
    detail = f"The model raised {name}: {text}" if text else f"The model raised {name}."
    return Outcome(failure=Failure("model_error", detail))


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


def sendable(text: str) -> str:
    """Text without lone surrogates, which file names have and UTF-8 has not."""
    return text.encode(errors="backslashreplace").decode()
