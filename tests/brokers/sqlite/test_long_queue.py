"""A long queue waits on the disk; memory holds a window of it."""

import asyncio
import threading
from contextlib import suppress

import pytest
from msgspec.structs import replace

from tests.brokers.sqlite.conftest import BAD, GOOD, Queue, drain, new, submit
from zypher.brokers.queue import resolve
from zypher.brokers.sqlite import SqliteBroker, journal
from zypher.brokers.sqlite.backlog import WINDOW, WINDOW_BYTES
from zypher.brokers.sqlite.records import Stored
from zypher.errors import Conflict, Unavailable
from zypher.prediction import Options, Prediction, Priority, Status

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


async def test_a_queue_longer_than_the_window_is_claimed_in_order(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3 * WINDOW)
        assert await drain(broker) == [p.id for p in submitted]


async def test_what_is_submitted_while_others_wait_on_the_disk_comes_after_them(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, WINDOW + 10)
        claimed = await broker.claim("w", "m", limit=WINDOW - 10, timeout=0)
        submitted += await submit(broker, 10)
        ids = [p.id for p in claimed] + await drain(broker)
        assert ids == [p.id for p in submitted]


async def test_memory_holds_no_more_of_a_long_queue_than_the_window(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 5 * WINDOW)
        assert len(broker._entries) <= WINDOW
        await broker.claim("w", "m", limit=WINDOW, timeout=0)
        await broker.claim("w", "m", limit=WINDOW, timeout=0)
        assert len(broker._entries) <= 2 * WINDOW + WINDOW
        assert (await broker.stats())["m"].queued == 5 * WINDOW - 2 * WINDOW + WINDOW // 2


