"""The worker: hosts the replicas, and holds the right to what they run.

The story of its work is `_attend` and `_feed`: claim → batch → run → finish, for each replica
by itself. An idle replica is one whose feeder waits in `claim`, so work goes to whoever has room.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Sequence

from zypher.brokers.base import Broker, Event, ModelInfo, ReplicaCounts, WorkerInfo
from zypher.periodic import every
from zypher.prediction import Claim, Outcome, Prediction, new_id
from zypher.replicas.frames import Call, Told
from zypher.replicas.pool import Pool
from zypher.replicas.replica import Replica, ReplicaDied, ReplicaSpec
from zypher.worker.holdings import Holdings

log = logging.getLogger("zypher.worker")

# How long one claim waits for work before it asks again, in seconds; and so for withdrawals.
_PATIENCE = 60.0

# The pause before the next withdrawals are asked for.
_BREATH = 0.001


class Worker:
    """Runs the predictions of some models.

    `models` says how many replicas of which. A run that has to stop is killed if it has not after
    `cancel_grace` seconds. Somebody has to call `renew` well within every lease.
    """

    def __init__(
        self,
        broker: Broker,
        models: Sequence[tuple[ReplicaSpec, int]],
        *,
        cancel_grace: float = 5.0,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
        self.stale_outcomes = 0
        self._broker = broker
        self._holdings = Holdings(cancel_grace)
        self._feeders: set[asyncio.Task[None]] = set()
        self._heeding: asyncio.Task[None] | None = None
        self._registered_stale_outcomes = 0
        self._draining = False
        self._pools = [Pool(spec, size, self._attend, self._register) for spec, size in models]

    # Start and stop.

    async def start(self) -> None:
        """Start all replicas; returns once every model is imported and registered.

        Raises `ModelLoadError` for the first one that cannot be.
        """
        self._heeding = asyncio.create_task(every(_BREATH, self._heed))
        for pool in self._pools:
            pool.start()
        for pool in self._pools:
            described = await pool.described
            await self._broker.register_model(
                ModelInfo(
                    name=pool.spec.name,
                    description=described.description,
                    input_schema=described.input_schema,
                    output_schema=described.output_schema,
                )
            )

    async def up(self) -> None:
        """Wait until every model has had a ready replica. Raises `ModelLoadError` as `start`."""
        for pool in self._pools:
            await pool.up

    async def drain(self, grace: float) -> None:
        """Claim nothing more, and give what runs up to `grace` seconds to finish."""
        self._draining = True
        for feeder in self._feeders:
            feeder.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._holdings.empty()

    async def stop(self) -> None:
        """End all replicas. What they still ran goes back to the queue, charged nothing."""
        self._draining = True
        await asyncio.gather(*(pool.stop() for pool in self._pools))
        if self._heeding is not None:
            self._heeding.cancel()
        await self._broker.forget_worker(self.id)

    async def renew(self) -> None:
        """Extend the leases of all that is held here, and let go of what was lost."""
        lost = await self._broker.renew(self.id, self._holdings.all())
        if lost:
            await self._heed(patience=0)
        taken = [claim for claim in lost if self._holdings.withdraw(claim, insists=True)]
        if taken:
            log.warning("%d predictions were taken from this worker while it ran them", len(taken))
        if self.stale_outcomes != self._registered_stale_outcomes:
            await self._register()

    # The work.

    async def _attend(self, replica: Replica) -> None:
        """The work of one replica, for as long as it lives: feed it, and finish what it ran."""
        held = self._holdings.of(replica)
        try:
            async with asyncio.TaskGroup() as tasks:
                feeder = tasks.create_task(self._feed(replica))
                async for told, ended in replica.reports():
                    if told:
                        await self._broker.publish(_events(told))
                    if ended:
                        await self._finish(replica, ended)
                feeder.cancel()
            await self._crash(replica)
        finally:
            # What it was never handed; or, on a stop or a fault, all that it has not finished.
            # Should even that fail, their leases run out.
            try:
                await self._release(replica, list(held))
            finally:
                self._holdings.forget(replica)

    async def _feed(self, replica: Replica) -> None:
        """Claim what the replica has room for, as a batch if it is batched, and have it run."""
        self._remember(asyncio.current_task())
        batch: list[Prediction] = []
        try:
            while not self._draining:
                await replica.has_room()
                await self._gather(replica, batch)
                suspects = _are_suspects(batch)
                if suspects and replica.in_flight:
                    # They must not take others with them. And their clocks run once claimed, so
                    # they wait for that in the queue, where an idle replica may take them.
                    await self._release(replica, _claims(batch))
                    batch.clear()
                    await replica.is_idle()
                    continue
                await self._hand_over(replica, batch)
                if suspects:
                    await replica.is_idle()
        except ReplicaDied:
            pass
        finally:
            await self._release(replica, _claims(batch))

    async def _hand_over(self, replica: Replica, batch: list[Prediction]) -> None:
        """Have the replica run a batch, less what was withdrawn since it was claimed."""
        held = self._holdings.of(replica)
        calls = [_call(prediction) for prediction in batch if prediction.claim in held]
        if calls and not replica.room:  # its process is about to be ended
            await self._release(replica, _claims(batch))
        elif calls:
            replica.run(calls)
        batch.clear()

    async def _gather(self, replica: Replica, batch: list[Prediction]) -> None:
        """Claim into `batch` what may run next: single calls, or a batch as full as it gets.

        A batch waits `max_wait` for company from the moment that its first member was claimed; but
        no longer than half of what the clock of a member leaves.
        """
        batching = replica.described.batching
        limit = batching.max_size if batching else replica.room
        while not batch:
            batch += await self._claim(replica, limit, _PATIENCE)
        if batching is None or _are_suspects(batch):
            return
        now = asyncio.get_running_loop().time
        full_at = now() + min([batching.max_wait, *_spare_times(batch)])
        while len(batch) < limit and (left := full_at - now()) > 0:
            more = await self._claim(replica, limit - len(batch), left)
            if _are_suspects(more):
                await self._release(replica, _claims(more))
                return
            batch += more
            full_at = min([full_at, *(now() + spare for spare in _spare_times(more))])

    # The claims.

    async def _claim(self, replica: Replica, limit: int, timeout: float) -> Sequence[Prediction]:
        model = replica.spec.name
        claimed = await self._broker.claim(self.id, model, limit=limit, timeout=timeout)
        self._holdings.add(replica, _claims(claimed))
        return claimed

    async def _finish(self, replica: Replica, ended: Sequence[tuple[Claim, Outcome]]) -> None:
        refused = await self._broker.finish(ended)
        if refused:
            self.stale_outcomes += len(refused)
            await self._heed(patience=0)
        for claim in refused & self._holdings.of(replica):
            log.warning("the outcome of %s came too late and was refused", claim.id)
        self._holdings.let_go(replica, [claim for claim, _ in ended])

    async def _release(self, replica: Replica, claims: Sequence[Claim]) -> None:
        if claims:
            await self._broker.release(claims)
        self._holdings.let_go(replica, claims)

    async def _crash(self, replica: Replica) -> None:
        claims = replica.in_flight
        log.warning(
            "%s: its process %s with %d in flight: %s",
            *(replica.spec.name, replica.ending, len(claims)),
            ", ".join(claim.id for claim in claims[:3]) + ", ..." * (len(claims) > 3) or "none",
        )
        if claims:
            await self._broker.crash(claims, replica.ending, log=replica.last_lines)
        self._holdings.let_go(replica, claims)

    async def _heed(self, patience: float = _PATIENCE) -> None:
        """Stop what others have ended."""
        for claim, insists in await self._broker.withdrawn(self.id, timeout=patience):
            self._holdings.withdraw(claim, insists=insists)

    # What it tells of itself.

    def _remember(self, feeder: asyncio.Task[None] | None) -> None:
        assert feeder is not None
        self._feeders.add(feeder)
        feeder.add_done_callback(self._feeders.discard)

    async def _register(self) -> None:
        self._registered_stale_outcomes = self.stale_outcomes
        replicas = {pool.spec.name: _counts(pool) for pool in self._pools}
        await self._broker.register_worker(
            WorkerInfo(
                id=self.id,
                host=socket.gethostname(),
                pid=os.getpid(),
                replicas=replicas,
                stale_outcomes=self.stale_outcomes,
            )
        )


def _are_suspects(batch: Sequence[Prediction]) -> bool:
    """True for predictions that were in a crash together: none of them is cleared yet."""
    return bool(batch) and batch[0].company is not None


def _call(prediction: Prediction) -> Call:
    due = prediction.due
    return Call(prediction.claim, prediction.input, due.at if due else None)


def _events(told: Iterable[Told]) -> list[tuple[Claim, Event]]:
    return [(claim, Event(t.kind, t.data)) for t in told for claim in t.claims]


def _spare_times(claimed: Sequence[Prediction]) -> list[float]:
    """Half of the seconds that those which have a clock had left when they were claimed."""
    return [(p.due.at - p.started) / 2 for p in claimed if p.due and p.started is not None]


def _claims(predictions: Sequence[Prediction]) -> list[Claim]:
    return [prediction.claim for prediction in predictions]


def _counts(pool: Pool) -> ReplicaCounts:
    return ReplicaCounts(
        ready=len(pool.ready),
        starting=pool.size - len(pool.ready),
        slots=sum(replica.slots for replica in pool.ready),
        failure=str(pool.failure) if pool.failure else None,
    )
