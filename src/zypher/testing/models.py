"""A model in the process of a test, taken through the steps that a replica takes it through."""

import asyncio
import contextvars
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from zypher.brokers.base import ModelInfo
from zypher.client.requests import encoded
from zypher.errors import InvalidInput
from zypher.model.author import ItemError
from zypher.model.loading import Model, load, model_of
from zypher.prediction import Claim, new_id
from zypher.replicas.execution import Executor
from zypher.replicas.frames import Told
from zypher.replicas.lines import Line
from zypher.replicas.runs import BatchRun, Run
from zypher.server.door import Door
from zypher.settings import Settings

_T = TypeVar("_T")

# What a real server has unless it is told otherwise.
_MAX_BODY_SIZE: int = Settings.model_fields["max_body_size"].default
_MAX_RESULT_SIZE: int = Settings.model_fields["max_result_size"].default


def predict(model: Any, input: Any) -> Any:
    """The result of a model for an input, both as with a `zypher.Client`; `setup()` runs before.

    `model` and what is raised are as with `loaded` and `LoadedModel.predict`.
    """
    with loaded(model) as ready:
        return ready.predict(input)


@contextmanager
def loaded(model: Any) -> "Iterator[LoadedModel]":
    """A model that is set up once, for many predictions.

    `model` is a class, a function, an instance, or a target as on the command line
    (`"sentiment.py:Sentiment"`). What its `setup()` raises passes through. Raises ModelLoadError
    when `zypher serve` could not serve it.
    """
    _require_no_loop()
    found = load(model) if isinstance(model, str) else model_of(model, target_of(model))
    with asyncio.Runner() as runner:
        runner.run(found.setup())
        yield LoadedModel(found, runner)


def target_of(model: Any) -> str:
    """The target `module:name` of a class or function; of an instance, that of its class."""
    named = model if hasattr(model, "__qualname__") else type(model)
    return f"{named.__module__}:{named.__qualname__}"


class LoadedModel:
    """A model that is set up. `events` is what its latest run told, as the server would send it:
    `("progress", {"fraction": 0.5, "text": ""})`, `("log", {"text": "..."})`, `("output", part)`.
    """

    def __init__(self, model: Model, runner: asyncio.Runner) -> None:
        self.events: list[tuple[str, Any]] = []
        self.input_schema = model.signature.input_schema
        self.output_schema = model.signature.output_schema
        self._model = model
        self._runner = runner
        self._executor = Executor(model, 1, _MAX_RESULT_SIZE)
        self._door = Door(_MAX_BODY_SIZE)
        self._info = ModelInfo(
            name=model.name, description=model.description, input_schema=self.input_schema
        )

    def predict(self, input: Any) -> Any:
        """The result for an input, both as with a `zypher.Client`.

        What the model raises passes through unchanged. Raises InvalidInput when the input does
        not fit the schema, and InvalidOutput when JSON cannot carry the result.
        """
        if not self._model.batch:
            text = self._admitted(input)
            return self._run(lambda: self._predict(text))
        (result,) = self.predict_batch([input])
        if isinstance(result, Exception):
            raise result
        return result

    def predict_batch(self, inputs: Sequence[Any]) -> list[Any]:
        """The results for the inputs of one batch, in their order.

        An `ItemError` or `InvalidInput` that stands in a result's place is left there. Raises as
        `predict` does, and ValueError for a model that is not batched or more than its `max_size`.
        """
        most = self._model.batch.max_size if self._model.batch else 0
        if not 0 < len(inputs) <= most:
            raise ValueError(
                f"{self._model.target} takes batches of 1 to {most}; these are {len(inputs)}."
                if most
                else f"{self._model.target} is not batched: use predict()."
            )
        texts = [self._admitted(input) for input in inputs]
        return self._run(lambda: self._predict_batch(texts))

    def _admitted(self, input: Any) -> bytes:
        """An input as the JSON text that a client sends and a server's door lets in."""
        text = encoded(input)
        self._door.check(text, self._info)
        return text

    def _run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        _require_no_loop()
        self.events = []
        return self._runner.run(work(), context=contextvars.copy_context())

    async def _predict(self, text: bytes) -> Any:
        arguments = self._model.signature.decode(text)
        return self._read(await self._call(arguments, Run([_claim()], None, self)))

    async def _predict_batch(self, texts: list[bytes]) -> list[Any]:
        items = [self._model.signature.decode(text) for text in texts]
        results = await self._call(items, BatchRun([_claim() for _ in items], self))
        return [self._read(result) for result in results]

    async def _call(self, arguments: Any, run: Run) -> Any:
        run.begin()
        try:
            return await self._executor.call(arguments, run)
        finally:
            run.end()

    def _read(self, result: Any) -> Any:
        """A result as a client would read it."""
        if isinstance(result, ItemError | InvalidInput):
            return result
        text = self._executor.completed(result).result
        assert text is not None
        return json.loads(text)

    # What its runs tell.

    def poll(self) -> None:
        """Nobody cancels a run of a test."""

    def offer(self, told: Told) -> None:
        """Note what a run tells."""
        self.events.append((told.kind, json.loads(told.data)))

    def note(self, line: Line) -> None:
        """Show a line of the log, as the test shows what the model prints."""
        print(line.text, file=sys.stderr)


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "A model has an event loop of its own, as in a replica: from an async test, call it with "
        "`await asyncio.to_thread(...)`."
    )


def _claim() -> Claim:
    return Claim(new_id(), 1)
