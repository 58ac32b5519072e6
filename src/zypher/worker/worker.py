"""The worker: hosts the replicas, and holds the right to what they run.

The story of its work is `_attend` and `_feed`: claim → batch → run → finish, for each replica
by itself. An idle replica is one whose feeder waits in `claim`, so work goes to whoever has room.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from zypher.brokers.base import Broker, ReplicaCounts
from zypher.errors import InvalidInput, Unavailable
from zypher.periodic import every, insist
from zypher.prediction import Claim, Outcome, Prediction, new_id, signature_of
from zypher.replicas.frames import Call
from zypher.replicas.pool import Pool
from zypher.replicas.replica import Replica, ReplicaDied
from zypher.replicas.spec import ReplicaSpec
from zypher.replicas.watch import names_of
from zypher.worker.attempts import Attempts
from zypher.worker.breaker import Breaker
from zypher.worker.claims import Claims, once
from zypher.worker.clearing import Clearing
from zypher.worker.registration import Registration

log = logging.getLogger("zypher.reload")

# How long one claim waits for work before it asks again, in seconds.
_PATIENCE = 60.0

# And one that passes over suspects: its replica may be idle then, and take them.
_GLANCE = 1.0

# What a retired replica is just claiming it may still run: to give that back would cost an attempt.
# A claim that gets nothing for so long, in seconds, is called off.
_LAST_CLAIM = 0.1

# How often `reload` looks for files that were saved, in seconds.
_LOOK_INTERVAL = 0.3


class Worker:
    """Runs the predictions of some models.

    `models` says how many replicas of which. A run that has to stop is killed if it has not after
    `cancel_grace` seconds. With `reload`, models are loaded again when their files are saved.
    `registered` is called when the broker has been told of a model. Somebody has to call `renew`
    well within every lease.
    """

    def __init__(
        self,
        broker: Broker,
        models: Sequence[tuple[ReplicaSpec, int]],
        *,
        cancel_grace: float = 5.0,
        reload: bool = False,
        registered: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
        self._broker = broker
        self._metrics = broker.metrics
        self._claims = Claims(broker, self.id, cancel_grace=cancel_grace)
        self._attempts = Attempts()
        self._feeders: dict[Replica, asyncio.Task[None]] = {}
        self._retiring: set[Replica] = set()
        self._duties: list[asyncio.Task[None]] = []
        self._draining = False
        self._reload = reload
        self._breakers = {
            spec.name: Breaker(spec.name, spec.max_failures, self._tell_soon) for spec, _ in models
        }
        self._clearings = {
            spec.name: Clearing(broker.metrics.run_seconds.of(spec.name)) for spec, _ in models
        }
        host = (self._attend, self._retire, self._changed)
        self._pools = [
            Pool(spec, size, *host, waits_for_saves=reload, metrics=broker.metrics)
            for spec, size in models
        ]
        for spec, _ in models:
            self._metrics.crashes.count(spec.name, by=0)  # so that the first one is seen
        self._registration = Registration(broker, self.id, self._pools, self._breakers, registered)
        self._telling: set[asyncio.Task[None]] = set()

    # Start and stop.

    async def start(self) -> None:
        """Start all replicas; returns once every model is imported and registered.

        Raises `ModelLoadError` for the first one that cannot be.
        """
        self._duties.append(asyncio.create_task(every(0.0, self._claims.heed)))
        if self._reload:
            self._duties.append(asyncio.create_task(every(_LOOK_INTERVAL, self._look)))
        for pool in self._pools:
            pool.start()
        for pool in self._pools:
            described = await pool.described
            model = (pool.spec.name, pool.running or described)
            await insist(partial(self._registration.register_model, *model))

    async def up(self) -> None:
        """Wait until every model has had a ready replica. Raises `ModelLoadError` as `start`."""
        for pool in self._pools:
            await pool.up

    def reload(self) -> None:
        """Have all models loaded again, and their replicas swapped for such as run the new code."""
        if not self._draining:
            for pool in self._pools:
                name = pool.spec.name
                log.info("Loading %s again ...", name, extra={"model": name})
                self._swap(pool)

    async def drain(self, grace: float) -> None:
        """Claim nothing more, and give what runs up to `grace` seconds to finish."""
        self._draining = True
        for feeder in self._feeders.values():
            feeder.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._claims.empty()

    async def stop(self) -> None:
        """End all replicas. What they still ran goes back to the queue, charged nothing."""
        self._draining = self._claims.stopping = True
        for breaker in self._breakers.values():
            breaker.stop()
        await asyncio.gather(*(pool.stop() for pool in self._pools))
        for duty in self._duties:
            duty.cancel()
        await once(partial(self._broker.forget_worker, self.id))

    async def renew(self) -> None:
        """Extend the leases of all that is held here, and let go of what was lost.

        While the broker is away this waits for it.
        """
        await self._claims.renew()
        await self._registration.refresh(self.stale_outcomes)

    @property
    def status(self) -> str:
        """ready; or starting, failing or draining. Any thread may ask."""
        if self._draining:
            return "draining"
        if any(pool.ready for pool in self._pools):
            return "ready"
        return "failing" if any(pool.failure for pool in self._pools) else "starting"

    @property
    def running(self) -> int:
        """How many predictions it holds."""
        return len(self._claims.all())

    @property
    def stale_outcomes(self) -> int:
        """How many outcomes came too late."""
        return self._claims.stale_outcomes

    def replicas(self) -> dict[str, ReplicaCounts]:
        """How its replicas stand, by model."""
        return self._registration.replicas()

    # The work.

    async def _attend(self, replica: Replica) -> None:
        """The work of one replica, for as long as it lives: feed it, and finish what it ran."""
        held = self._claims.of(replica)
        breaker = self._breakers[replica.spec.name]
        try:
            async with asyncio.TaskGroup() as tasks:
                feeder = self._feeders[replica] = tasks.create_task(self._feed(replica))
                async for told, ended, seconds, returned in replica.reports():
                    if told:
                        await self._claims.publish(replica, told)
                    if ended:
                        self._metrics.run_seconds.of(replica.spec.name).observe_many(seconds)
                        breaker.note(replica, ended)
                        signed = _signed(ended, replica)
                        recordings = self._attempts.end(ended)
                        await self._claims.finish(replica, signed)
                        self._attempts.recorded(recordings)
                    if returned:
                        self._attempts.release(returned)
                        await self._claims.release(replica, [c for c in returned if c in held])
                feeder.cancel()
            self._attempts.crash(replica.in_flight)
            if replica.in_flight or not replica.is_retired:
                breaker.note_crash(replica)
                await self._claims.crash(replica)
        finally:
            self._feeders.pop(replica, None)
            self._retiring.discard(replica)
            self._clearings[replica.spec.name].forget(replica)
            self._attempts.release(replica.in_flight)
            # What it was never handed; or, on a stop or a fault, all that it has not finished.
            try:
                await self._claims.release(replica, list(held))
            finally:
                self._claims.forget(replica)

    async def _feed(self, replica: Replica) -> None:
        """Claim what the replica has room for, as a batch if it is batched, and have it run."""
        batch: list[Prediction] = []
        breaker = self._breakers[replica.spec.name]
        try:
            while not self._draining:
                if not breaker.admits(replica):
                    await replica.is_idle()  # what runs since before says nothing of a trial
                is_trial = await breaker.admission(replica)
                await replica.has_room(ahead=breaker.is_calm)
                if replica in self._retiring:
                    break
                await self._gather(replica, batch, is_trial=is_trial)
                if not breaker.admits(replica):
                    await self._claims.release(replica, _claims(batch))
                    batch.clear()
                    continue
                suspects = _are_suspects(batch)
                if suspects and replica.is_busy:
                    # They must not take others with them. And their clocks run once claimed, so
                    # they wait for that in the queue, where an idle replica may take them.
                    await self._claims.release(replica, _claims(batch))
                    batch.clear()
                    await self._clearings[replica.spec.name].clear(replica)
                    continue
                await self._hand_over(replica, batch)
                if is_trial and replica.in_flight:
                    await breaker.verdict(replica)
                if suspects:
                    await replica.is_idle()
        except ReplicaDied:
            pass
        finally:
            breaker.let_go(replica)
            await self._claims.release(replica, _claims(batch))

    async def _retire(self, replica: Replica) -> None:
        """Have nothing more begun in this replica."""
        if feeder := self._feeders.get(replica):
            self._retiring.add(replica)
            await asyncio.wait([feeder], timeout=_LAST_CLAIM)
            feeder.cancel()
            await asyncio.wait([feeder])

    async def _hand_over(self, replica: Replica, batch: list[Prediction]) -> None:
        """Have the replica run a batch, less what was withdrawn since it was claimed."""
        if replica.is_held:
            await replica.is_free()
        held = self._claims.of(replica)
        wanted = {claim: one for one in batch if (claim := one.claim) in held}
        has_room = replica.room or replica.has_room_ahead
        if wanted and not has_room:  # its process is about to be ended
            await self._claims.release(replica, _claims(batch))
        elif wanted:
            self._run(replica, wanted)
            if replica.described.batching:
                self._metrics.batch_size.of(replica.spec.name).observe(len(wanted))
        batch.clear()

    def _run(self, replica: Replica, predictions: Mapping[Claim, Prediction]) -> None:
        size = len(predictions) if replica.described.batching else None
        contexts = self._attempts.begin(predictions, size)
        try:
            replica.run([*map(_call, predictions, predictions.values(), contexts)])
        except ReplicaDied:
            self._attempts.release(predictions)
            raise

    async def _gather(self, replica: Replica, batch: list[Prediction], *, is_trial: bool) -> None:
        """Claim into `batch` what may run next: single calls, or a batch as full as it gets.

        A batch waits `max_wait` for company from the moment that its first member was claimed; but
        no longer than half of what the clock of a member leaves. A trial is one alone.
        """
        batching = replica.described.batching
        room = replica.room
        limit = 1 if is_trial else batching.max_size if batching else max(1, room)
        clearing = self._clearings[replica.spec.name]
        now = asyncio.get_running_loop().time
        if not room:
            batch += await self._claimed_ahead(replica, limit)
            if batch:
                return
            await replica.has_room()
        while not batch:
            suspects = clearing.takes_suspects(replica)
            patience = _PATIENCE if suspects else _GLANCE
            claim = partial(self._claims.claim, replica, limit, patience, suspects=suspects)
            batch += await insist(claim)
            claimed = now()
        if batching is None or _are_suspects(batch):
            return
        spare = [claimed + seconds for seconds in _spare_times(batch)]
        full_at = min([now() + batching.max_wait, *spare])
        while len(batch) < limit and (left := full_at - now()) > 0:
            try:
                missing = limit - len(batch)
                more = await self._claims.claim(replica, missing, left, suspects=False)
            except Unavailable:
                return  # what is here need not wait for a broker that is away
            batch += more
            full_at = min([full_at, *(now() + spare for spare in _spare_times(more))])

    async def _claimed_ahead(self, replica: Replica, limit: int) -> Sequence[Prediction]:
        """A full batch that can wait in the replica for the end of what runs there."""
        with contextlib.suppress(Unavailable):
            return await self._claims.claim_ahead(replica, limit)
        return ()

    # New code.

    async def _look(self) -> None:
        """Swap the models whose files were saved."""
        for pool in self._pools:
            if (files := pool.watch.saved()) and not self._draining:
                name = pool.spec.name
                log.info("%s changed: loading %s ...", names_of(files), name, extra={"model": name})
                self._swap(pool)

    def _swap(self, pool: Pool) -> None:
        # New code deserves a new chance.
        self._breakers[pool.spec.name].reset()
        pool.swap()

    def _tell_soon(self) -> None:
        task = asyncio.create_task(self._changed())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _changed(self) -> None:
        if not self._claims.stopping:
            await self._registration.register(self.stale_outcomes)


def _are_suspects(batch: Sequence[Prediction]) -> bool:
    """True for predictions that were in a crash together: none of them is cleared yet."""
    return bool(batch) and batch[0].company is not None


def _call(claim: Claim, prediction: Prediction, traceparent: str | None) -> Call:
    due = prediction.due
    return Call(claim, prediction.input, due.at if due else None, traceparent)


def _signed(
    ended: Sequence[tuple[Claim, Outcome]], replica: Replica
) -> Sequence[tuple[Claim, Outcome]]:
    """Outcomes that say, where the input was refused, which signature refused it."""
    codes = {outcome.failure.code for _, outcome in ended if outcome.failure is not None}
    if InvalidInput.code not in codes:
        return ended
    signature = signature_of(replica.described.input_schema)
    return [
        (claim, replace(outcome, signature=signature) if _is_refusal(outcome) else outcome)
        for claim, outcome in ended
    ]


def _is_refusal(outcome: Outcome) -> bool:
    """True if the input did not fit the model's signature."""
    return outcome.failure is not None and outcome.failure.code == InvalidInput.code


def _spare_times(claimed: Sequence[Prediction]) -> list[float]:
    """Half of the seconds that those which have a clock had left when they were claimed."""
    return [(p.due.at - p.started) / 2 for p in claimed if p.due and p.started is not None]


def _claims(predictions: Sequence[Prediction]) -> list[Claim]:
    return [prediction.claim for prediction in predictions]
