"""What a model can learn and tell of the prediction that it runs: `zypher.current()`."""

from abc import ABC, abstractmethod
from contextvars import ContextVar


class CurrentPrediction(ABC):
    """The prediction that runs here and now.

    In a batched predict it stands for the whole batch: what it tells, it tells for every member.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> str:
        """Its id. A batch has none, nor an attempt or a deadline: raises RuntimeError."""

    @property
    @abstractmethod
    def attempt(self) -> int:
        """Which attempt this is, from 1. It never falls: a fencing token for stores of your own."""

    @property
    @abstractmethod
    def deadline(self) -> float | None:
        """When it will be stopped, in seconds since the epoch; None if no clock runs."""

    @property
    @abstractmethod
    def traceparent(self) -> str | None:
        """The W3C Trace Context to hand on when it calls others; None if it was given none.

        A batch has none: raises RuntimeError.
        """

    @property
    @abstractmethod
    def cancelled(self) -> bool:
        """True once nobody wants its result any more; of a batch, that of no member."""

    @abstractmethod
    def progress(self, fraction: float, text: str = "") -> None:
        """Tell those who watch how far it is, from 0 to 1, and what it does."""

    @abstractmethod
    def log(self, text: str) -> None:
        """Write to its log, and to the server's. `print` does so, too, if called by the run."""


running: ContextVar[CurrentPrediction] = ContextVar("running")


def current() -> CurrentPrediction:
    """The prediction that runs here and now. Raises RuntimeError where none does."""
    try:
        return running.get()
    except LookupError:
        raise RuntimeError(
            "zypher.current() has no prediction here: call it in predict(), and hand the result "
            "on to the threads that you start there."
        ) from None