async def test_suspects_that_fill_the_window_keep_nobody_behind_them_on_the_disk(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, WINDOW + 10)
        ran = await broker.claim("w", "m", limit=WINDOW, timeout=0)
        await submit(broker, 2 * WINDOW)
        await broker.crash([p.claim for p in ran], "was killed")
        claimed = []
        while group := await broker.claim("w", "m", limit=100, timeout=0, suspects=False):
            claimed += [p.id for p in group]
        assert claimed[:10] == [p.id for p in submitted[WINDOW:]]
        assert len(claimed) == 10 + 2 * WINDOW
        suspects = await broker.claim("w", "m", limit=WINDOW, timeout=0)
        assert [p.id for p in suspects] == [p.id for p in submitted[: WINDOW // 2]]


async def test_memory_holds_no_more_bytes_of_a_long_queue_than_the_window_has(
    queue: Queue,
) -> None:
    large = b'"' + b"x" * 1_000_000 + b'"'
    async with queue.opened() as broker:
        submitted = await submit(broker, 40, large)
        held = [entry.record.size for entry in broker._entries.values()]
        assert sum(held) <= WINDOW_BYTES + len(large)
        assert await drain(broker, limit=5) == [p.id for p in submitted]


async def test_one_input_larger_than_the_window_is_claimed(queue: Queue) -> None:
    huge = b'"' + b"x" * (WINDOW_BYTES + 1) + b'"'
    async with queue.opened() as broker:
        submitted = await submit(broker, 3, huge)
        assert await drain(broker) == [p.id for p in submitted]


async def test_a_high_priority_goes_ahead_of_a_long_queue(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2 * WINDOW)
        urgent = await broker.submit(new(priority=Priority.HIGH), keep=True)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        assert claimed.id == urgent.id


async def test_what_waits_on_the_disk_can_be_found_awaited_and_canceled(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 2 * WINDOW)
        last = submitted[-1]
        assert last.id not in broker._entries
        assert await broker.get(last.id) == last
        assert await broker.position(last.id) == 2 * WINDOW - 1
        waiting = asyncio.create_task(broker.wait(last.id, 10.0))
        canceled = await broker.cancel(last.id)
        assert canceled is not None
        assert await waiting == canceled
        assert canceled.status is Status.CANCELED
        assert await drain(broker) == [p.id for p in submitted[:-1]]


async def test_who_waits_for_what_is_on_the_disk_gets_its_outcome(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 2 * WINDOW)
        waiting = asyncio.create_task(broker.wait(submitted[-1].id, 10.0))
        await drain(broker)
        record = await waiting
        assert record is not None
        assert record.result == GOOD.result


async def test_a_prediction_that_becomes_kept_behind_a_long_queue_waits_its_turn(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        before = await submit(broker, WINDOW + 10)
        waited_for = await broker.submit(new(), keep=False)
        after = await submit(broker, 10)
        kept = await broker.keep(waited_for.id)
        assert kept is not None
        assert await drain(broker) == [p.id for p in [*before, waited_for, *after]]


async def test_canceled_predictions_behind_a_live_one_do_not_pile_up_in_memory(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        for prediction in await submit(broker, 500):
            await broker.cancel(prediction.id)
        assert broker._queues["m"].lanes.count(Priority.NORMAL) < 100


def ignored(_: object) -> None:
    """What the journal answers to a question that nobody has."""


async def a_busy_turn(broker: SqliteBroker) -> None:
    """What is decided so far is handed over, and answered all at once."""
    for _ in range(3):
        await asyncio.sleep(0)
    answered = threading.Event()
    broker._journal.call(lambda _: answered.set(), ignored, ignored, follows=True)
    broker._journal._hand_over()
    assert answered.wait(PATIENCE)  # the loop is busy with that


async def test_a_prediction_kept_while_the_queue_is_read_from_the_disk_keeps_its_place(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        before = await submit(broker, WINDOW)
        waited_for = await broker.submit(new(), keep=False)
        after = await submit(broker, WINDOW)
        keeping = asyncio.create_task(broker.keep(waited_for.id))
        claiming = asyncio.create_task(broker.claim("w", "m", limit=WINDOW - 1, timeout=0))
        await a_busy_turn(broker)
        await keeping
        ids = [p.id for p in await claiming]
        ids += await drain(broker)
        assert sorted(ids) == sorted(p.id for p in [*before, waited_for, *after])
        assert (await broker.stats())["m"].queued == 0


async def test_a_prediction_canceled_while_it_is_read_from_the_disk_is_not_run(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 2 * WINDOW)
        victim = submitted[WINDOW + 1]
        canceling = asyncio.create_task(broker.cancel(victim.id))
        while victim.id not in broker._entries:
            await asyncio.sleep(0)
        claiming = asyncio.create_task(broker.claim("w", "m", limit=WINDOW - 1, timeout=0))
        await a_busy_turn(broker)
        await canceling
        ids = [p.id for p in await claiming]
        ids += await drain(broker)
        assert ids == [p.id for p in submitted if p is not victim]
        assert (await broker.stats())["m"].queued == 0


async def test_claims_that_wait_for_the_disk_end_when_the_broker_closes(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2 * WINDOW)

        async def work() -> None:
            with suppress(Unavailable):
                while await broker.claim("w", "m", limit=300, timeout=60):
                    pass

        workers = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        await broker.aclose()
        async with asyncio.timeout(10.0):
            await asyncio.gather(*workers)


async def test_a_cancel_that_meets_its_submit_behind_a_long_queue_leaves_true_counts(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        ahead = await submit(broker, WINDOW + 5)
        prediction = new()
        submitting = broker.submit(prediction, keep=True)
        _, canceled = await asyncio.gather(submitting, broker.cancel(prediction.id))
        assert (await broker.stats())["m"].queued == len(ahead) + (canceled is None)
        assert (prediction.id in await drain(broker)) is (canceled is None)
        assert (await broker.stats())["m"].queued == 0


async def test_a_high_caller_who_becomes_kept_behind_a_long_queue_meets_itself_in_its_lane(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        high = [new(priority=Priority.HIGH) for _ in range(WINDOW + 10)]
        await asyncio.gather(*(broker.submit(prediction, keep=True) for prediction in high))
        caller = await broker.submit(new(priority=Priority.HIGH), keep=False)
        await broker.keep(caller.id)
        assert await drain(broker) == [*(p.id for p in high), caller.id]


def limited(queue: Queue, seconds: float) -> Prediction:
    """A prediction that has to be started within so many seconds from now."""
    options = Options(queue_timeout=seconds)
    return replace(new(), created=queue.clock.wall(), options=options)


async def test_what_is_in_memory_and_late_by_the_wall_alone_does_not_hold_up_the_clocks(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        for _ in range(150):
            await broker.submit(limited(queue, 60), keep=True)
    async with queue.opened() as broker:
        queue.clock.jump(100)
        async with asyncio.timeout(PATIENCE):
            assert await broker.enforce_clocks() == 0
        queue.clock.advance(60)
        assert await broker.enforce_clocks() == 150


async def test_a_clock_that_goes_to_the_disk_while_others_are_looked_up_is_not_forgotten(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2 * WINDOW)
        await broker.submit(limited(queue, 10), keep=True)
        queue.clock.advance(10)
        late = limited(queue, 10)
        enforcing = asyncio.create_task(broker.enforce_clocks())
        submitting = asyncio.create_task(broker.submit(late, keep=True))
        await a_busy_turn(broker)
        assert await enforcing == 1
        await submitting
        queue.clock.advance(10)
        assert await broker.enforce_clocks() == 1


async def test_a_caller_who_stops_waiting_while_its_retry_is_written_takes_nobody_along(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, WINDOW + 1)
        waited_for = await broker.submit(
            replace(new(), options=Options(retries=1)), keep=True, waits=True
        )
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        async with asyncio.timeout(PATIENCE):
            _, kept = await asyncio.gather(
                broker.finish([(claimed.claim, BAD)]), broker.keep(waited_for.id)
            )
        assert kept is not None
        queue.clock.advance(1)
        await broker.enforce_clocks()
        ids = await drain(broker)
        assert sorted(ids) == sorted(p.id for p in [waited_for, *submitted])
        assert (await broker.stats())["m"].queued == 0


async def test_of_two_who_cancel_what_waits_on_the_disk_the_second_is_told_so(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue.opened() as broker:
        victim = (await submit(broker, WINDOW + 1))[-1]
        second: list[asyncio.Task[Prediction | None]] = []
        busy: list[asyncio.Task[None]] = []

        def meanwhile(future: asyncio.Future[Stored], answer: Stored) -> bool:
            if not second:  # the first has found it, and will take it up in the next turn
                second.append(asyncio.create_task(broker.cancel(victim.id)))
                busy.append(asyncio.create_task(a_busy_turn(broker)))
            return resolve(future, answer)

        canceling = asyncio.create_task(broker.cancel(victim.id))
        monkeypatch.setattr(journal, "resolve", meanwhile)
        await canceling
        with pytest.raises(Conflict):
            await second[0]
        await busy[0]
        assert (await broker.stats())["m"].queued == WINDOW
        record = await broker.get(victim.id)
        assert record is not None
        assert record.status is Status.CANCELED


async def test_a_pause_that_is_over_while_its_prediction_becomes_kept_leaves_true_counts(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, WINDOW + 1)
        waited_for = await broker.submit(replace(new(), options=Options(retries=1)), keep=False)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        await broker.finish([(claimed.claim, BAD)])
        queue.clock.advance(1)
        keeping = asyncio.create_task(broker.keep(waited_for.id))
        await asyncio.sleep(0)
        await broker.enforce_clocks()
        await keeping
        ids = await drain(broker)
        assert sorted(ids) == sorted(p.id for p in [waited_for, *submitted])
        assert (await broker.stats())["m"].queued == 0
        assert not broker.degraded()
