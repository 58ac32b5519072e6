"""How a command ends: its exit code, which a script can rely on, and its last words."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

from zypher import errors
from zypher.cli.text import complain, one_line
from zypher.errors import ModelLoadError, PredictionError, ZypherError


class Ending(IntEnum):
    """The exit codes."""

    DONE = 0
    MISTAKE = 1
    USAGE = 2
    FAILED = 3
    AWAY = 4
    UNKNOWN = 5
    UNFINISHED = 6
    INTERRUPTED = 130


MEANINGS = {
    Ending.DONE: "done",
    Ending.MISTAKE: "a mistake or a refusal, as the sentence says",
    Ending.USAGE: "wrong usage",
    Ending.FAILED: "the prediction failed or was canceled",
    Ending.AWAY: "no server there, or it cannot take it now",
    Ending.UNKNOWN: "no such prediction or model",
    Ending.UNFINISHED: "not finished within --timeout",
    Ending.INTERRUPTED: "Ctrl-C",
}

_ENDINGS: dict[Ending, tuple[type[ZypherError], ...]] = {
    Ending.FAILED: (
        errors.Canceled,
        errors.DeadlineExceeded,
        errors.InvalidOutput,
        errors.ModelCrashed,
        errors.ModelError,
        errors.QueueTimeout,
        errors.ResultTooLarge,
        errors.RunTimeout,
    ),
    Ending.AWAY: (
        errors.QueueFull,
        errors.RateLimited,
        errors.StorageFull,
        errors.Unavailable,
    ),
    Ending.UNKNOWN: (errors.NotFound,),
}

# What the sentence alone does not say in a word that a program can look for.
_WITH_CODE = (Ending.FAILED, Ending.MISTAKE)


class Unfinished(ZypherError):
    """What was waited for has not ended in time."""


def ending_of(error: ZypherError) -> Ending:
    """What a command ends with that fails of this."""
    if isinstance(error, Unfinished):
        return Ending.UNFINISHED
    kinds = (ending for ending, kinds in _ENDINGS.items() if isinstance(error, kinds))
    return next(kinds, Ending.MISTAKE)


def last_words(error: ZypherError) -> str:
    """The sentence that says why, with the code of what a prediction failed or was refused for."""
    if isinstance(error, ModelLoadError):
        return error.report
    if not isinstance(error, PredictionError):
        return str(error)
    if isinstance(error, errors.Unauthorized):  # the server tells of headers
        return f"{_about_the_key()} ({error.code})"
    return one_line(f"{error} ({error.code})" if ending_of(error) in _WITH_CODE else str(error))


def _about_the_key() -> str:
    if os.environ.get("ZYPHER_API_KEY"):
        return "The API key in ZYPHER_API_KEY is none that the server knows."
    return "The server asks for an API key: put yours into the variable ZYPHER_API_KEY."


class _Interrupted(BaseException):
    """This signal has asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def interruptible(words: Callable[[], str]) -> Iterator[None]:
    """Within it, Ctrl-C ends the program with the sentence that `words` gives.

    So do SIGTERM, and a terminal that is closed. Meanwhile another Ctrl-C ends it at once.
    """

    def interrupt(number: int, _: object) -> NoReturn:
        raise _Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            if before[number] is not signal.SIG_IGN:  # as `nohup` has it
                signal.signal(number, interrupt)
        yield
    except _Interrupted as interrupted:
        _restore(before)
        # The kernel says that the terminal is closed, and then the shell says it again.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        has_echo = interrupted.number == signal.SIGINT and _is_terminal()  # of the ^C
        complain("\n" * has_echo + words())
        sys.exit(128 + interrupted.number)
    finally:
        _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def limited(seconds: float | None, id: str) -> Iterator[None]:
    """Within it, raise `Unfinished` once so many seconds have gone by."""
    if seconds is None:
        yield
        return

    def give_up(*_: object) -> NoReturn:
        raise Unfinished(
            f"Prediction {id} has not ended within {seconds:g} s. It goes on: "
            f"`zypher show --follow {id}` waits for it."
        )

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds or 1e-6)  # 0 would mean: never
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
