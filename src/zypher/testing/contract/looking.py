"""Listings, stats and the registry."""

import asyncio

import pytest

from zypher.brokers.base import Broker, ModelInfo, ReplicaCounts, WorkerInfo
from zypher.errors import Unavailable
from zypher.prediction import Options, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, PATIENCE, BrokerTests, new


class Looking(BrokerTests):
    """Listings, stats and the registry."""

    async def test_a_listing_shows_the_newest_first_without_inputs_and_results(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 3, input=b"12345")
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, GOOD)])
        page = await broker.list()
        assert [p.id for p in page.predictions] == sorted((p.id for p in submitted), reverse=True)
        assert {(p.input, p.result) for p in page.predictions} == {(b"", None)}
        assert page.cursor is None

    async def test_a_listing_can_be_filtered_by_status_and_model(self, broker: Broker) -> None:
        await self.submit(broker, 2)
        (other,) = await self.submit(broker, model="other")
        (claimed,) = await self.claim(broker)
        by_status = await broker.list(status=Status.PROCESSING)
        assert [p.id for p in by_status.predictions] == [claimed.id]
        by_model = await broker.list(model="other")
        assert [p.id for p in by_model.predictions] == [other.id]

    async def test_the_pages_of_a_listing_are_stable_while_others_submit(
        self, broker: Broker
    ) -> None:
        submitted = await self.submit(broker, 5)
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page = await broker.list(limit=2, cursor=cursor)
            seen += [p.id for p in page.predictions]
            cursor = page.cursor
            await self.submit(broker)
        assert seen == sorted((p.id for p in submitted), reverse=True)
        assert cursor is None

    async def test_a_listing_leaves_out_what_is_not_kept(self, broker: Broker) -> None:
        await broker.submit(new(), keep=False)
        assert not (await broker.list()).predictions

    async def test_the_stats_count_what_waits_and_what_runs(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        await self.submit(broker, 3, input=b"12345")
        await self.claim(broker)
        clock.advance(4)
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.processing) == (2, 1)
        assert stats.queued_bytes == 2 * new(input=b"12345").size
        assert (stats.oldest_queued_age, stats.oldest_processing_age) == (4, 4)
        assert stats.service_time is None

    async def test_the_stats_count_what_waits_by_priority(self, broker: Broker) -> None:
        for priority, count in zip(Priority, (2, 3, 4), strict=True):
            await self.submit(broker, count, priority=priority)
        await broker.submit(new(), keep=False)
        assert (await broker.stats())["m"].waiting == (3, 3, 4)
        await self.claim(broker)
        assert (await broker.stats())["m"].waiting == (2, 3, 4)

    async def test_the_stats_tell_what_pauses_and_that_it_has_waited_since_it_was_submitted(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        made = new(created=clock.wall(), options=Options(retries=1))
        await broker.submit(made, keep=True)
        clock.advance(4)
        (claimed,) = await self.claim(broker)
        clock.advance(3)
        await broker.finish([(claimed.claim, BAD)])
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.waiting, stats.paused, stats.refused) == (1, (0, 0, 0), 1, 0)
        assert stats.oldest_queued_age == pytest.approx(7)
        clock.advance(1)
        await broker.enforce_clocks()
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.waiting, stats.paused) == (1, (0, 1, 0), 0)
        assert stats.oldest_queued_age == pytest.approx(8)

    async def test_what_pauses_is_counted_no_more_once_it_is_canceled(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        made = new(created=clock.wall(), options=Options(retries=1))
        await broker.submit(made, keep=True)
        (claimed,) = await self.claim(broker)
        await broker.finish([(claimed.claim, BAD)])
        await broker.cancel(made.id)
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.paused, stats.oldest_queued_age) == (0, 0, 0)

    async def test_the_stats_come_down_to_nothing_when_all_is_done(self, broker: Broker) -> None:
        (canceled, *_) = await self.submit(broker, 5)
        await broker.cancel(canceled.id)
        for claimed in await self.claim(broker, 5):
            await broker.finish([(claimed.claim, GOOD)])
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.queued_bytes, stats.processing) == (0, 0, 0)

    async def test_the_service_time_follows_the_runs(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        for _ in range(30):
            claimed = await self.running(broker)
            clock.advance(10)
            await broker.finish([(claimed.claim, GOOD)])
        assert (await broker.stats())["m"].service_time == pytest.approx(10)
        for _ in range(30):
            claimed = await self.running(broker)
            clock.advance(2)
            await broker.finish([(claimed.claim, GOOD)])
        assert (await broker.stats())["m"].service_time == pytest.approx(2, abs=0.1)

    async def test_models_are_known_once_registered_the_first_being_the_default(
        self, broker: Broker
    ) -> None:
        for name in ("b", "a"):
            await broker.register_model(ModelInfo(name=name, description="", input_schema={}))
        newer = ModelInfo(name="b", description="newer", input_schema={"type": "string"})
        await broker.register_model(newer)
        models = await broker.models()
        assert list(models) == ["b", "a"]
        assert models["b"] == newer
        assert set(await broker.stats()) == {"a", "b"}

    async def test_workers_are_known_until_they_are_forgotten(self, broker: Broker) -> None:
        worker = WorkerInfo(id="w", host="h", pid=1, replicas={"m": ReplicaCounts(ready=2)})
        await broker.register_worker(worker)
        assert await broker.workers() == {"w": worker}
        busy = WorkerInfo(id="w", host="h", pid=1, replicas={})
        await broker.register_worker(busy)
        assert await broker.workers() == {"w": busy}
        await broker.forget_worker("w")
        assert await broker.workers() == {}

    async def test_a_worker_that_is_forgotten_keeps_its_claims(self, broker: Broker) -> None:
        await broker.register_worker(WorkerInfo(id="w", host="h", pid=1, replicas={}))
        claimed = await self.running(broker)
        await broker.forget_worker("w")
        assert await broker.renew("w", [claimed.claim]) == set()
        assert not await broker.finish([(claimed.claim, GOOD)])

    async def test_closing_tells_those_who_wait_and_refuses_what_comes(
        self, broker: Broker
    ) -> None:
        (prediction,) = await self.submit(broker)
        waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await self.submit(broker)
        await broker.aclose()

    async def test_the_guarantee_is_one_sentence(self, broker: Broker) -> None:
        guarantee = broker.guarantee()
        assert guarantee.endswith(".")
        assert guarantee.count(". ") == 0
