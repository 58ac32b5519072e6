"""What stands in for the package `cog` where that is not installed: what predictors import of it.

Replicas load this file under the name `cog`; nothing of ours imports it.
"""

import dataclasses
import io
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from zypher.model.current import current

_Item = TypeVar("_Item")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Path(type(pathlib.Path())):  # type: ignore[misc] # the class of this system's paths
    """A path to a file: of an input, or of a result."""


class File(io.IOBase):
    """An open file: of an input, or of a result."""


@dataclasses.dataclass(frozen=True)
class Secret:
    """Text that does not show itself."""

    secret_value: str | None = dataclasses.field(default=None, repr=False)

    def __str__(self) -> str:
        return "**********" if self.secret_value is not None else ""

    def get_secret_value(self) -> str | None:
        return self.secret_value


class ConcatenateIterator(Iterator[_Item]):
    """What a predictor returns whose parts make one text."""


class AsyncConcatenateIterator(AsyncIterator[_Item]):
    """The same, of an async predictor."""


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """What `Input` says of one input."""

    default: Any = None
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: Any = None
    deprecated: bool | None = None
    accept: str | None = None
    is_required: bool = True


def Input(default: Any = ..., **details: Any) -> Any:  # noqa: N802 - as it is called there
    """Describe an input. `None` as a default makes it optional; without one it is required."""
    if default is ...:
        return FieldInfo(**details)
    return FieldInfo(default, **details, is_required=False)


class BaseModel:
    """A result with several members: every class that derives from this is a dataclass."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(**options)(cls)


class _Metrics:
    """The metrics of a prediction: lines of its log."""

    def record(self, name: str, value: Any, mode: str = "replace") -> None:
        current().log(f"metric {name} ({mode}): {value}")

    def __setitem__(self, name: str, value: Any) -> None:
        self.record(name, value)


class _Scope:
    metrics = _Metrics()
    record_metric = metrics.record


def current_scope() -> _Scope:
    """Where a predictor records its metrics."""
    return _Scope()


def emit_metric(name: str, value: float) -> None:
    """Record a metric."""
    current_scope().record_metric(name, value)


class BaseRunner:
    """What runners derive from."""

    scope = _Scope()
    record_metric = scope.record_metric

    def setup(self) -> None:
        """Prepare for predictions."""

    def predict(self, **inputs: Any) -> Any:
        """What one that has `run` need not have."""
        raise NotImplementedError


class BasePredictor(BaseRunner):
    """What predictors derive from."""


class CancelationException(BaseException):
    """Raised by Cog to cancel a prediction. Nothing raises it here."""


class ExperimentalFeatureWarning(FutureWarning):
    """A warning that some predictors turn off."""


def streaming(function: _Function | None = None) -> Any:
    """Mark a predictor that streams. Here all generators do."""
    return streaming if function is None else function


def concurrent(function: _Function | None = None, *, max: int = 1) -> Any:
    """Say how many runs of an async predictor go on at once."""

    def mark(function: _Function) -> _Function:
        function.__cog_concurrent_max__ = max  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        f"cog is not installed, and what Zypher has in its place has no {name!r}; install cog"
    )
