"""What a restart finds: nothing accepted is lost, nothing finished is run again."""

import asyncio
import resource
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.brokers.sqlite.conftest import GOOD, LIMITS, Queue, drain, new, submit
from zypher.brokers import Limits
from zypher.brokers.queue import Entry, Move
from zypher.brokers.sqlite import SqliteBroker, store
from zypher.brokers.sqlite.backlog import WINDOW
from zypher.brokers.sqlite.opening import Script, looking_into, migrate, schema, value
from zypher.brokers.sqlite.store import Store
from zypher.errors import ConfigurationError, QueueFull
from zypher.prediction import Status

pytestmark = pytest.mark.anyio


async def test_what_waited_is_claimed_in_its_order_after_a_restart(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 2 * WINDOW)
    async with queue.opened() as broker:
        stats = (await broker.stats())["m"]
        assert (stats.queued, stats.queued_bytes) == (2 * WINDOW, 2 * WINDOW * submitted[0].size)
        assert await drain(broker) == [p.id for p in submitted]


async def test_what_is_submitted_after_a_restart_comes_after_what_waited(queue: Queue) -> None:
    async with queue.opened() as broker:
        submitted = await submit(broker, 3)
    async with queue.opened() as broker:
        submitted += await submit(broker, 3)
        assert await drain(broker) == [p.id for p in submitted]


async def test_what_waits_and_what_ran_of_an_owner_counts_after_a_restart(queue: Queue) -> None:
    bound = Limits(max_queued_of={"ann": 3})
    async with queue.opened(bound) as broker:
        for _ in range(3):
            await broker.submit(replace(new(), owner="ann"), keep=True)
        await broker.claim("w", "m", limit=1, timeout=0)
    async with queue.opened(bound) as broker:
        with pytest.raises(QueueFull):
            await broker.submit(replace(new(), owner="ann"), keep=True)
        await drain(broker)
        await broker.submit(replace(new(), owner="ann"), keep=True)
        assert len((await broker.list(owner="ann")).predictions) == 4


async def test_a_file_from_before_there_were_owners_is_brought_up_to_date(queue: Queue) -> None:
    with closing(sqlite3.connect(queue.path, isolation_level=None)) as file:
        migrate(file, schema()[:1])
    async with queue.opened() as broker:
        await submit(broker, 1)
        prediction = await broker.submit(replace(new(), owner="ann"), keep=True)
        (listed,) = (await broker.list(owner="ann")).predictions
        assert listed.id == prediction.id


async def test_what_has_ended_is_known_after_a_restart_and_not_run_again(queue: Queue) -> None:
    async with queue.opened() as broker:
        (submitted,) = await submit(broker, 1)
        await drain(broker)
        before = await broker.get(submitted.id)
    async with queue.opened() as broker:
        assert await broker.get(submitted.id) == before
        assert await broker.wait(submitted.id, 10.0) == before
        assert not await drain(broker)


async def test_what_ran_alone_is_queued_again_with_a_crash_counted(queue: Queue) -> None:
    async with queue.opened() as broker:
        first, second = await submit(broker, 2)
        await broker.claim("w", "m", limit=1, timeout=0)
    async with queue.opened() as broker:
        again = await broker.claim("w", "m", limit=1, timeout=0)
        assert [(p.id, p.attempt, p.crashes) for p in again] == [(first.id, 2, 1)]
        (other,) = await broker.claim("w", "m", limit=1, timeout=0)
        assert (other.id, other.attempt, other.crashes) == (second.id, 1, 0)


async def test_an_input_that_ends_the_server_again_and_again_fails_at_last(queue: Queue) -> None:
    for _ in range(LIMITS.max_crashes):
        async with queue.opened() as broker:
            if not (await broker.list()).predictions:
                await submit(broker, 1)
            assert await broker.claim("w", "m", limit=1, timeout=0)
    async with queue.opened() as broker:
        (failed,) = (await broker.list()).predictions
        assert failed.failure is not None
        assert (failed.status, failed.failure.code) == (Status.FAILED, "model_crashed")
        assert failed.expires == queue.clock.wall() + LIMITS.ttl
        assert not await drain(broker)


async def test_those_who_ran_together_when_the_server_died_are_suspects_in_halves(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 8)
        await broker.claim("w", "m", limit=8, timeout=0)
    async with queue.opened() as broker:
        suspects = await broker.claim("w", "m", limit=8, timeout=0)
        assert [(p.company, p.crashes) for p in suspects] == [(4, 0)] * 4


