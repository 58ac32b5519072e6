"""Owners: what is whose, and how much of one owner may wait."""

from collections.abc import Awaitable, Callable

import pytest

from zypher.brokers.base import Broker, Limits
from zypher.errors import QueueFull
from zypher.prediction import Claim, Options, Prediction, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import BAD, GOOD, LIMITS, BrokerTests, new
from zypher.testing.contract.keys import keyed

MOST = 3
BOUND = Limits(max_queued=100, max_queued_of={"ann": MOST}, lease=30.0)


async def cancel(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.cancel(claim.id)


async def time_out(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    clock.advance(10)
    await broker.enforce_clocks()


async def finish(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.finish([(claim, GOOD)])


async def retry(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.finish([(claim, BAD)])


async def release(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.release([claim])


async def crash(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.crash([claim], "was killed")


async def lose(broker: Broker, claim: Claim, clock: ManualClock) -> None:
    await broker.reclaim()  # from here on its lease is seen
    clock.advance(BOUND.lease)
    await broker.reclaim()


Step = Callable[[Broker, Claim, ManualClock], Awaitable[None]]


class Owners(BrokerTests):
    """Owners: what is whose, and how much of one owner may wait."""

    async def ids_of(self, broker: Broker, owner: str) -> list[str]:
        return [record.id for record in (await broker.list(owner=owner)).predictions]

    async def test_an_owner_lists_their_own_predictions_page_by_page(self, broker: Broker) -> None:
        mine: list[Prediction] = []
        for _ in range(5):
            mine += await self.submit(broker, owner="ann")
            await self.submit(broker, owner="bob")
            await self.submit(broker)
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page = await broker.list(owner="ann", limit=2, cursor=cursor)
            seen += [record.id for record in page.predictions]
            cursor = page.cursor
            await self.submit(broker, owner="ann")
            await self.submit(broker, owner="bob")
        assert seen == [record.id for record in reversed(mine)]
        assert cursor is None

    async def test_an_owners_list_can_be_filtered_as_that_of_all(self, broker: Broker) -> None:
        await self.submit(broker, owner="bob")
        await self.submit(broker, 2, owner="ann")
        (other,) = await self.submit(broker, owner="ann", model="other")
        await self.claim(broker, 2)
        page = await broker.list(owner="ann", status=Status.PROCESSING)
        assert len(page.predictions) == 1
        page = await broker.list(owner="ann", model="other")
        assert [record.id for record in page.predictions] == [other.id]

    async def test_a_cursor_of_one_owner_shows_another_their_own(self, broker: Broker) -> None:
        (theirs,) = await self.submit(broker, owner="bob")
        await self.submit(broker, 3, owner="ann")
        cursor = (await broker.list(owner="ann", limit=2)).cursor
        page = await broker.list(owner="bob", cursor=cursor)
        assert [record.id for record in page.predictions] == [theirs.id]

    async def test_what_is_kept_later_is_listed_for_its_owner(self, broker: Broker) -> None:
        prediction = await broker.submit(new(owner="ann"), keep=False)
        assert not await self.ids_of(broker, "ann")
        await broker.keep(prediction.id)
        assert await self.ids_of(broker, "ann") == [prediction.id]

    async def test_what_is_deleted_or_has_expired_is_listed_no_more(
        self, broker: Broker, clock: ManualClock
    ) -> None:
        deleted, expired, stays = await self.submit(broker, 3, owner="ann")
        await broker.cancel(deleted.id)
        await broker.delete(deleted.id)
        await broker.cancel(expired.id)
        clock.advance(LIMITS.ttl)
        assert await self.ids_of(broker, "ann") == [stays.id]
        await broker.purge()
        assert await self.ids_of(broker, "ann") == [stays.id]

    async def test_an_owner_whose_share_waits_is_refused_and_nobody_else(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(BOUND, clock) as broker:
            await self.submit(broker, MOST - 1, owner="ann")
            await broker.submit(new(owner="ann", model="other"), keep=False)
            for keep in (True, False):
                with pytest.raises(QueueFull, match=r"key 'ann' .* max-queued \(3\)"):
                    await broker.submit(new(owner="ann"), keep=keep)
            await self.submit(broker, MOST + 1, owner="bob")
            await self.submit(broker, MOST + 1)

    async def test_what_is_known_is_not_refused_to_an_owner_whose_share_waits(
        self, clock: ManualClock
    ) -> None:
        async with self.opened(BOUND, clock) as broker:
            first = await broker.submit(keyed(owner="ann"), keep=True)
            await self.submit(broker, MOST - 1, owner="ann")
            assert await broker.submit(first, keep=True) == first
            assert await broker.submit(keyed(owner="ann"), keep=True) == first

    @pytest.mark.parametrize("step", [finish, cancel, time_out])
    async def test_what_runs_or_has_ended_does_not_count(
        self, step: Step, clock: ManualClock
    ) -> None:
        async with self.opened(BOUND, clock) as broker:
            limited = Options(run_timeout=5)
            await self.submit(broker, MOST, owner="ann", options=limited)
            (claimed,) = await self.claim(broker)
            await self.require_room(broker, 1)
            await step(broker, claimed.claim, clock)
            await self.require_room(broker, 0)

    @pytest.mark.parametrize("step", [release, crash, lose, retry])
    async def test_what_waits_once_more_counts_again(self, step: Step, clock: ManualClock) -> None:
        async with self.opened(BOUND, clock) as broker:
            await self.submit(broker, MOST, owner="ann", options=Options(retries=1))
            (claimed,) = await self.claim(broker)
            await step(broker, claimed.claim, clock)
            await self.require_room(broker, 0)

    @pytest.mark.parametrize("step", [cancel, time_out])
    async def test_what_ends_while_it_waits_leaves_its_place(
        self, step: Step, clock: ManualClock
    ) -> None:
        async with self.opened(BOUND, clock) as broker:
            await self.submit(broker, MOST - 1, owner="ann")
            limited = Options(queue_timeout=5)
            (prediction,) = await self.submit(
                broker, owner="ann", created=clock.wall(), options=limited
            )
            await step(broker, prediction.claim, clock)
            await self.require_room(broker, 1)

    async def require_room(self, broker: Broker, count: int) -> None:
        """So many more of the owner are taken, and then no more."""
        await self.submit(broker, count, owner="ann")
        with pytest.raises(QueueFull):
            await self.submit(broker, owner="ann")
