"""From a target such as `sentiment.py:Sentiment` to a `Model` that can run."""

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from types import AsyncGeneratorType
from typing import Any

from zypher.errors import InvalidOutput, ModelLoadError
from zypher.model import guests
from zypher.model.author import BatchOptions, batch_options
from zypher.model.codec import encode_result
from zypher.model.guests.options import guest_options
from zypher.model.mock import Mock
from zypher.model.signature import Arguments, Signature
from zypher.model.targets import describe, find
from zypher.model.tracebacks import user_traceback

__all__ = ["MOCK", "Model", "default_name", "load", "user_traceback"]

MOCK = "mock"

_METHODS = ("predict", "__call__")


@dataclass(frozen=True)
class Model:
    """A loaded model. `predict` is the user's function or bound method; `concurrency` how many
    runs it says it has at once; `example` an input of its own choice, as JSON text.

    `is_async` ones run by `run_async`, the others by `run`.
    """

    target: str
    name: str
    description: str
    signature: Signature
    batch: BatchOptions | None
    is_async: bool
    predict: Callable[..., Any]
    concurrency: int | None
    example: bytes | None
    healthcheck: Callable[[], Any] | None
    _setup: Callable[[], Any] | None

    async def setup(self) -> None:
        """Run the user's setup, if there is one. Raises whatever it raises."""
        if self._setup is not None:
            done = self._setup()
            if inspect.isawaitable(done):
                await done

    def run(self, arguments: Any) -> Any:
        """The result for what `signature.decode` gave; a generator, if predict is one.

        A batched model takes a list of such items and returns the list of their results, in
        which an `ItemError` may stand. Raises whatever predict raises, and InvalidOutput when
        a batch has not one result for each item.
        """
        result = self._call(arguments)
        return result if self.batch is None else _one_each(result, arguments)

    async def run_async(self, arguments: Any) -> Any:
        """As `run`, for a model that is async."""
        result = self._call(arguments)
        if isinstance(result, AsyncGeneratorType):
            return result
        result = await result
        return result if self.batch is None else _one_each(result, arguments)

    def _call(self, arguments: Arguments | list[Any]) -> Any:
        if isinstance(arguments, Arguments):
            return self.predict(*arguments.args, **arguments.kwargs)
        return self.predict(arguments)


def default_name(target: str) -> str:
    """The name that a model is served under unless another is given: `sentiment.py:Sentiment`
    is `sentiment`."""
    return target.rpartition(":")[2].rpartition(".")[2].lower()


def load(target: str, *, mock_delay: tuple[float, float] = (8.0, 15.0)) -> Model:
    """The model that `target` names: `path/to/file.py:Name`, `package.module:name` or `mock`.

    The name is that of a function, of a class with `predict` (made here, without arguments),
    or of an instance. `mock_delay`: the shortest and longest time of the mock, in seconds.
    This runs the user's module, but not `setup()`.

    Raises ModelLoadError, in one sentence and with the user's traceback where it was their code
    that raised, when there is no such model or it cannot be served.
    """
    guests.welcome()
    return model_of(Mock(mock_delay) if target == MOCK else find(target), target)


def model_of(found: Any, target: str) -> Model:
    """The model that `found` is, which `target` names. Raises as `load` does."""
    owner = guests.adapted(_instance(found, target) if inspect.isclass(found) else found, target)
    predict = _predict_of(owner, target)
    batch, guest = batch_options(predict), guest_options(predict)
    return Model(
        target=target,
        name=default_name(target),
        description=_description(owner, predict),
        signature=Signature.of(predict, target=target),
        batch=batch,
        is_async=inspect.iscoroutinefunction(predict) or inspect.isasyncgenfunction(predict),
        predict=predict,
        concurrency=guest.concurrency if guest else None,
        example=_example_of(owner, target),
        healthcheck=_healthcheck_of(owner, target),
        _setup=_setup_of(owner, target),
    )


