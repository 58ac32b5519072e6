"""The checker finds what it is there to find, in histories that are made by hand."""

from dataclasses import replace

from tests.faults import invariants
from tests.faults.history import Counts, Fault, Finish, History, Run, Seen, Submit

SUBMIT = Submit("t", 1.0, 2.0, "ok", "id")
RUN = Run("t", pid=10, server=9, started=2.0, ended=4.0)
QUEUED = Seen("id", 2.0, 2.1, "queued")
PROCESSING = Seen("id", 3.0, 3.1, "processing")
COMPLETED = Seen("id", 5.0, 5.1, "completed", outcome="digest", token="t")
MISSING = Seen("id", 8.0, 8.1, "missing")
AGAIN = Run("t", pid=11, server=9, started=4.5, ended=4.9)


def good() -> History:
    """A history without a fault, and nothing wrong."""
    return History(
        submits=[SUBMIT],
        seen=[QUEUED, PROCESSING, COMPLETED],
        runs=[RUN],
        finishes=[Finish("id", 1, 1, accepted=True), Finish("id", 1, 1, accepted=False)],
        counts=[Counts(0, 0)],
    )


def found(history: History) -> list[str]:
    """Which invariants a history breaks."""
    return [sentence[:2] for sentence in invariants.violations(history)]


def test_a_good_history_has_no_violations() -> None:
    assert found(good()) == []


def test_what_was_accepted_and_never_ended_is_lost() -> None:
    history = good()
    history.seen = [QUEUED, PROCESSING]
    assert found(history) == ["I1"]
    assert invariants.lost(history) == ["id"]


def test_what_was_accepted_and_is_unknown_is_lost() -> None:
    history = good()
    history.seen = [QUEUED, MISSING]
    assert found(history) == ["I1"]


def test_what_ended_only_after_a_restart_that_it_did_not_need_is_seen() -> None:
    history = good()
    history.overdue = ["id"]
    assert found(history) == ["I1"]


def test_what_nobody_asked_for_again_is_not_taken_for_kept() -> None:
    history = good()
    history.seen = []
    assert found(history) == ["I1"]


def test_a_submit_without_an_answer_promises_nothing() -> None:
    history = good()
    history.submits.append(Submit("u", 1.0, 2.0, "unknown"))
    history.submits.append(Submit("f", 1.0, 2.0, "fail"))
    assert found(history) == []


def test_a_second_result_is_seen() -> None:
    history = good()
    history.seen.append(replace(COMPLETED, outcome="another"))
    assert found(history) == ["I2"]
    assert invariants.visible_twice(history) == ["id"]


def test_the_result_of_another_is_seen() -> None:
    history = good()
    history.seen[-1] = replace(COMPLETED, token="of another")
    assert found(history) == ["I2"]


def test_an_end_by_an_older_attempt_is_seen() -> None:
    history = good()
    history.finishes = [Finish("id", attempt=1, latest=2, accepted=True)]
    assert found(history) == ["I3"]


def test_two_accepted_ends_are_seen() -> None:
    history = good()
    history.finishes = [Finish("id", 1, 1, accepted=True)] * 2
    assert found(history) == ["I3"]


def test_a_second_run_without_a_fault_is_seen() -> None:
    history = good()
    history.runs.append(AGAIN)
    assert found(history) == ["I4"]
    assert invariants.executed_twice(history) == ["t"]


def test_a_fault_elsewhere_is_no_cause_for_a_second_run() -> None:
    history = good()
    history.runs.append(AGAIN)
    history.faults.append(Fault(3.0, "another replica is killed", pid=99))
    assert found(history) == ["I4"]


def test_a_second_run_after_its_process_or_its_server_was_killed_is_allowed() -> None:
    for pid in (RUN.pid, RUN.server):
        history = good()
        history.runs.append(AGAIN)
        history.faults.append(Fault(4.2, "killed", pid))
        assert found(history) == []
        assert invariants.run_again(history) == ["t"]


def test_a_run_after_it_was_seen_final_is_seen_even_if_there_was_a_fault() -> None:
    history = good()
    history.runs.append(replace(AGAIN, started=6.0, ended=7.0))
    history.faults.append(Fault(5.5, "the server is killed", RUN.server))
    assert found(history) == ["I4"]


def test_a_completion_without_a_run_is_seen() -> None:
    history = good()
    history.runs = []
    assert found(history) == ["I4"]


def test_a_submit_that_became_two_predictions_is_seen() -> None:
    history = good()
    history.submits.append(replace(SUBMIT, id="id2"))
    history.seen.append(replace(COMPLETED, id="id2"))
    assert found(history) == ["I5"]


def test_a_record_that_goes_back_from_its_end_is_seen() -> None:
    history = good()
    history.seen += [replace(PROCESSING, asked=6.0, answered=6.1), COMPLETED]
    assert found(history) == ["I6"]


def test_a_record_is_queued_again_only_after_a_fault() -> None:
    history = good()
    history.seen = [PROCESSING, replace(QUEUED, asked=4.0, answered=4.1), COMPLETED]
    assert found(history) == ["I6"]
    history.faults.append(Fault(3.5, "a replica is killed", RUN.pid))
    assert found(history) == []


def test_a_queue_that_does_not_become_empty_is_seen() -> None:
    history = good()
    history.counts = [Counts(queued=0, processing=1)]
    assert found(history) == ["I7"]


def test_a_result_that_is_forgotten_is_seen() -> None:
    history = good()
    history.seen.append(MISSING)
    assert found(history) == ["I8"]


def test_recovery_is_from_a_restart_to_the_next_202_and_from_a_kill_to_the_next_run() -> None:
    history = good()
    history.starts = [0.0, 1.5]
    history.runs = [replace(RUN, ended=None), AGAIN]
    history.faults.append(Fault(4.25, "a replica is killed", RUN.pid))
    assert invariants.recoveries(history) == [0.5, 0.25]
