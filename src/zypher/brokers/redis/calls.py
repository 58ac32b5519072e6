"""A call to Redis, and what its answer means: a result, a refusal for now, or an error."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from zypher.errors import Internal, StorageFull, Unavailable

log = logging.getLogger("zypher.redis")

# How a lost connection shows. RuntimeError: what uvloop says of one that is closed already.
LOST = (RedisError, OSError, TimeoutError, RuntimeError)

# Answers that say: this is not the primary, or not yet.
_NOT_NOW = (BusyLoadingError, ClusterDownError, MasterDownError, ReadOnlyError, TryAgainError)

# The same in answers that the client has no classes for: its disk is full, it lacks replicas, or it
# runs somebody's long script.
_NOT_NOW_CODES = ("MISCONF", "NOREPLICAS", "BUSY ")

# All that can come in place of a result; what else is raised says that the connection is lost.
REFUSALS = (ResponseError, *_NOT_NOW)


class Call:
    """A command and the future of its answer, or of what that `means`.

    `orphaned` is told the answer if nobody waits for it any more. One that is not `repeatable` is
    not sent again when nobody knows whether it was done. One that `joins` has one argument for a
    script that takes any number of them, and answers with as many.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        command: Sequence[Any],
        orphaned: Callable[[Any], None] | None = None,
        *,
        means: Callable[[Any], Any] | None = None,
        repeatable: bool = True,
        joins: bool = False,
    ) -> None:
        self.command = command
        self.repeatable = repeatable
        self.joins = joins
        self.asked = loop.time()
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._orphaned = orphaned
        self._means = means

    def takes(self, other: "Call") -> bool:
        """True if another one can be made together with it."""
        return self.joins and other.joins and self.command[:2] == other.command[:2]

    def answered(self, answer: Any) -> None:
        """Redis has answered."""
        if not self.answer.done():
            self._told(answer)
        elif self._orphaned is not None:
            self._orphaned(answer)

    def _told(self, answer: Any) -> None:
        try:
            result = answer if self._means is None else self._means(answer)
        except Exception as error:
            self.failed(error)
        else:
            self.answer.set_result(result)

    def failed(self, error: Exception) -> None:
        """There is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # nobody has to look at it


# One script does so much at most before others have their turn: so many calls, and bytes.
_MOST_JOINED = 64
_MOST_BYTES = 1_000_000


def joined(calls: Sequence[Call]) -> list[list[Call]]:
    """These calls in their order, those together that follow each other and can be made as one."""
    groups: list[list[Call]] = []
    size = 0
    for call in calls:
        added = len(call.command[-1]) if call.joins else 0
        last = groups[-1] if groups else []
        fits = len(last) < _MOST_JOINED and size + added <= _MOST_BYTES
        if last and fits and last[0].takes(call):
            last.append(call)
            size += added
        else:
            groups.append([call])
            size = added
    return groups


def lacks_script(error: Exception) -> bool:
    """True if Redis has to be told a script first."""
    return isinstance(error, NoScriptError)


def is_not_now(error: Exception) -> bool:
    """True if Redis, or another one in its place, would do it a little later."""
    if isinstance(error, _NOT_NOW):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_NOT_NOW_CODES)


def reason(error: Exception) -> str:
    """Why something failed, as a part of a sentence."""
    return str(error).strip().rstrip(".") or "it does not answer"


def explained(error: Exception) -> Exception:
    """What an answer that is an error means to a caller."""
    if isinstance(error, OutOfMemoryError):
        return StorageFull(
            "Redis has used all the memory that it may (maxmemory): nothing can be taken in until "
            "predictions have ended and expired. Try again later.",
            retry_after=5,
        )
    if isinstance(error, AuthenticationError | NoPermissionError):
        return Unavailable(f"Redis refuses what the broker has to do: {reason(error)}.")
    log.error("Redis has answered: %s", error)
    return Internal("The broker has failed; its log says more.")
