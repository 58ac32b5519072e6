"""The record of a prediction and its moves."""

import uuid
from collections.abc import Callable

import pytest

from zypher.prediction import Failure, IllegalMove, Outcome, Prediction, Status, new_id


def test_ids_are_uuids_of_version_7_in_the_order_of_their_making() -> None:
    ids = [new_id() for _ in range(1000)]
    assert {uuid.UUID(id).version for id in ids} == {7}
    assert {uuid.UUID(id).variant for id in ids} == {uuid.RFC_4122}
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000


def test_a_status_is_terminal_exactly_when_it_never_changes_again() -> None:
    assert [status.name for status in Status if status.terminal] == [
        "COMPLETED",
        "FAILED",
        "CANCELED",
    ]


def records() -> dict[Status, Prediction]:
    """One record of every status."""
    queued = Prediction(id=new_id(), model="m", input=b"1", created=0.0)
    processing = queued.claimed(1.0)
    return {
        Status.QUEUED: queued,
        Status.PROCESSING: processing,
        Status.COMPLETED: processing.ended(Outcome(result=b"2"), 2.0),
        Status.FAILED: processing.ended(Outcome(failure=Failure("model_error", "No.")), 2.0),
        Status.CANCELED: processing.canceled(2.0),
    }


MOVES: dict[str, tuple[Callable[[Prediction], Prediction], set[Status]]] = {
    "claimed": (lambda p: p.claimed(3.0), {Status.QUEUED}),
    "released": (lambda p: p.released(), {Status.PROCESSING}),
    "crashed": (
        lambda p: p.crashed(3.0, "was killed", company=2, max_crashes=3),
        {Status.PROCESSING},
    ),
    "ended": (lambda p: p.ended(Outcome(result=b"3"), 3.0), {Status.QUEUED, Status.PROCESSING}),
    "canceled": (lambda p: p.canceled(3.0), {Status.QUEUED, Status.PROCESSING}),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("status", Status)
def test_a_record_makes_only_legal_moves(move: str, status: Status) -> None:
    make, legal = MOVES[move]
    record = records()[status]
    assert record.status is status
    if status in legal:
        assert make(record) != record
    else:
        with pytest.raises(IllegalMove):
            make(record)


def test_the_attempt_grows_with_every_claim_and_never_falls() -> None:
    record = records()[Status.QUEUED]
    attempts = []
    for _ in range(3):
        record = record.claimed(1.0)
        attempts.append(record.attempt)
        record = record.released()
        attempts.append(record.attempt)
    assert attempts == [1, 1, 2, 2, 3, 3]
