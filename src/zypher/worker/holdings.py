"""What a worker holds: the claims for each of its replicas, and what becomes of the withdrawn."""

import asyncio
import logging
from collections.abc import Iterable

from zypher.prediction import Claim
from zypher.replicas.replica import Replica

log = logging.getLogger("zypher.worker")


class Holdings:
    """What was claimed for each replica and has been neither finished, given back nor withdrawn.

    A run that has to stop is given `cancel_grace` seconds before its process is given up.
    """

    def __init__(self, cancel_grace: float) -> None:
        self._cancel_grace = cancel_grace
        self._held: dict[Replica, set[Claim]] = {}
        self._is_empty = asyncio.Event()
        self._somebody_waits = False

    def of(self, replica: Replica) -> set[Claim]:
        """What is held for this replica."""
        return self._held.setdefault(replica, set())

    def forget(self, replica: Replica) -> None:
        """Nothing is held for this replica any more: it is dead."""
        del self._held[replica]
        self._note()

    def add(self, replica: Replica, claims: Iterable[Claim]) -> None:
        """These were claimed for this replica."""
        self._held[replica].update(claims)

    def let_go(self, replica: Replica, claims: Iterable[Claim]) -> None:
        """These are not held any more."""
        self._held[replica].difference_update(claims)
        self._note()

    def all(self) -> list[Claim]:
        """Everything that is held."""
        return [claim for claims in self._held.values() for claim in claims]

    async def empty(self) -> None:
        """Wait until nothing is held, when nothing more is claimed."""
        self._somebody_waits = True
        self._note()
        await self._is_empty.wait()

    def withdraw(self, claim: Claim, *, insists: bool) -> bool:
        """Let go of a claim and have its run end, if there is one; False if it is not held."""
        for replica, claims in self._held.items():
            if claim in claims:
                self.let_go(replica, [claim])
                replica.cancel(claim)
                later = asyncio.get_running_loop().call_later
                later(self._cancel_grace, self._give_up, replica, claim, insists)
                return True
        return False

    def _give_up(self, replica: Replica, claim: Claim, insists: bool) -> None:
        if replica.give_up(claim, insists=insists) and insists:
            log.warning(
                "%s: the run of %s did not stop within cancel-grace (%g s): its process is "
                "killed once it runs nothing else",
                *(replica.spec.name, claim.id, self._cancel_grace),
                extra={
                    "prediction": claim.id,
                    "attempt": claim.attempt,
                    "model": replica.spec.name,
                    "replica": replica.pid,
                },
            )

    def _note(self) -> None:
        if self._somebody_waits and not any(self._held.values()):
            self._is_empty.set()
