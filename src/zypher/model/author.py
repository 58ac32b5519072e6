"""What the author of a model may use beside plain Python: `batch`, `ItemError`, `JoinedText`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, overload

_Predict = TypeVar("_Predict", bound=Callable[..., Any])

_MARK = "__zypher_batch__"

# What a generator of text returns, blocking or async, whose result is its parts put together.
JoinedText = Annotated[Any, "joined text"]


class ItemError(Exception):
    """One item of a batch is bad: a batched predict returns (or raises) this in its place.

    The prediction of that item fails with this message; its neighbours are not touched.
    """


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How many predictions one call may take (`max_size`), and how long, in seconds, the first
    of them waits for others (`max_wait`).

    Raises ValueError when `max_size` is not a whole number of at least 1, or `max_wait` is
    negative or not finite.
    """

    max_size: int = 32
    max_wait: float = 0.005

    def __post_init__(self) -> None:
        if not isinstance(self.max_size, int) or self.max_size < 1:
            raise ValueError(
                f"max_size of a batch is {self.max_size!r}; it must be a whole number from 1."
            )
        if not (math.isfinite(self.max_wait) and self.max_wait >= 0):
            raise ValueError(
                f"max_wait of a batch is {self.max_wait!r}; it must be a number of seconds from 0."
            )


@overload
def batch(max_size: _Predict, /) -> _Predict: ...
@overload
def batch(max_size: int = 32, max_wait: float = 0.005) -> Callable[[_Predict], _Predict]: ...
def batch(max_size: Any = 32, max_wait: float = 0.005) -> Any:
    """Mark a predict function or method as one that handles many inputs in one call.

        @zypher.batch(max_size=32, max_wait=0.005)
        def predict(self, inputs: list[str]) -> list[float]: ...

    A call gets at most `max_size` inputs; the first of them waits at most `max_wait` seconds
    for the others. It must return one result for each input, in their order; an `ItemError`
    in a result's place fails that input alone.

    Raises ValueError when `max_size` is below 1 or `max_wait` below 0.
    """
    if callable(max_size):  # used as `@batch`, without parentheses
        return batch()(max_size)
    options = BatchOptions(max_size, max_wait)

    def mark(function: _Predict) -> _Predict:
        setattr(function, _MARK, options)
        return function

    return mark


def batch_options(predict: Callable[..., Any]) -> BatchOptions | None:
    """What `batch` noted on `predict`; None when it takes one input at a time."""
    return getattr(predict, _MARK, None)
