"""A model that fails in one prediction after the other: it is taken out of service for a while."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from zypher.prediction import Claim, Failure, Outcome
from zypher.replicas.replica import Replica

log = logging.getLogger("zypher.worker")

# How long a model is out of service before one prediction is tried, in seconds: after the first
# time, and at most.
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 300.0
_MOST_DOUBLINGS = 5  # by then it is the longest


class Breaker:
    """Whether a model is in service at one worker: a circuit breaker.

    It goes out of service when `limit` different predictions failed by the model's own fault and
    none succeeded between them. After a `pause` one prediction is tried: its success puts the
    model back, its failure begins a longer pause. `reason` says why it is out of service, also
    while it is tried; `changed` is called when that changes.
    """

    def __init__(self, model: str, limit: int | None, changed: Callable[[], None]) -> None:
        self.reason: str | None = None
        self.pause = 0.0
        self._model = model
        self._limit = limit
        self._changed = changed
        self._failed: set[str] = set()
        self._vain = 0  # pauses since it was in service
        self._trying: Replica | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    @property
    def is_calm(self) -> bool:
        """True while nothing has failed since the last success."""
        return not self._failed and self.reason is None

    def admits(self, replica: Replica) -> bool:
        """True if this replica may run predictions now."""
        return self.reason is None or self._trying is replica

    async def admission(self, replica: Replica) -> bool:
        """Wait until this replica may run predictions; True if it is to try a single one."""
        while not self.admits(replica):
            if self._trying is None and not self.pause:
                self._trying = replica
            else:
                await self._news.wait()
        return self.reason is not None

    async def verdict(self, replica: Replica) -> None:
        """Wait until what this replica tries has shown something, or nothing."""
        while self._trying is replica:
            await self._news.wait()

    def let_go(self, replica: Replica) -> None:
        """If this replica tried, it does not any more: another may."""
        if self._trying is replica:
            self._trying = None
            self._tell()

    def note(self, replica: Replica, ended: Sequence[tuple[Claim, Outcome]]) -> None:
        """These have ended in a replica."""
        if self._limit is None:
            return
        for claim, outcome in ended:
            if outcome.failure is None:
                self.reset()
            elif _is_fault(outcome.failure):
                # The rest may be of the input, and is not for everybody to read.
                self._note_failure(replica, claim, outcome.failure.detail.partition(":")[0])
        self.let_go(replica)  # what was neither, as a refused input, has shown nothing

    def note_crash(self, replica: Replica) -> None:
        """A replica has died; whose fault that was is known only of what ran alone."""
        if self._limit is not None and len(replica.in_flight) == 1:
            self._note_failure(replica, replica.in_flight[0], f"its process {replica.ending}")
        self.let_go(replica)

    def reset(self) -> None:
        """It is in service, whatever was before."""
        self._failed.clear()
        if self.reason is not None:
            log.warning("%s is in service again.", self._model, extra={"model": self._model})
            self.stop()
            self.reason = None
            self.pause, self._vain = 0.0, 0
            self._trying = None
            self._tell()
            self._changed()

    def stop(self) -> None:
        """Begin no trial any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _note_failure(self, replica: Replica, claim: Claim, what: str) -> None:
        if not self.admits(replica):
            return  # it ran since before
        self._failed.add(claim.id)
        if self._trying is replica or len(self._failed) == self._limit:
            self._take_out(what)

    def _take_out(self, what: str) -> None:
        self.pause = min(_FIRST_PAUSE * 2.0 ** min(self._vain, _MOST_DOUBLINGS), _LONGEST_PAUSE)
        self._vain += 1
        self.reason = f"{len(self._failed)} predictions in a row failed, the last with: {what}"
        self._trying = None
        self._timer = asyncio.get_running_loop().call_later(self.pause, self._begin_trial)
        log.error(
            "%s is out of service for %g s: %s. It is put back by one that succeeds then, or at "
            "once by SIGHUP.",
            *(self._model, self.pause, self.reason),
            extra={"model": self._model},
        )
        self._changed()

    def _begin_trial(self) -> None:
        self.pause = 0.0
        self._tell()
        self._changed()

    def _tell(self) -> None:
        """Have those who wait for admission look again."""
        self._news.set()
        self._news = asyncio.Event()


def _is_fault(failure: Failure) -> bool:
    """True for what the model raised; an item that it refuses on purpose has no traceback."""
    return failure.code == "model_error" and bool(failure.log)
