"""What must be true of every history, whatever was done to the system; and its figures.

I1  What got a 202 ends, in exactly one final state.
I2  What was seen final never changes.
I3  Only the latest attempt at a prediction ends it, and only once.
I4  Nothing runs again without a cause, or after it was seen final.
I5  A submit that is repeated is one prediction.
I6  A record moves forward: queued, processing, final; back to queued only after a fault.
I7  In the end nothing waits and nothing runs.
I8  What has ended can be read until it expires.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from tests.faults.history import Fault, History, Run, Seen


def violations(history: History) -> list[str]:
    """A sentence for everything that must not be, and was."""
    return [sentence for invariant in INVARIANTS for sentence in invariant(history)]


def lost(history: History) -> list[str]:
    """The ids that got a 202 and were never seen final."""
    ended = {seen.id for seen in history.seen if seen.final}
    return [id for id in history.accepted if id not in ended]


def executed_twice(history: History) -> list[str]:
    """The tokens that ran again although nothing had happened to their run."""
    return [
        token
        for token, runs in _runs(history).items()
        if any(_without_cause(history, *pair) for pair in pairwise(runs))
    ]


def run_again(history: History) -> list[str]:
    """The tokens that ran more than once, all of them: with a cause and without."""
    return [token for token, runs in _runs(history).items() if len(runs) > 1]


def visible_twice(history: History) -> list[str]:
    """The ids that were seen with more than one final state or outcome."""
    finals = defaultdict(set)
    for seen in history.seen:
        if seen.final:
            finals[seen.id].add((seen.status, seen.outcome))
    return [id for id, ends in finals.items() if len(ends) > 1]


def failed(history: History) -> list[str]:
    """A sentence for everything that was accepted and did not complete."""
    accepted = history.accepted
    return [
        f"{accepted[seen.id].token} ended as {seen.status} ({seen.code})."
        for seen in history.seen
        if seen.final and seen.status != "completed"
    ]


def cut_off(history: History) -> Iterator[str]:
    """A sentence for everybody who was connected, asked, and got no answer at all."""
    for submit in history.submits:
        if submit.outcome == "unknown":
            yield f"The submit of {submit.token} was cut off."
    for rebuff in history.rebuffs:
        if rebuff.why == "cut off":
            yield f"A poll of {rebuff.id} was cut off."


def noticed(history: History) -> Iterator[str]:
    """A sentence for every request that failed, for whatever reason."""
    for submit in history.submits:
        if submit.outcome != "ok":
            yield f"The submit of {submit.token} failed ({submit.status or 'no answer'})."
    for rebuff in history.rebuffs:
        yield f"A poll of {rebuff.id} failed ({rebuff.why})."


def recoveries(history: History) -> list[float]:
    """Seconds from every restart to the next 202, and from every killed run to the next.

    The first start is no recovery.
    """
    accepted = sorted(submit.answered for submit in history.accepted.values())
    runs = [pair for runs in _runs(history).values() for pair in pairwise(runs)]
    return [
        *history.recoveries,
        *_delays(history.starts[1:], accepted),
        *(delay for fault in history.faults for delay in _taken_over(runs, fault)),
    ]


def i1_every_accepted_one_ends(history: History) -> Iterator[str]:
    """What got a 202 and is not there, or is not over."""
    last = {seen.id: seen for seen in history.seen}
    for id in lost(history):
        if id not in last:
            yield f"I1: {id} got a 202, and nobody heard of it again."
        elif last[id].status == "missing":
            yield f"I1: {id} got a 202 and is not known any more."
        else:
            yield f"I1: {id} got a 202 and never ended: it was last seen {last[id].status}."
    for id in history.overdue:
        yield f"I1: {id} had not ended when nothing kept it from that any more."


def i2_what_is_final_never_changes(history: History) -> Iterator[str]:
    """What had two ends, or the end of another."""
    for id in visible_twice(history):
        yield f"I2: {id} was seen with two different ends."
    accepted = history.accepted
    for seen in history.seen:
        own = accepted.get(seen.id)
        if own and seen.token not in ("", own.token):
            yield f"I2: {seen.id} has the result of {seen.token}, and not of {own.token}."


def i3_only_the_latest_attempt_ends_it(history: History) -> Iterator[str]:
    """What was ended by an older attempt, or twice."""
    accepted = [finish for finish in history.finishes if finish.accepted]
    for finish in accepted:
        if finish.attempt != finish.latest:
            yield (
                f"I3: attempt {finish.attempt} ended {finish.id}, "
                f"although attempt {finish.latest} had begun."
            )
    for id, count in Counter(finish.id for finish in accepted).items():
        if count > 1:
            yield f"I3: {id} was ended {count} times."


def i4_nothing_runs_again_without_a_cause(history: History) -> Iterator[str]:
    """What ran again and should not have, or never ran and is done."""
    runs, accepted = _runs(history), history.accepted
    for token in executed_twice(history):
        yield f"I4: {token} ran {len(runs[token])} times, once without a cause."
    for seen in history.seen:
        own = accepted.get(seen.id)
        if own and seen.status == "completed" and seen.token and own.token not in runs:
            yield f"I4: {seen.id} is completed, and never ran."
    for token, id, at in _ends(history):
        if any(run.started > at for run in runs.get(token, [])):
            yield f"I4: {id} ran again after it was seen final."


def i5_a_repeated_submit_is_one_prediction(history: History) -> Iterator[str]:
    """What became two by being asked for twice."""
    ids = defaultdict(set)
    for submit in history.accepted.values():
        ids[submit.token].add(submit.id)
    for token, of_token in ids.items():
        if len(of_token) > 1:
            yield f"I5: {token} became {len(of_token)} predictions."


def i6_a_record_moves_forward(history: History) -> Iterator[str]:
    """What went back to a state that it had left."""
    for id, polls in _polls(history).items():
        for before, after in pairwise(polls):
            if before.final and not after.final and after.status != "missing":
                yield f"I6: {id} was {before.status}, and then {after.status}."
            went_back = (before.status, after.status) == ("processing", "queued")
            if went_back and not _fault_between(history, before.asked, after.answered):
                yield f"I6: {id} was queued again, and there had been no fault."


def i7_nothing_is_left(history: History) -> Iterator[str]:
    """What a server still had when everything was over."""
    for counts in history.counts:
        if counts.queued or counts.processing:
            yield (
                f"I7: {counts.queued} still wait and {counts.processing} still run, "
                "although all have ended."
            )


def i8_what_has_ended_can_be_read(history: History) -> Iterator[str]:
    """What was final, and then unknown."""
    for id, polls in _polls(history).items():
        if any(a.final and b.status == "missing" for a, b in pairwise(polls)):
            yield f"I8: {id} had ended and is not known any more."


INVARIANTS: tuple[Callable[[History], Iterable[str]], ...] = (
    i1_every_accepted_one_ends,
    i2_what_is_final_never_changes,
    i3_only_the_latest_attempt_ends_it,
    i4_nothing_runs_again_without_a_cause,
    i5_a_repeated_submit_is_one_prediction,
    i6_a_record_moves_forward,
    i7_nothing_is_left,
    i8_what_has_ended_can_be_read,
)


def _runs(history: History) -> dict[str, list[Run]]:
    """The runs of every token, in the order of their starts."""
    runs = defaultdict(list)
    for run in history.runs:
        runs[run.token].append(run)
    return runs


def _polls(history: History) -> dict[str, list[Seen]]:
    """The polls of every id, in order. No client polls an id while another does."""
    polls = defaultdict(list)
    for seen in history.seen:
        polls[seen.id].append(seen)
    return polls


def _ends(history: History) -> Iterator[tuple[str, str, float]]:
    """Token and id of what was seen final, and when for the first time."""
    accepted = history.accepted
    for id, polls in _polls(history).items():
        first = next((seen for seen in polls if seen.final), None)
        if first and id in accepted:
            yield accepted[id].token, id, first.answered


def _without_cause(history: History, run: Run, again: Run) -> bool:
    """True if a run was repeated although it had ended and no fault can have undone that."""
    return run.ended is not None and not any(
        _hit(fault, run) and run.started <= fault.at <= again.started for fault in history.faults
    )


def _hit(fault: Fault, run: Run) -> bool:
    """True for what ended the process of this run, or its server."""
    return fault.pid in (run.pid, run.server)


def _fault_between(history: History, start: float, end: float) -> bool:
    return any(start <= fault.at <= end for fault in history.faults)


def _taken_over(runs: Iterable[tuple[Run, Run]], fault: Fault) -> Iterator[float]:
    """How soon what a killed process ran was running again."""
    for run, again in runs:
        if _hit(fault, run) and run.started <= fault.at <= again.started:
            yield again.started - fault.at


def _delays(starts: Iterable[float], events: list[float]) -> Iterator[float]:
    """Seconds from every start to the first event after it."""
    for start in starts:
        after = next((event for event in events if event > start), None)
        if after is not None:
            yield after - start
