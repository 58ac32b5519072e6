"""A disk that fails: nothing accepted is lost, nothing new is accepted, nobody is lied to."""

import asyncio
import threading

import pytest

from tests.brokers.sqlite.conftest import (
    GOOD,
    LIMITS,
    Queue,
    drain,
    failing_disk,
    new,
    submit,
)
from zypher.brokers.sqlite import SqliteBroker
from zypher.brokers.sqlite.backlog import WINDOW
from zypher.brokers.sqlite.store import Store
from zypher.errors import Conflict, Unavailable
from zypher.prediction import Priority, Status

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


async def recovered(broker: SqliteBroker) -> None:
    """Wait until a new prediction is accepted again; it is taken out at once."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                probe = await broker.submit(new(model="probe"), keep=True)
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                await broker.cancel(probe.id)
                return


async def test_a_prediction_that_cannot_be_written_is_refused_and_never_runs(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = new()
        with (
            failing_disk(),
            pytest.raises(Unavailable, match=r"cannot be written .*queue\.db|queue"),
        ):
            await broker.submit(prediction, keep=True)
        assert (await broker.stats())["m"].queued == 0
        await recovered(broker)
        assert await broker.get(prediction.id) is None
        assert not await drain(broker)


async def test_while_the_disk_fails_those_who_wait_are_served(queue: Queue) -> None:
    async with queue.opened() as broker:
        with failing_disk():
            with pytest.raises(Unavailable):
                await submit(broker, 1)
            (complaint,) = broker.degraded()
            assert "cannot be written" in complaint
            prediction = await broker.submit(new(), keep=False)
            waiting = asyncio.create_task(broker.wait(prediction.id, PATIENCE))
            assert await drain(broker) == [prediction.id]
            record = await waiting
            assert record is not None
            assert record.result == GOOD.result
        await recovered(broker)
        assert not broker.degraded()


async def test_an_outcome_that_cannot_be_written_is_held_and_shown_once_it_is(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        waiting = asyncio.create_task(broker.wait(claimed.id, PATIENCE))
        with failing_disk():
            assert not await broker.finish([(claimed.claim, GOOD)])
            assert await broker.get(claimed.id) == claimed
            assert await broker.finish([(claimed.claim, GOOD)]) == {claimed.claim}
        record = await waiting
        assert record is not None
        assert (record.status, record.result) == (Status.COMPLETED, GOOD.result)
    async with queue.opened() as broker:
        assert await broker.get(claimed.id) == record


async def test_what_waits_is_not_handed_out_while_its_claim_cannot_be_written(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
        with failing_disk():
            assert not await broker.claim("w", "m", limit=1, timeout=0)
            assert not await broker.claim("w", "m", limit=1, timeout=0)
            assert (await broker.stats())["m"].queued == 3
        await recovered(broker)
        assert await drain(broker) == [p.id for p in submitted]
        found = await broker.get(submitted[0].id)
        assert found is not None
        assert found.crashes == 0


async def test_a_long_queue_goes_on_in_order_after_the_disk_has_failed(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 2 * WINDOW)
        with failing_disk():
            assert not await broker.claim("w", "m", limit=WINDOW, timeout=0)
        await recovered(broker)
        assert await drain(broker, limit=300) == [p.id for p in submitted]


async def test_a_worker_that_waits_is_woken_when_the_disk_has_recovered(queue: Queue) -> None:
    async with queue.opened() as broker:
        (submitted,) = await submit(broker, 1)
        with failing_disk():
            assert not await broker.claim("w", "m", limit=1, timeout=0)
            claiming = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=PATIENCE))
            await asyncio.sleep(0)
        (claimed,) = await claiming
        assert claimed.id == submitted.id


async def test_what_cannot_be_kept_or_canceled_now_is_told_so(queue: Queue) -> None:
    async with queue.opened() as broker:
        (queued,) = await submit(broker, 1)
        waited_for = await broker.submit(new(), keep=False)
        with failing_disk():
            with pytest.raises(Unavailable):
                await broker.keep(waited_for.id)
            with pytest.raises(Unavailable):
                await broker.cancel(queued.id)
            assert (await broker.get(queued.id)) == queued


async def test_a_broker_closes_while_the_disk_fails_and_what_was_accepted_is_there_later(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 5)
        await broker.claim("w", "m", limit=2, timeout=0)
        with failing_disk():
            with pytest.raises(Unavailable):
                await submit(broker, 1)
            await broker.aclose()
    async with queue.opened() as broker:
        assert sorted(await drain(broker)) == sorted(p.id for p in submitted)


async def test_of_submits_of_one_id_none_is_accepted_that_was_not_written(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = new()
        with failing_disk():
            submits = (broker.submit(prediction, keep=True) for _ in range(3))
            answers = await asyncio.gather(*submits, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 3
        await recovered(broker)
        assert await broker.get(prediction.id) is None


async def test_of_two_who_keep_a_prediction_neither_is_told_so_before_it_is_written(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        prediction = await broker.submit(new(), keep=False)
        with failing_disk():
            keeps = (broker.keep(prediction.id) for _ in range(2))
            answers = await asyncio.gather(*keeps, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 2


async def test_a_submit_that_is_refused_cannot_be_canceled_meanwhile(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = new()
        with failing_disk():
            await asyncio.gather(
                broker.submit(prediction, keep=True),
                broker.cancel(prediction.id),
                return_exceptions=True,
            )
        await recovered(broker)
        assert (await broker.stats())["m"].queued == 0


async def test_a_start_on_a_disk_that_takes_nothing_serves_those_who_wait_until_it_does(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        high = await broker.submit(new(priority=Priority.HIGH), keep=True)
        submitted = await submit(broker, 3)
    with failing_disk():
        broker = SqliteBroker(queue.path, LIMITS, queue.clock)
        await broker.start()
        assert "cannot be written" in broker.degraded()[0]
        with pytest.raises(Unavailable):
            await broker.get(high.id)
        waited_for = [await broker.submit(new(), keep=False) for _ in range(3)]
        assert len(await broker.claim("w", "m", limit=1, timeout=0)) == 1
    try:
        await recovered(broker)
        rest = [p.id for p in waited_for[1:]]
        assert sorted(await drain(broker)) == sorted([*rest, high.id, *(p.id for p in submitted)])
        submitted = await submit(broker, 2)
        assert await drain(broker) == [p.id for p in submitted]
    finally:
        await broker.aclose()


async def test_callers_are_served_although_the_window_of_a_long_queue_cannot_be_filled(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        waiting = await submit(broker, 2 * WINDOW)
        with failing_disk():
            with pytest.raises(Unavailable):
                await submit(broker, 1)
            callers = [await broker.submit(new(), keep=False) for _ in range(5)]
            assert await drain(broker, limit=1) == [caller.id for caller in callers]
        await recovered(broker)
        assert await drain(broker) == [p.id for p in waiting]


async def test_a_prediction_kept_as_the_disk_fails_waits_its_turn_behind_a_long_queue(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        before = await submit(broker, WINDOW + 10)
        kept = await broker.submit(new(), keep=False)
        after = await submit(broker, 300)
        with failing_disk(), pytest.raises(Unavailable, match="goes on"):
            await broker.keep(kept.id)
        await recovered(broker)
        assert await drain(broker, limit=20) == [p.id for p in [*before, kept, *after]]


async def test_one_move_that_can_never_be_written_does_not_hold_up_those_that_wait_with_it(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2)
        gone, other = await broker.claim("w", "m", limit=2, timeout=0)
        assert broker._journal._store is not None
        broker._journal._store.erase(broker._entries[gone.id].place)  # behind the broker's back
        with failing_disk():
            await broker.finish([(other.claim, GOOD)])
            await broker.finish([(gone.claim, GOOD)])
        await recovered(broker)
        record = await broker.get(other.id)
        assert record is not None
        assert record.status is Status.COMPLETED


async def test_a_resubmit_of_an_expired_id_that_is_refused_is_not_accepted_later(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        caller = await broker.submit(new(), keep=False)
        await drain(broker)
        queue.clock.advance(LIMITS.ttl)
        with failing_disk(), pytest.raises(Unavailable):
            await broker.submit(caller, keep=True)
        await recovered(broker)
        assert not await drain(broker)


async def test_what_waits_does_not_look_younger_while_the_disk_fails(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 3)
        queue.clock.advance(500)
        with failing_disk():
            with pytest.raises(Unavailable):
                await submit(broker, 1)
            assert (await broker.stats())["m"].oldest_queued_age == 500


async def test_a_log_that_cannot_be_looked_at_is_a_failing_disk(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue.opened() as broker:
        with monkeypatch.context() as patched:
            patched.setattr(Store, "rest", denied)
            async with asyncio.timeout(PATIENCE):
                while not broker.degraded():
                    await asyncio.sleep(0.01)
        await recovered(broker)
        assert not broker.degraded()


def denied(_: Store) -> None:
    raise PermissionError("permission denied")


async def test_a_claim_that_takes_longer_to_write_than_the_lease_is_no_crash(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        go_on = threading.Event()
        broker._journal.call(lambda _: go_on.wait(PATIENCE), lambda _: None, print)
        claiming = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=0))
        await asyncio.sleep(0)
        queue.clock.advance(LIMITS.lease + 1)
        assert await broker.reclaim() == 0
        go_on.set()
        (claimed,) = await claiming
        assert await broker.reclaim() == 0
        assert not await broker.finish([(claimed.claim, GOOD)])


async def test_nobody_is_told_that_a_prediction_has_ended_before_that_is_written(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        with failing_disk():
            verbs = [broker.cancel(claimed.id), broker.delete(claimed.id)]
            finishing = asyncio.create_task(broker.finish([(claimed.claim, GOOD)]))
            told = await asyncio.gather(*verbs, return_exceptions=True)
            assert [type(error) for error in told] == [Unavailable, Unavailable]
            await finishing
        await recovered(broker)
        with pytest.raises(Conflict):
            await broker.cancel(claimed.id)
