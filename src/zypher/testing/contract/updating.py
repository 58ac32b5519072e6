"""A model is updated: workers of its older and of its newer signature run side by side."""

import asyncio
from typing import Any

from zypher.brokers.base import Broker, ModelInfo, WorkerInfo
from zypher.prediction import MOST_MISFITS, Failure, Options, Outcome, Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import GOOD, PATIENCE, BrokerTests

ADMITTED_BY = "newer"
MISFIT = Outcome(failure=Failure("invalid_input", "No."), signature="older")

OLDER = ModelInfo(name="m", description="", input_schema={"type": "string"})
NEWER = ModelInfo(name="m", description="", input_schema={"type": "object"})

# Longer than any pause between a misfit and the next run.
PAUSE = 2.0


class Updating(BrokerTests):
    """A model is updated: workers of its older and of its newer signature run side by side."""

    async def admitted(self, broker: Broker, **fields: Any) -> Prediction:
        """A kept prediction whose input the newer signature admitted."""
        (made,) = await self.submit(broker, signature=ADMITTED_BY, **fields)
        return made

    async def refuse(self, broker: Broker, outcome: Outcome = MISFIT) -> Prediction:
        """The record of what could be claimed next, once a worker has refused its input."""
        (claimed,) = await self.claim(broker, worker="old")
        assert not await broker.finish([(claimed.claim, outcome)])
        record = await broker.get(claimed.id)
        assert record is not None
        return record

    async def test_what_a_worker_of_another_signature_refused_is_run_by_the_next_after_a_pause(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        made = await self.admitted(broker)
        waiting = asyncio.create_task(broker.wait(made.id, PATIENCE))
        await asyncio.sleep(0)
        refused = await self.refuse(broker)
        assert (refused.status, refused.misfits) == (Status.QUEUED, 1)
        assert (refused.retried, refused.crashes, refused.failure) == (0, 0, None)
        stats = (await broker.stats())["m"]
        assert (stats.retried, stats.paused, stats.refused) == (0, 1, 1)
        assert not await self.claim(broker)
        clock.advance(PAUSE)
        await broker.enforce_clocks()
        stats = (await broker.stats())["m"]
        assert (stats.paused, stats.refused) == (0, 0)
        (claimed,) = await self.claim(broker, worker="new")
        assert (claimed.attempt, claimed.signature) == (2, ADMITTED_BY)
        assert not await broker.finish([(claimed.claim, GOOD)])
        record = await waiting
        assert record is not None
        assert (record.status, record.misfits) == (Status.COMPLETED, 1)

    async def test_what_only_workers_of_another_signature_refuse_fails_after_all(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.admitted(broker)
        for misfits in range(1, MOST_MISFITS + 1):
            assert (await self.refuse(broker)).misfits == misfits
            clock.advance(PAUSE)
            await broker.enforce_clocks()
        record = await self.refuse(broker)
        assert (record.status, record.failure) == (Status.FAILED, MISFIT.failure)

    async def test_an_input_that_its_own_signature_refuses_fails_at_once(
        self, broker: Broker
    ) -> None:
        await self.admitted(broker)
        own = Outcome(failure=MISFIT.failure, signature=ADMITTED_BY)
        assert (await self.refuse(broker, own)).status is Status.FAILED

    async def test_a_misfit_that_would_pause_beyond_its_deadline_fails_at_once(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.admitted(broker, created=clock.wall(), options=Options(deadline=0.1))
        assert (await self.refuse(broker)).status is Status.FAILED

    async def test_the_newest_signature_that_a_worker_has_is_in_force(self, broker: Broker) -> None:
        for model in (OLDER, NEWER):
            await broker.register_model(model)
            assert await broker.models() == {"m": model}
        await broker.register_worker(worker("old", OLDER))
        assert await broker.models() == {"m": OLDER}
        await broker.register_worker(worker("new", NEWER))
        assert await broker.models() == {"m": NEWER}
        await broker.forget_worker("new")
        assert await broker.models() == {"m": OLDER}
        await broker.forget_worker("old")
        assert await broker.models() == {"m": NEWER}

    async def test_an_older_worker_that_registers_again_changes_nothing(
        self, broker: Broker
    ) -> None:
        for name, model in (("old", OLDER), ("new", NEWER), ("restarted", OLDER)):
            await broker.register_model(model)
            await broker.register_worker(worker(name, model))
        assert await broker.models() == {"m": NEWER}


def worker(id: str, model: ModelInfo) -> WorkerInfo:
    """A worker of this signature."""
    signatures = {model.name: model.signature}
    return WorkerInfo(id=id, host="h", pid=1, replicas={}, signatures=signatures)
