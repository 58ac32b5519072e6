"""What is promised when something breaks, each promise with the fault that would break it."""

from pathlib import Path

import pytest

from tests.faults import (
    broken_disk,
    cancels,
    claims,
    damage,
    full_disk,
    hang_ups,
    neighbours,
    payloads,
    power,
    replicas,
    servers,
)
from tests.faults.catalogue import Fault
from tests.faults.report import Size

pytestmark = pytest.mark.anyio


async def violations(fault: Fault, directory: Path) -> list[str]:
    """What a fault found at small size."""
    return (await fault(Size.SMALL, directory)).violations


async def test_work_of_a_killed_replica_is_taken_over_and_none_is_lost(tmp_path: Path) -> None:
    assert await violations(replicas.killed_replicas, tmp_path) == []


async def test_a_kill_of_a_replica_charges_what_ran_and_not_what_waits_behind_it(
    tmp_path: Path,
) -> None:
    assert await violations(replicas.killed_between_runs, tmp_path) == []


async def test_what_got_a_202_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    assert await violations(servers.killed_servers, tmp_path) == []


async def test_a_restart_in_order_loses_nothing_and_charges_nothing(tmp_path: Path) -> None:
    assert await violations(servers.restarts, tmp_path) == []


async def test_what_got_a_202_survives_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    assert await violations(power.power_cuts, tmp_path) == []


async def test_a_full_disk_refuses_submits_and_nothing_else_until_it_has_room(
    tmp_path: Path,
) -> None:
    assert await violations(full_disk.full_disk, tmp_path) == []


async def test_what_got_a_202_survives_a_failing_disk(tmp_path: Path) -> None:
    assert await violations(broken_disk.broken_disk, tmp_path) == []


async def test_a_damaged_file_is_left_as_it_is_until_somebody_asks_to_salvage_it(
    tmp_path: Path,
) -> None:
    assert await violations(damage.damaged_files, tmp_path) == []


async def test_a_second_server_on_the_same_file_is_refused_by_the_pid_of_the_first(
    tmp_path: Path,
) -> None:
    assert await violations(neighbours.second_server, tmp_path) == []


async def test_poison_takes_none_of_its_neighbours_along(tmp_path: Path) -> None:
    assert await violations(replicas.poison, tmp_path) == []


async def test_a_run_that_holds_the_interpreter_for_many_leases_runs_once(tmp_path: Path) -> None:
    assert await violations(replicas.held_interpreter, tmp_path) == []


async def test_a_cancel_at_any_moment_stops_the_run_or_comes_too_late_and_never_both(
    tmp_path: Path,
) -> None:
    assert await violations(cancels.cancels, tmp_path) == []


async def test_an_outcome_that_comes_again_or_too_late_changes_nothing(tmp_path: Path) -> None:
    assert await violations(claims.duplicates, tmp_path) == []


async def test_a_clock_that_is_set_by_an_hour_ends_no_claim(tmp_path: Path) -> None:
    assert await violations(claims.clock_jumps, tmp_path) == []


async def test_clients_that_hang_up_leave_nothing_behind(tmp_path: Path) -> None:
    assert await violations(hang_ups.hang_ups, tmp_path) == []


async def test_bodies_and_results_of_any_size_come_as_they_are_or_are_refused(
    tmp_path: Path,
) -> None:
    assert await violations(payloads.payloads, tmp_path) == []