def _instance(found: type, target: str) -> Any:
    name = found.__name__
    if not any(method in vars(base) for base in found.__mro__ for method in _METHODS):
        raise ModelLoadError(f"The class {name} of {target} is not a model: it has no predict().")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise ModelLoadError(
            f"The class {name} of {target} cannot be made without arguments ({error}). Give them "
            f"defaults, or make an instance in the module and name that."
        ) from error
    except ValueError:
        pass  # no signature: made of C, so let it say itself
    try:
        return found()
    except BaseException as error:
        raise ModelLoadError(
            f"{name}() of {target} raised {describe(error)}.", traceback=user_traceback(error)
        ) from error


def _predict_of(owner: Any, target: str) -> Callable[..., Any]:
    """What to call: the function itself, or the bound predict or __call__ of an instance."""
    if inspect.isroutine(owner) or isinstance(owner, functools.partial):
        return owner
    for name in _METHODS:
        predict = getattr(owner, name, None)
        if callable(predict):
            return predict  # type: ignore[no-any-return]
    raise ModelLoadError(
        f"{target} is not a model but {_a(type(owner).__name__)}. A model is a function, "
        f"a class with predict(), or an instance of one."
    )


def _setup_of(owner: Any, target: str) -> Callable[[], Any] | None:
    """What prepares an instance: its `setup`, else a method `load` that takes nothing."""
    setup: Callable[[], Any] | None = getattr(owner, "setup", None)
    if setup is None:
        load: Any = getattr(owner, "load", None)
        is_own = inspect.ismethod(load) and load.__self__ is owner
        return load if is_own and not _required(load) else None
    _require_nothing(setup, "setup", target)
    return setup


def _healthcheck_of(owner: Any, target: str) -> Callable[[], Any] | None:
    """What says whether an instance is well, if it has that."""
    healthcheck: Any = getattr(owner, "healthcheck", None)
    if not callable(healthcheck):
        return None
    _require_nothing(healthcheck, "healthcheck", target)
    return healthcheck  # type: ignore[no-any-return]


def _example_of(owner: Any, target: str) -> bytes | None:
    """The `example` of a model, an input that suits it, as JSON text."""
    example = getattr(owner, "example", None)
    if example is None or callable(example):
        return None
    try:
        return encode_result(example)
    except InvalidOutput as error:
        raise ModelLoadError(f"The example of {target} is no input: {error}") from error


def _require_nothing(method: Callable[..., Any], name: str, target: str) -> None:
    """Raise ModelLoadError if a method that a replica calls with nothing needs something."""
    if needed := _required(method):
        raise ModelLoadError(
            f"{name}({', '.join(needed)}) of {target} cannot be called: a replica calls {name}() "
            f"with nothing. Give {needed[0]!r} a default, or do without it."
        )


def _required(function: Callable[..., Any]) -> list[str]:
    """The parameters that a call must fill; none where Python cannot tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is Parameter.empty and p.kind not in optional]


def _description(owner: Any, predict: Callable[..., Any]) -> str:
    """The first paragraph of the docstring of the class or function, on one line."""
    own = owner if inspect.isroutine(owner) else type(owner)
    text = inspect.getdoc(own) or inspect.getdoc(predict) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _one_each(results: Any, items: list[Any]) -> list[Any]:
    """The results of a batch as a list, one for each item."""
    numpy: Any = sys.modules.get("numpy")
    kinds = (list, tuple) if numpy is None else (list, tuple, numpy.ndarray)
    if not isinstance(results, kinds) or getattr(results, "ndim", 1) == 0:
        raise InvalidOutput(
            f"predict returned {_a(type(results).__name__)} for {len(items)} inputs; "
            f"a batched predict returns a list with one result for each."
        )
    if len(results) != len(items):
        raise InvalidOutput(
            f"predict returned {len(results)} results for {len(items)} inputs; "
            f"a batched predict returns one for each, in their order."
        )
    return list(results)


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
