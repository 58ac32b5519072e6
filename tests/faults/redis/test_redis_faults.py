"""What is promised of many servers and workers over one Redis, each with the fault against it."""

from pathlib import Path

import pytest

from tests.faults.catalogue import Fault
from tests.faults.redis import cancels, claims, failover, memory, network, outages, rolling, workers
from tests.faults.report import Size

pytestmark = pytest.mark.anyio


async def violations(fault: Fault, directory: Path) -> list[str]:
    """What a fault found at small size."""
    return (await fault(Size.SMALL, directory)).violations


async def test_work_of_a_killed_worker_is_taken_over_after_its_lease(tmp_path: Path) -> None:
    assert await violations(workers.killed_workers, tmp_path) == []


async def test_a_worker_that_stood_still_too_long_is_refused_what_it_had_finished(
    tmp_path: Path,
) -> None:
    assert await violations(workers.frozen_workers, tmp_path) == []


async def test_a_rolling_restart_fails_no_request_loses_nothing_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    assert await violations(rolling.rolling_restarts, tmp_path) == []


async def test_a_run_that_holds_the_interpreter_for_many_leases_runs_once(tmp_path: Path) -> None:
    assert await violations(workers.held_interpreter, tmp_path) == []


async def test_what_got_a_202_survives_a_kill_of_redis(tmp_path: Path) -> None:
    assert await violations(outages.killed_redis, tmp_path) == []


async def test_a_power_cut_loses_what_redis_had_not_flushed_and_nothing_else(
    tmp_path: Path,
) -> None:
    assert await violations(outages.power_cut_everysec, tmp_path) == []


async def test_while_redis_is_away_submits_are_refused_and_nobody_frets(tmp_path: Path) -> None:
    assert await violations(outages.away, tmp_path) == []


async def test_when_redis_was_emptied_who_waits_is_answered_and_work_goes_on(
    tmp_path: Path,
) -> None:
    assert await violations(outages.flushed, tmp_path) == []


async def test_no_break_of_the_network_loses_or_mixes_up_anything(tmp_path: Path) -> None:
    assert await violations(network.partitions, tmp_path) == []


async def test_who_waits_is_answered_soon_although_all_news_are_lost(tmp_path: Path) -> None:
    assert await violations(network.deaf, tmp_path) == []


async def test_work_goes_on_after_a_failover_and_nothing_ends_twice(tmp_path: Path) -> None:
    assert await violations(failover.failover, tmp_path) == []


async def test_a_full_queue_refuses_and_loses_nothing(tmp_path: Path) -> None:
    assert await violations(memory.overload, tmp_path) == []


async def test_what_runs_can_end_when_redis_has_no_memory_left(tmp_path: Path) -> None:
    assert await violations(memory.full_memory, tmp_path) == []


async def test_a_cancel_at_any_moment_stops_the_run_or_comes_too_late_and_never_both(
    tmp_path: Path,
) -> None:
    assert await violations(cancels.cancels, tmp_path) == []


async def test_an_entry_or_an_outcome_that_comes_again_changes_nothing(tmp_path: Path) -> None:
    assert await violations(claims.duplicates, tmp_path) == []


async def test_a_clock_that_is_set_by_an_hour_ends_no_claim(tmp_path: Path) -> None:
    assert await violations(claims.clock_jumps, tmp_path) == []
