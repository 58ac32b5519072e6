"""A predictor that was written for Cog (https://cog.run), as a function that Zypher serves."""

import contextlib
import functools
import inspect
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from inspect import Parameter
from pathlib import Path
from typing import Any

from zypher.errors import ModelLoadError
from zypher.model.annotations import hints
from zypher.model.guests.inputs import CogInput, is_cogs, kinds_of
from zypher.model.guests.options import GuestOptions, mark_guest
from zypher.model.guests.outputs import in_json, is_iterator, json_type
from zypher.model.signature import function_of, resolved_hints

_ANY_NUMBER = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_METHODS = ("predict", "run")  # newer predictors have the latter


def is_predictor(owner: Any) -> bool:
    """True for what was written for Cog: by its base class, or by what it takes and returns."""
    if any(map(is_cogs, type(owner).__mro__)):
        return True
    with contextlib.suppress(Exception):  # what cannot be read here is told of elsewhere
        method = _method(owner, "")
        mentioned: list[Any] = [
            type(p.default) for p in inspect.signature(method).parameters.values()
        ]
        for hint in hints(function_of(method)).values():
            mentioned += kinds_of(hint)
        return any(map(is_cogs, mentioned))
    return False


def adapted(owner: Any, target: str) -> Callable[..., Any]:
    """The predictor `owner` as a function, with its `setup` and `healthcheck` beside it.

    Raises ModelLoadError for what cannot be served.
    """
    method = _method(owner, target)
    function = function_of(method)
    subject = f"{function.__name__}() of {target}"
    types = resolved_hints(function, subject)
    parameters = inspect.signature(method).parameters
    inputs = {
        name: CogInput(parameter, types[name], subject)
        for name, parameter in parameters.items()
        if name in types and parameter.kind not in _ANY_NUMBER
    }
    predict: Any = _wrapper(method, list(inputs.values()), types.get("return"))
    predict.__name__ = function.__name__
    # Not what the class inherits: that describes Cog.
    predict.__doc__ = (owner is not method and type(owner).__doc__) or function.__doc__
    predict.__annotations__ = {name: input.annotation for name, input in inputs.items()}
    if "return" in types:
        predict.__annotations__["return"] = json_type(types["return"])
    predict.__signature__ = inspect.Signature(
        [_keyword(parameter, inputs.get(name)) for name, parameter in parameters.items()]
    )
    predict.setup = functools.partial(_set_up, owner)
    predict.healthcheck = getattr(owner, "healthcheck", None)
    mark_guest(predict, GuestOptions(getattr(function, "__cog_concurrent_max__", 1)))
    return predict  # type: ignore[no-any-return]


def _method(owner: Any, target: str) -> Callable[..., Any]:
    """What runs: the function itself, or the method that the user's own classes define."""
    if inspect.isroutine(owner):
        return owner
    for base in type(owner).__mro__:
        for name in _METHODS:
            if name in vars(base) and not is_cogs(base):
                return getattr(owner, name)  # type: ignore[no-any-return]
    raise ModelLoadError(f"{target} has neither predict() nor run().")


def _keyword(parameter: Parameter, input: CogInput | None) -> Parameter:
    if input is None:
        return parameter  # without a type, or one of any number: refused where signatures are read
    return parameter.replace(kind=Parameter.KEYWORD_ONLY, default=input.default)


def _set_up(owner: Any) -> Any:
    """Call the predictor's setup, if it has one, as Cog does."""
    setup = getattr(owner, "setup", None)
    if setup is None:
        return None
    if "weights" in inspect.signature(setup).parameters:
        return setup(weights=os.environ.get("COG_WEIGHTS"))
    return setup()


def _wrapper(
    method: Callable[..., Any], inputs: Sequence[CogInput], returns: Any
) -> Callable[..., Any]:
    """A function of the same kind that takes and returns what JSON carries."""

    if inspect.isasyncgenfunction(method):

        async def yield_async(**values: Any) -> AsyncIterator[Any]:
            with _run(inputs, values) as (arguments, encoded):
                async with aclosing(method(**arguments)) as parts:
                    async for part in parts:
                        yield encoded(part)

        return yield_async
    if inspect.iscoroutinefunction(method):

        async def run_async(**values: Any) -> Any:
            with _run(inputs, values) as (arguments, encoded):
                return encoded(await method(**arguments))

        return run_async
    if inspect.isgeneratorfunction(method) or is_iterator(returns):

        def yield_parts(**values: Any) -> Iterator[Any]:
            with _run(inputs, values) as (arguments, encoded):
                parts = method(**arguments)
                try:
                    yield from map(encoded, parts)
                finally:
                    if inspect.isgenerator(parts):
                        parts.close()

        return yield_parts

    def run(**values: Any) -> Any:
        with _run(inputs, values) as (arguments, encoded):
            return encoded(method(**arguments))

    return run


@contextmanager
def _run(
    inputs: Sequence[CogInput], values: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], Callable[[Any], Any]]]:
    """What to call the predictor with, and what makes JSON of what it returns.

    The files of its inputs are there until the run ends.
    """
    with tempfile.TemporaryDirectory(prefix="zypher-") as folder:
        began = Path(folder).stat().st_mtime_ns  # by the clock of the files
        arguments = {input.name: input.received(values, folder) for input in inputs}
        yield arguments, functools.partial(in_json, began=began)
