"""A small campaign; `./run fuzz` is a large one."""

from tests.fuzz.campaign import run
from tests.fuzz.generators import KINDS


def test_no_hostile_input_is_answered_with_a_fault_or_leaves_anything_behind() -> None:
    report = run(len(KINDS) * 20, seed=2)
    assert report.violations == []
    assert len({outcome for row in report.rows for outcome in row.outcomes}) > 9
