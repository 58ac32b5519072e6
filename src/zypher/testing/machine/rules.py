"""All that servers, workers, the janitor, time and its own end do to a broker."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
)
from msgspec.structs import replace

from zypher.brokers.base import Broker, Limits
from zypher.errors import Unavailable
from zypher.prediction import NO_OPTIONS, Claim, Options, Outcome, Prediction, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, PATIENCE, new
from zypher.testing.contract.updating import ADMITTED_BY, MISFIT
from zypher.testing.machine.comparison import LIMITS, Comparison, same

Batch = tuple[Claim, ...]
Predictions = Prediction | MultipleResults[Prediction]
Batches = Batch | MultipleResults[Batch]

models = st.sampled_from(("m", "m", "n"))
priorities = st.lists(st.sampled_from(Priority), min_size=1, max_size=15)
input_sizes = st.sampled_from((1, 1, 100))
waiters = st.integers(0, 2)
workers = st.sampled_from(("v", "w"))
claim_limits = st.sampled_from((1, 2, 5, 13))
outcomes = st.sampled_from((GOOD, GOOD, BAD, BAD, MISFIT))
parts = st.sampled_from((slice(None), slice(1), slice(1, None)))  # all, the first, the others
times = st.sampled_from((1, LIMITS.lease - 1, LIMITS.lease, LIMITS.ttl / 2, LIMITS.ttl))
jumps = st.sampled_from((-LIMITS.ttl, -LIMITS.lease, LIMITS.lease, LIMITS.ttl / 2, LIMITS.ttl))
duties = st.sampled_from(("reclaim", "purge", "enforce_clocks"))
option = st.sampled_from(
    (
        *(NO_OPTIONS, NO_OPTIONS, Options(ttl=LIMITS.lease)),
        *(Options(run_timeout=LIMITS.lease / 2), Options(retries=2)),
        *(Options(queue_timeout=LIMITS.lease), Options(deadline=LIMITS.ttl)),
        *(Options(queue_timeout=LIMITS.ttl, run_timeout=1), Options(retries=1, deadline=2)),
    )
)
owners = st.sampled_from((None, "a", "b"))
keys = st.sampled_from(("k", "l"))
fingerprints = st.sampled_from((b"f", b"f", b"g"))


class BrokerMachine(Comparison):
    """What can be done to any broker. Subclass it and say how to `open` one."""

    # False for one that holds a part of its queue elsewhere: a claim may get fewer than there
    # are, callers who wait may go ahead of all that are kept, and the clocks of what waits
    # elsewhere jump with the wall clock.
    claims_are_full: ClassVar[bool] = True

    predictions: Bundle[Prediction] = Bundle("predictions")
    claimed: Bundle[Batch] = Bundle("claimed")
    held: Bundle[Batch] = Bundle("held")

    # It begins with something that waits and something that runs.

    @initialize(target=predictions, priorities=priorities, keep=st.booleans(), waiters=waiters)
    def some_wait(self, priorities: Sequence[Priority], keep: bool, waiters: int) -> Predictions:
        return self.submit("m", priorities, 1, keep, waiters)

    @initialize(targets=(claimed, held), priorities=priorities)
    def some_run(self, priorities: Sequence[Priority]) -> Batches:
        self.submit("m", priorities, 1, keep=True, waiters=0)
        return self.claim("w", "m", len(priorities))

    # Servers.

    @rule(
        target=predictions,
        model=models,
        priorities=priorities,
        size=input_sizes,
        keep=st.booleans(),
        waiters=waiters,
        options=option,
        owner=owners,
    )
    def submit(
        self,
        model: str,
        priorities: Sequence[Priority],
        size: int,
        keep: bool,
        waiters: int,
        options: Options = NO_OPTIONS,
        owner: str | None = None,
    ) -> Predictions:
        if not self.claims_are_full:
            options = replace(options, queue_timeout=None, deadline=None)
        now = self.clock.wall()
        made = [
            new(
                *(model, b"1" * size, priority),
                created=now,
                signature=ADMITTED_BY,
                options=options,
                owner=owner,
            )
            for priority in priorities
        ]
        for prediction in made:
            self.seen[prediction.id] = None
            self.both("submit", prediction, keep=keep)
            for _ in range(waiters):
                self.wait(prediction)
        return multiple(*made)

    @rule(
        target=predictions,
        key=keys,
        fingerprint=fingerprints,
        waits=st.booleans(),
        owner=owners,
    )
    def submit_with_a_key(
        self, key: str, fingerprint: bytes, waits: bool, owner: str | None
    ) -> Prediction:
        made = new(
            created=self.clock.wall(), idempotency_key=key, fingerprint=fingerprint, owner=owner
        )
        self.seen[made.id] = None
        self.both("submit", made, keep=True, waits=waits)
        return made

    @rule(prediction=predictions)
    def submit_again(self, prediction: Prediction) -> None:
        self.both("submit", prediction, keep=True)

    @rule(prediction=predictions)
    def abandon(self, prediction: Prediction) -> None:
        self.both("abandon", prediction.id)

    @rule(prediction=predictions)
    def keep(self, prediction: Prediction) -> None:
        self.both("keep", prediction.id)

    @rule(prediction=predictions)
    def cancel(self, prediction: Prediction) -> None:
        self.both("cancel", prediction.id)

    @rule(prediction=predictions)
    def delete(self, prediction: Prediction) -> None:
        self.both("delete", prediction.id)

    @rule(prediction=predictions)
    def wait(self, prediction: Prediction) -> None:
        self.waiters.append(self.run(self.begin_to_wait(prediction.id)))

    @precondition(lambda self: self.waiters)
    @rule()
    def hang_up(self) -> None:
        self.run(self.leave(self.waiters.pop(0)))

    @rule(
        status=st.none() | st.sampled_from(Status),
        model=st.none() | models,
        owner=owners,
        limit=st.integers(1, 5),
    )
    def list(self, status: Status | None, model: str | None, owner: str | None, limit: int) -> None:
        filters = {"status": status, "model": model, "owner": owner}
        found = self.run(self.all_pages(**filters, limit=limit))
        same(found, self.reference.listing(status, model, owner))

    # Workers.

    @rule(
        targets=(claimed, held),
        worker=workers,
        model=models,
        limit=claim_limits,
        suspects=st.booleans(),
    )
    def claim(self, worker: str, model: str, limit: int, suspects: bool = True) -> Batches:
        taken = self.run(
            self.broker.claim(worker, model, limit=limit, timeout=0, suspects=suspects)
        )
        ids, full = [record.id for record in taken], self.claims_are_full
        self.reference.claim(worker, model, limit=limit, suspects=suspects, taken=ids, full=full)
        return multiple(tuple(record.claim for record in taken)) if taken else multiple()

    @rule(worker=workers, batch=held)
    def renew_just_in_time(self, worker: str, batch: Batch) -> None:
        self.clock.advance(LIMITS.lease - 1)
        self.both("renew", worker, batch)

    @rule(batch=held, part=parts, outcome=outcomes)
    def finish(self, batch: Batch, part: slice, outcome: Outcome) -> None:
        ended = batch[part]
        refused = self.both("finish", [(claim, outcome) for claim in ended])
        self.check_accepted(set(ended) - refused)

    @rule(batch=held, part=parts)
    def release(self, batch: Batch, part: slice) -> None:
        self.both("release", batch[part])

    @rule(batch=consumes(held))
    def crash(self, batch: Batch) -> None:
        self.both("crash", batch, "was killed")

    @rule(worker=workers)
    def learn(self, worker: str) -> None:
        told = self.run(self.broker.withdrawn(worker, timeout=0))
        assert sorted(told) == sorted(self.reference.withdrawn(worker))

    @rule(worker=workers, batch=claimed, outcome=outcomes)
    def come_late(self, worker: str, batch: Batch, outcome: Outcome) -> None:
        self.both("renew", worker, batch)
        self.finish(batch, slice(None), outcome)
        self.both("crash", batch, "was killed")
        self.both("release", batch)

    # Time, and what the janitor does when it has passed.

    @rule(seconds=times, duty=duties)
    def advance(self, seconds: float, duty: str) -> None:
        self.clock.advance(seconds)
        self.both(duty)

    @rule(seconds=jumps, duty=duties)
    def jump(self, seconds: float, duty: str) -> None:
        self.clock.jump(seconds)
        self.both(duty)


class DurableBrokerMachine(BrokerMachine):
    """What can be done to a broker that keeps what it holds: it may end, and begin again."""

    async def reopen(self, limits: Limits, clock: ManualClock) -> Broker:
        """Open what the last broker has left."""
        raise NotImplementedError

    async def kill(self, broker: Broker) -> None:
        """Let go of a broker as the death of its process would, without closing it."""
        raise NotImplementedError

    @rule()
    def stop_and_start(self) -> None:
        self.run(self.broker.aclose())
        for task, _ in self.waiters:
            with pytest.raises(Unavailable):
                self.run(asyncio.wait_for(task, PATIENCE))
        self.waiters.clear()
        self.start_again()

    @rule()
    def die_and_start(self) -> None:
        self.dismiss_waiters()
        self.run(self.kill(self.broker))
        self.start_again()

    def start_again(self) -> None:
        """Open the broker once more; what ran was lost with it."""
        self.start(self.reopen(LIMITS, self.clock))
        self.reference.restart()
