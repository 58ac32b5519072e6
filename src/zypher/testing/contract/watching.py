"""Watching: what a run tells while it runs, in order, and only what belongs to it."""

import asyncio

import pytest

from zypher.brokers.base import Broker, Event, News, Seen
from zypher.errors import Unavailable
from zypher.prediction import Claim, Status, new_id
from zypher.testing.contract.base import GOOD, PATIENCE, BrokerTests, new

NOTHING = Seen()


def progress(number: int) -> Event:
    """An event that can be told from others."""
    return Event("progress", str(number).encode())


class Watching(BrokerTests):
    """Watching: what a run tells while it runs, in order, and only what belongs to it."""

    async def watch(self, broker: Broker, id: str, seen: Seen = NOTHING) -> News:
        """The news that there are now, or soon."""
        news = await broker.watch(id, seen, timeout=PATIENCE)
        assert news is not None
        return news

    async def test_an_unknown_prediction_has_no_news(self, broker: Broker) -> None:
        assert await broker.watch(new_id(), NOTHING, timeout=PATIENCE) is None

    async def test_a_new_watcher_sees_the_record_and_all_events_of_its_run(
        self, broker: Broker
    ) -> None:
        claimed = await self.running(broker)
        events = [progress(n) for n in (1, 2, 3)]
        await broker.publish([(claimed.claim, event) for event in events])
        news = await self.watch(broker, claimed.id)
        assert news == News(claimed, [(1, events[0]), (2, events[1]), (3, events[2])], False)

    async def test_no_other_id_leads_to_what_is_kept_for_one(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.publish([(claimed.claim, progress(1))])
        for id in (f"{claimed.id}:events", f"{claimed.id}:", f":{claimed.id}", ""):
            assert await broker.get(id) is None
            assert await broker.cancel(id) is None
            assert await broker.watch(id, NOTHING, timeout=0) is None
            assert not await broker.delete(id)

    async def test_a_watcher_sees_what_follows_on_what_they_have_seen(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.publish([(claimed.claim, progress(n)) for n in (1, 2)])
        seen = Seen(Status.PROCESSING, 1, sequence=1)
        assert (await self.watch(broker, claimed.id, seen)).events == [(2, progress(2))]

    async def test_a_watcher_is_woken_by_an_event(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        watching = asyncio.create_task(
            self.watch(broker, claimed.id, Seen(Status.PROCESSING, 1, 0))
        )
        await asyncio.sleep(0)
        await broker.publish([(claimed.claim, progress(1))])
        assert (await watching).events == [(1, progress(1))]

    async def test_a_watcher_is_woken_by_each_change_of_status(self, broker: Broker) -> None:
        (submitted,) = await self.submit(broker)
        seen = Seen(Status.QUEUED, 0, 0)

        async def next_status() -> Status:
            nonlocal seen
            record = (await self.watch(broker, submitted.id, seen)).record
            seen = Seen(record.status, record.attempt, 0)
            return record.status

        watching = asyncio.create_task(next_status())
        await asyncio.sleep(0)
        (claimed,) = await self.claim(broker)
        assert await watching is Status.PROCESSING
        watching = asyncio.create_task(next_status())
        await asyncio.sleep(0)
        await broker.release([claimed.claim])
        assert await watching is Status.QUEUED
        (again,) = await self.claim(broker)
        assert await next_status() is Status.PROCESSING
        watching = asyncio.create_task(next_status())
        await asyncio.sleep(0)
        await broker.finish([(again.claim, GOOD)])
        assert await watching is Status.COMPLETED

    async def test_a_watch_without_news_ends_with_its_time(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        news = await broker.watch(claimed.id, Seen(Status.PROCESSING, 1, 0), timeout=0.01)
        assert news == News(claimed, [], False)

    async def test_the_last_events_of_a_run_can_be_read_after_its_end(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.publish([(claimed.claim, progress(1))])
        await broker.finish([(claimed.claim, GOOD)])
        news = await self.watch(broker, claimed.id, Seen(Status.PROCESSING, 1, 0))
        assert news.record.status is Status.COMPLETED
        assert news.events == [(1, progress(1))]

    @pytest.mark.parametrize("others", [0, 1])
    async def test_all_who_watch_are_told_the_end_of_what_is_forgotten_with_it(
        self, broker: Broker, others: int
    ) -> None:
        prediction = new()
        await broker.submit(prediction, keep=False)
        (claimed,) = await self.claim(broker)
        waits = [broker.wait(prediction.id, PATIENCE) for _ in range(others)]
        seen = Seen(Status.PROCESSING, 1, 0)
        watches = [self.watch(broker, prediction.id, seen) for _ in range(2)]
        tasks = [asyncio.create_task(each) for each in [*waits, *watches]]
        await asyncio.sleep(0)
        await broker.finish([(claimed.claim, GOOD)])
        await broker.delete(prediction.id)
        for news in (await asyncio.gather(*tasks))[others:]:
            assert isinstance(news, News)
            assert news.record.status is Status.COMPLETED

    async def test_events_that_come_after_the_end_are_passed_over(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        await broker.cancel(claimed.id)
        await broker.publish([(claimed.claim, progress(1))])
        assert (await self.watch(broker, claimed.id)).events == []

    async def test_events_of_an_older_attempt_are_passed_over(self, broker: Broker) -> None:
        stale = await self.running(broker)
        await broker.release([stale.claim])
        (current,) = await self.claim(broker)
        await broker.publish([(current.claim, progress(2)), (stale.claim, progress(1))])
        assert (await self.watch(broker, current.id)).events == [(1, progress(2))]

    async def test_a_new_attempt_begins_a_new_log(self, broker: Broker) -> None:
        first = await self.running(broker)
        await broker.publish([(first.claim, progress(n)) for n in range(5)])
        await broker.release([first.claim])
        (second,) = await self.claim(broker)
        await broker.publish([(second.claim, progress(10))])
        news = await self.watch(broker, first.id, Seen(Status.PROCESSING, 1, 5))
        assert (news.record.attempt, news.events) == (2, [(1, progress(10))])

    async def test_a_log_is_bounded_and_says_when_a_part_is_gone(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        many = 100_000
        for start in range(0, many, 1_000):
            some = range(start + 1, start + 1_001)
            await broker.publish([(claimed.claim, progress(n)) for n in some])
        news = await self.watch(broker, claimed.id, Seen(Status.PROCESSING, 1, 1))
        assert news.has_gap
        assert len(news.events) < many
        assert news.events[-1] == (many, progress(many))

    async def test_events_of_the_unknown_are_passed_over(self, broker: Broker) -> None:
        id = new_id()
        await broker.publish([(Claim(id, 1), progress(1))])
        assert await broker.watch(id, NOTHING, timeout=0) is None

    async def test_a_watcher_is_told_when_the_broker_closes(self, broker: Broker) -> None:
        claimed = await self.running(broker)
        watching = asyncio.create_task(
            broker.watch(claimed.id, Seen(Status.PROCESSING, 1, 0), timeout=PATIENCE)
        )
        await asyncio.sleep(0)
        await broker.aclose()
        with pytest.raises(Unavailable):
            await watching
