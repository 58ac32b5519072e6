"""The record of a prediction and its moves."""

import uuid
from collections.abc import Callable

import pytest

from zypher.prediction import (
    MOST_MISFITS,
    Failure,
    IllegalMove,
    Outcome,
    Prediction,
    Status,
    misfit_delay,
    new_id,
    signature_of,
)


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


REFUSAL = Failure("invalid_input", "No.")


@pytest.mark.parametrize(
    ("admitted_by", "refused_by", "status"),
    [
        ("a", "b", Status.QUEUED),
        ("a", "a", Status.FAILED),
        (None, "b", Status.FAILED),
        ("a", None, Status.FAILED),
    ],
)
def test_a_refused_input_goes_on_only_if_another_signature_is_known_to_have_admitted_it(
    admitted_by: str | None, refused_by: str | None, status: Status
) -> None:
    record = Prediction(id=new_id(), model="m", input=b"1", created=0.0, signature=admitted_by)
    outcome = Outcome(failure=REFUSAL, signature=refused_by)
    assert record.claimed(1.0).finished_with(outcome, 2.0).status is status


def test_the_pauses_between_misfits_are_short_and_take_half_a_minute_together() -> None:
    pauses = [misfit_delay("id", misfits) for misfits in range(MOST_MISFITS)]
    assert pauses[0] <= 0.25
    assert max(pauses) <= 1
    assert 30 < sum(pauses) < 50


def test_a_signature_is_that_of_what_a_schema_says_and_not_of_its_order() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert signature_of(schema) == signature_of(dict(reversed(schema.items())))
    assert signature_of(schema) != signature_of(schema | {"required": ["a"]})
    assert len(signature_of(schema)) == len("0123456789abcdef")
