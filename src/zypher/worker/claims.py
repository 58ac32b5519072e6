"""What a worker tells the broker of its claims, also when that is away for a while."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from zypher.brokers.base import Broker, Event
from zypher.errors import StorageFull, Unavailable
from zypher.periodic import insist
from zypher.prediction import Claim, Outcome, Prediction
from zypher.replicas.frames import Told
from zypher.replicas.lines import MOST_NAMED
from zypher.replicas.replica import Replica
from zypher.worker.holdings import Holdings

log = logging.getLogger("zypher.worker")

T = TypeVar("T")

# How long one question for withdrawals waits, in seconds.
_PATIENCE = 60.0

# How long the broker has, once the worker stops, to take what it is told.
_LAST_WORDS = 2.0


class Claims:
    """The claims of one worker, from `claim` to what ends them.

    Outcomes wait here for a broker that is away. Meanwhile nothing is claimed for the replica whose
    outcomes they are; nor for any while leases cannot be extended.
    """

    def __init__(self, broker: Broker, worker: str, *, cancel_grace: float) -> None:
        self.stale_outcomes = 0
        self.stopping = False
        self._broker = broker
        self._metrics = broker.metrics
        self._worker = worker
        self._holdings = Holdings(cancel_grace)
        self._ending: set[Claim] = set()  # of which the broker is just being told
        self._can_renew = _opened()
        self._can_tell: dict[Replica, asyncio.Event] = {}

    def of(self, replica: Replica) -> set[Claim]:
        """What is held for this replica, from now on."""
        if replica not in self._can_tell:
            self._can_tell[replica] = _opened()
        return self._holdings.of(replica)

    def forget(self, replica: Replica) -> None:
        """Nothing is held for this replica any more: it is dead."""
        self._holdings.forget(replica)
        del self._can_tell[replica]

    def all(self) -> list[Claim]:
        """Everything that is held."""
        return self._holdings.all()

    async def empty(self) -> None:
        """Wait until nothing is held, when nothing more is claimed."""
        await self._holdings.empty()

    async def claim(
        self, replica: Replica, limit: int, timeout: float, *, suspects: bool
    ) -> Sequence[Prediction]:
        """Take up to `limit` predictions for this replica. Raises `Unavailable`."""
        claim = partial(self._broker.claim, limit=limit, timeout=timeout, suspects=suspects)
        return await self._claim(replica, claim)

    async def claim_ahead(self, replica: Replica, limit: int) -> Sequence[Prediction]:
        """Take `limit` predictions that may wait in this replica, or none. Raises `Unavailable`."""
        return await self._claim(replica, partial(self._broker.claim_ahead, limit=limit))

    async def _claim(
        self, replica: Replica, claim: Callable[[str, str], Awaitable[Sequence[Prediction]]]
    ) -> Sequence[Prediction]:
        await self._can_renew.wait()
        await self._can_tell[replica].wait()
        model = replica.spec.name
        claimed = await claim(self._worker, model)
        self._metrics.began(model, claimed)
        self._holdings.add(replica, [prediction.claim for prediction in claimed])
        return claimed

    async def publish(self, replica: Replica, told: Iterable[Told]) -> None:
        """Pass on what the runs of a replica tell."""
        events = [(claim, Event(one.kind, one.data)) for one in told for claim in one.claims]
        with contextlib.suppress(StorageFull):  # the outcome is what has to be kept
            await self._tell(replica, "publish", partial(self._broker.publish, events))

    async def finish(self, replica: Replica, ended: Sequence[tuple[Claim, Outcome]]) -> None:
        """Hand over the outcomes of a replica."""
        claims = [claim for claim, _ in ended]
        tell = partial(self._broker.finish, ended)
        refused = await self._ended(claims, self._tell(replica, "finish", tell))
        if refused:
            self.stale_outcomes += len(refused)
            self._metrics.stale_outcomes.count(by=len(refused))
            await self.heed(patience=0)
        for claim in refused & self._holdings.of(replica):
            extra = {"prediction": claim.id, "attempt": claim.attempt, "model": replica.spec.name}
            sentence = "the outcome of %s came too late and was refused"
            log.warning(sentence, claim.id, extra={**extra, "worker": self._worker})
        self._holdings.let_go(replica, claims)

    async def release(self, replica: Replica, claims: Sequence[Claim]) -> None:
        """Give back what did not run. Should that fail at the end, the leases run out."""
        if claims:
            tell = partial(self._broker.release, claims)
            told = once(tell) if self.stopping else self._tell(replica, "release", tell)
            await self._ended(claims, told)
        self._holdings.let_go(replica, claims)

    async def crash(self, replica: Replica) -> None:
        """Report that the process of a replica has died, with what it ran."""
        claims = replica.in_flight
        log.warning(
            "%s: its process %s with %d in flight: %s",
            *(replica.spec.name, replica.ending, len(claims)),
            ", ".join(claim.id for claim in claims[:3]) + ", ..." * (len(claims) > 3) or "none",
            extra={
                "model": replica.spec.name,
                "replica": replica.pid,
                "predictions": [claim.id for claim in claims[:MOST_NAMED]] or None,
                "worker": self._worker,
            },
        )
        if claims:
            report = partial(self._broker.crash, claims, replica.ending, log=replica.last_lines)
            await self._ended(claims, self._tell(replica, "crash", report))
        self._holdings.let_go(replica, claims)

    async def renew(self) -> None:
        """Extend the leases of all that is held, and let go of what was lost."""
        lost = await insist(
            lambda: self._metrics.timed(
                "renew", self._broker.renew(self._worker, self._holdings.all())
            ),
            gate=self._can_renew,
        )
        if lost:
            await self.heed(patience=0)
        # What the broker has just been told the end of is no more ours, and was not taken from us.
        lost -= self._ending
        taken = [claim for claim in lost if self._holdings.withdraw(claim, insists=True)]
        if taken:
            log.warning(
                "%d predictions were taken from this worker while it ran them",
                len(taken),
                extra={
                    "predictions": [claim.id for claim in taken[:MOST_NAMED]],
                    "worker": self._worker,
                },
            )

    async def heed(self, patience: float = _PATIENCE) -> None:
        """Stop what others have ended."""
        ask = partial(self._broker.withdrawn, self._worker, timeout=patience)
        for claim, insists in await insist(ask):
            self._holdings.withdraw(claim, insists=insists)

    async def _ended(self, claims: Iterable[Claim], told: Awaitable[T]) -> T:
        """What the broker answers to being told that these have ended."""
        self._ending.update(claims)
        try:
            return await told
        finally:
            self._ending.difference_update(claims)

    async def _tell(self, replica: Replica, verb: str, tell: Callable[[], Awaitable[T]]) -> T:
        timed = self._metrics.timed
        return await insist(lambda: timed(verb, tell()), gate=self._can_tell[replica])


async def once(tell: Callable[[], Awaitable[None]]) -> None:
    """Tell the broker this; if it does not listen now, so be it."""
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            await tell()


def _opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
