"""The guards that the proof takes out are there, and what it runs is the copy without them."""

from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.guards import GUARDS as EMBEDDED_GUARDS
from tests.faults.guards import Guard, GuardNotFound, source_without
from tests.faults.redis.guards import GUARDS as REDIS_GUARDS
from tests.harness import Server

GUARDS = (*EMBEDDED_GUARDS, *REDIS_GUARDS)

GREETING = Guard(
    "the greeting",
    fault="",
    file="program.py",
    text='_tell(node, f"Loading ',
    without='_tell(node, f"Fetching ',
)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_in_the_source_exactly_once(guard: Guard) -> None:
    with source_without(guard) as source:
        assert guard.without in (source / "zypher" / guard.file).read_text()


def test_a_guard_that_is_not_there_cannot_be_taken_out() -> None:
    with (
        pytest.raises(GuardNotFound, match="0 times"),
        source_without(GREETING._replace(text="no such line")),
    ):
        pass


def test_every_fault_that_a_guard_names_exists() -> None:
    assert {guard.fault for guard in GUARDS} <= set(FAULTS)


def test_a_server_that_is_started_with_a_copy_runs_the_copy(tmp_path: Path) -> None:
    with (
        source_without(GREETING) as source,
        Server("--mock-delay", "0", cwd=tmp_path, PYTHONPATH=str(source)) as server,
    ):
        assert server.lines[0].startswith("Fetching")
        (replica,) = server.replicas()
        assert replica.environ()["PYTHONPATH"] == str(source)
