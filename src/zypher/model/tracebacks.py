"""Tracebacks as the author of a model wants them: of their own code alone."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from traceback import FrameSummary, TracebackException

_NOT_USERS = (
    f"{Path(__file__).parents[1]}{os.sep}",
    f"{Path(importlib.__file__).parent}{os.sep}",
    "<frozen importlib",
)


def user_traceback(error: BaseException) -> str:
    """The traceback of `error`, as Python prints it, without the frames of Zypher and importlib."""
    report = TracebackException.from_exception(error)
    for part in _chain(report):
        part.stack[:] = [frame for frame in part.stack if _is_users(frame)]
    if report.stack:
        return "".join(report.format())
    return "".join(report.format_exception_only())  # a SyntaxError: it shows its own place


def _is_users(frame: FrameSummary) -> bool:
    return not frame.filename.startswith(_NOT_USERS)


def _chain(report: TracebackException | None) -> Iterator[TracebackException]:
    """`report` and all that led to it or that it groups."""
    if report is not None:
        yield report
        yield from _chain(report.__cause__)
        yield from _chain(report.__context__)
        for part in report.exceptions or ():
            yield from _chain(part)