async def test_one_who_ends_the_server_in_company_is_found_and_fails_alone(queue: Queue) -> None:
    async with queue.opened() as broker:
        ids = [p.id for p in await submit(broker, 8)]
    deaths = 0
    poison, unfinished = ids[5], set(ids)
    while poison in unfinished and deaths < 20:
        async with queue.opened() as broker:
            while group := await broker.claim("w", "m", limit=8, timeout=0):
                if poison in [p.id for p in group]:
                    deaths += 1
                    break
                await broker.finish([(p.claim, GOOD) for p in group])
                unfinished -= {p.id for p in group}
            else:
                unfinished.discard(poison)
    async with queue.opened() as broker:
        records = [await broker.get(id) for id in ids]
        failed = [r.id for r in records if r and r.status is Status.FAILED]
        assert failed == [poison]
        assert len([r for r in records if r and r.status is Status.COMPLETED]) == 7


async def test_an_outcome_of_before_the_restart_is_refused(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        (stale,) = await broker.claim("w", "m", limit=1, timeout=0)
    async with queue.opened() as broker:
        (current,) = await broker.claim("w", "m", limit=1, timeout=0)
        assert current.attempt > stale.attempt
        assert await broker.finish([(stale.claim, GOOD)]) == {stale.claim}
        assert not await broker.finish([(current.claim, GOOD)])


async def test_a_synchronous_prediction_touches_no_disk(queue: Queue) -> None:
    async with queue.opened() as broker:
        size = queue.wal.stat().st_size
        changed = queue.path.stat().st_mtime_ns
        for _ in range(20):
            prediction = await broker.submit(new(), keep=False)
            waiting = asyncio.create_task(broker.wait(prediction.id, 10.0))
            assert await drain(broker) == [prediction.id]
            assert await waiting is not None
        assert (queue.wal.stat().st_size, queue.path.stat().st_mtime_ns) == (size, changed)


async def test_a_caller_who_waited_and_then_kept_finds_the_outcome_after_a_restart(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        prediction = await broker.submit(new(), keep=False)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=0)
        await broker.keep(prediction.id)
        await broker.finish([(claimed.claim, GOOD)])
    async with queue.opened() as broker:
        found = await broker.get(prediction.id)
        assert found is not None
        assert (found.status, found.result) == (Status.COMPLETED, GOOD.result)


async def test_an_id_that_is_on_the_disk_is_known_to_a_repeated_submit(queue: Queue) -> None:
    async with queue.opened() as broker:
        (submitted,) = await submit(broker, 1)
        await drain(broker)
        ended = await broker.get(submitted.id)
    async with queue.opened() as broker:
        assert await broker.submit(submitted, keep=True) == ended
        assert not await drain(broker)
        assert (await broker.stats())["m"].queued == 0


async def test_repeated_submits_at_once_of_an_id_on_the_disk_leave_it_in_the_queue(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        (submitted,) = await submit(broker, 1)
    async with queue.opened() as broker:
        again = await asyncio.gather(*(broker.submit(submitted, keep=True) for _ in range(3)))
        assert again == [submitted] * 3
        assert await drain(broker) == [submitted.id]
        assert (await broker.stats())["m"].queued == 0


async def test_submitting_an_id_twice_at_once_queues_it_once(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = new()
        both = await asyncio.gather(*(broker.submit(prediction, keep=True) for _ in range(2)))
        assert both == [prediction] * 2
        assert await drain(broker) == [prediction.id]


async def test_a_submit_or_claim_that_is_cancelled_loses_nothing(queue: Queue) -> None:
    async with queue.opened() as broker:
        prediction = new()
        submitting = asyncio.create_task(broker.submit(prediction, keep=True))
        await asyncio.sleep(0)
        submitting.cancel()
        await asyncio.gather(submitting, return_exceptions=True)
        assert await broker.submit(prediction, keep=True) == prediction
        claiming = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=0))
        await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.gather(claiming, return_exceptions=True)
        (claimed,) = await broker.claim("w", "m", limit=1, timeout=10.0)
        assert (claimed.id, claimed.attempt, claimed.crashes) == (prediction.id, 2, 0)


async def test_what_is_canceled_while_its_claim_is_written_is_handed_to_nobody(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        submitted = await broker.submit(new(), keep=True)
        claiming = asyncio.create_task(broker.claim("w", "m", limit=1, timeout=0))
        await asyncio.sleep(0)
        await broker.cancel(submitted.id)
        assert not await claiming


async def test_what_has_expired_is_purged_and_its_room_given_back(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 2_000, b'"' + b"x" * 2_000 + b'"')
        await drain(broker)
        queue.clock.advance(LIMITS.ttl)
        assert await broker.purge() == 2_000
        assert not (await broker.list()).predictions
    assert queue.path.stat().st_size < 1_000_000


async def test_a_queue_is_read_by_its_owner_alone(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        for path in (queue.path, queue.wal):
            assert path.stat().st_mode & 0o077 == 0


# The file itself.


async def test_a_second_broker_on_the_same_file_is_refused_until_the_first_has_closed(
    queue: Queue,
) -> None:
    async with queue.opened():
        second = SqliteBroker(queue.path, LIMITS, queue.clock)
        with pytest.raises(ConfigurationError, match=r"in use by process \d+"):
            await second.start()
        await second.aclose()
    async with queue.opened():
        pass


async def test_nobody_else_can_read_or_write_a_file_in_use(queue: Queue) -> None:
    async with queue.opened() as broker:
        await submit(broker, 1)
        other = sqlite3.connect(queue.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("SELECT count(*) FROM prediction")
        other.close()
        await submit(broker, 1)


async def test_the_database_of_another_program_is_refused_and_left_alone(queue: Queue) -> None:
    other = sqlite3.connect(queue.path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = queue.path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program"):
        async with queue.opened():
            pass
    assert queue.path.read_bytes() == before


async def test_a_file_from_a_newer_version_is_refused(queue: Queue) -> None:
    async with queue.opened():
        pass
    file = sqlite3.connect(queue.path)
    file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        async with queue.opened():
            pass


async def test_a_first_start_that_is_cut_off_leaves_room_for_the_next(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(connection: sqlite3.Connection, scripts: Sequence[Script]) -> None:
        migrate(connection, [(1, "CREATE TABLE prediction (a)")])
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(store, "migrate", cut_off)
        async with queue.opened() as broker:
            assert broker.degraded()
    async with queue.opened() as broker:
        assert not broker.degraded()
        await submit(broker, 1)


def test_an_older_file_is_brought_up_to_date_by_the_scripts_that_it_has_not_seen(
    tmp_path: Path,
) -> None:
    file = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrate(file, schema())
    (newest, _) = schema()[-1]
    newer = [*schema(), (newest + 1, "ALTER TABLE file ADD COLUMN more INTEGER")]
    for _ in range(2):
        migrate(file, newer)
    assert file.execute("PRAGMA user_version").fetchone() == (newest + 1,)
    assert file.execute("SELECT boots, more FROM file").fetchone() == (0, None)
    file.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrate(file, schema())
    (newest, _) = schema()[-1]
    broken = "ALTER TABLE file ADD COLUMN more INTEGER; SELECT nonsense;"
    with pytest.raises(sqlite3.OperationalError):
        migrate(file, [*schema(), (newest + 1, broken)])
    file.rollback()
    assert file.execute("PRAGMA user_version").fetchone() == (newest,)
    assert len(file.execute("SELECT * FROM file").fetchone()) == 4
    file.close()


async def test_a_stop_in_order_on_a_full_disk_is_one(queue: Queue) -> None:
    async with queue.opened():
        pass
    opened = store.Store(queue.path)
    accepted = [new() for _ in range(50)]
    for place, record in enumerate(accepted, start=1):  # the log gets longer than the file
        entry = Entry(record, record, place=place, kept=True, waits=False, since=0.0)
        opened.write([Move(entry, None, record)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (queue.wal.stat().st_size, hard))  # it cannot grow
    try:
        opened.close(clean=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with queue.opened() as broker:
        assert not [*broker.degraded()]
        assert await drain(broker) == [record.id for record in accepted]


async def rest(broker: SqliteBroker) -> None:
    """What the journal does when it has nothing else to do for a while."""
    await broker._journal.ask(Store.rest, follows=True)


async def test_a_queue_that_rests_has_all_of_it_in_its_file_and_writes_over_its_log(
    queue: Queue, tmp_path: Path
) -> None:
    async with queue.opened() as broker:
        await submit(broker, 500)
        size = queue.wal.stat().st_size
        await rest(broker)
        shutil.copy(queue.path, tmp_path / "copy.db")
        with looking_into(tmp_path / "copy.db") as file:
            assert value(file, "SELECT count(*) FROM prediction") == 500
        await submit(broker, 100)
        assert queue.wal.stat().st_size == size


async def test_a_log_that_is_longer_than_usual_is_given_back_when_its_queue_rests(
    queue: Queue,
) -> None:
    async with queue.opened() as broker:
        await broker.submit(new(b'"' + b"x" * 25_000_000 + b'"'), keep=True)
        assert queue.wal.stat().st_size > 25_000_000
        await rest(broker)
        assert not queue.wal.stat().st_size
