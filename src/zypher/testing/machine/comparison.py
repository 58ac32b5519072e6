"""A broker and the reference side by side, and what must hold after each step."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec.structs import replace

from zypher.brokers.base import Broker, Limits, ModelStats
from zypher.errors import PredictionError
from zypher.prediction import Claim, Prediction, Priority, Status
from zypher.testing.clock import ManualClock
from zypher.testing.contract.base import PATIENCE
from zypher.testing.machine.reference import Reference, Row

T = TypeVar("T")

MODELS = ("m", "n")
# So little that every bound is met soon.
LIMITS = Limits(
    max_queued=40,
    max_queued_bytes=1_000,
    max_queued_of={"a": 8},
    max_crashes=2,
    lease=30,
    ttl=3600,
    waiting_share=0.25,
)
MOVES = {
    Status.QUEUED: {Status.PROCESSING, Status.FAILED, Status.CANCELED},
    Status.PROCESSING: {Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.CANCELED},
}


class Waiter(NamedTuple):
    """Somebody who waits for a prediction; `row` is None if it is unknown."""

    task: asyncio.Task[Prediction | None]
    row: Row | None


class Comparison(RuleBasedStateMachine):
    """Asks the same of both, and sees whether the broker is what the reference is."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.reference = Reference(LIMITS, self.clock)
        self.seen: dict[str, Prediction | None] = {}
        self.waiters: list[Waiter] = []
        self.runner = asyncio.Runner()
        self.start(self.open(LIMITS, self.clock))

    async def open(self, limits: Limits, clock: ManualClock) -> Broker:
        """A new, empty broker."""
        raise NotImplementedError

    def start(self, opening: Coroutine[Any, Any, Broker]) -> None:
        """Open a broker and make it ready."""
        self.broker = self.run(opening)
        self.run(self.broker.start())

    def teardown(self) -> None:
        self.dismiss_waiters()
        self.run(self.broker.aclose())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        """What comes of it. Not by `Runner.run`, which costs more than most that is done here."""
        return self.runner.get_loop().run_until_complete(work)

    # What is asked of both.

    def both(self, verb: str, *arguments: object, **options: object) -> Any:
        """Use a verb of both: they must answer the same."""
        asked = getattr(self.broker, verb)
        found = answer(lambda: self.run(asked(*arguments, **options)))
        same(found, answer(lambda: getattr(self.reference, verb)(*arguments, **options)))
        if isinstance(found, Prediction):
            self.check_told(found)
        return found

    async def begin_to_wait(self, id: str) -> Waiter:
        """Somebody waits for this prediction from now on."""
        task = asyncio.create_task(self.broker.wait(id, 100 * PATIENCE))
        await asyncio.sleep(0)  # let it arrive: its outcome is forgotten once it was delivered
        row = self.reference.find(id)
        if row:
            row.waiters += 1
        return Waiter(task, row)

    async def leave(self, waiter: Waiter) -> None:
        """Somebody waits no longer."""
        waiter.task.cancel()
        await asyncio.wait([waiter.task])
        if waiter.row:
            waiter.row.waiters -= 1

    def dismiss_waiters(self) -> None:
        """Nobody waits any longer."""
        while self.waiters:
            self.run(self.leave(self.waiters.pop()))

    async def all_pages(self, **filters: Any) -> Sequence[Prediction]:
        """A listing, page after page."""
        page = await self.broker.list(**filters)
        rows = [*page.predictions]
        while page.cursor is not None:
            assert len(rows) <= len(self.seen), "the pages of a listing never end"
            page = await self.broker.list(cursor=page.cursor, **filters)
            rows += page.predictions
        return rows

    # What must hold after each step.

    @invariant()
    def the_contract_holds(self) -> None:
        self.check_records()
        self.check_waiters()
        self.check_positions()
        self.check_stats()

    def check_records(self) -> None:
        """All are as they must be, and have made one legal move at most."""
        for id, record in self.ask_of_all(self.broker.get).items():
            row = self.reference.find(id)
            same(record, row and row.record)
            if record and row:
                self.reference.check_expiry(row, record.expires)
            before, self.seen[id] = self.seen[id], record
            if record and before:
                check_move(before, record)

    def check_waiters(self) -> None:
        """All who wait get the final record, and nobody gets another."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            task, row = waiter
            if row and not row.record.status.terminal:
                assert not task.done(), "a wait returned before its time"
                self.waiters.append(waiter)
            else:
                found = self.run(asyncio.wait_for(task, PATIENCE))
                same(found, row and row.record)
                if found:
                    self.check_told(found)

    def check_told(self, record: Prediction) -> None:
        """What a verb told is what others are told, to the letter, unless it is forgotten."""
        known = self.run(self.broker.get(record.id))
        assert known in (record, None), f"one was told {record}, and another {known}"

    def check_positions(self) -> None:
        """What waits in line has a position, and nothing else; they grow along each lane."""
        asked = self.ask_of_all(self.broker.position).items()
        positions = {id: position for id, position in asked if position is not None}
        in_line = [row for row in self.reference.rows(Status.QUEUED) if not row.pauses]
        same(set(positions), {row.record.id for row in in_line})
        for model, lane in product(MODELS, Priority):
            waiting = [row for row in in_line if row.record.model == model]
            ahead = [positions[row.record.id] for row in waiting if row.lane is lane]
            assert ahead == sorted(ahead), f"the positions in a lane are {ahead}"

    def check_stats(self) -> None:
        """The stats tell what there is."""
        stats = self.run(self.broker.stats())
        for model in MODELS:
            found = stats.get(model, ModelStats())
            queued = self.reference.rows(Status.QUEUED, model)
            running = self.reference.rows(Status.PROCESSING, model)
            same(found.queued, len(queued))
            same(found.paused, sum(row.pauses for row in queued))
            same(found.queued_bytes, sum(row.record.size for row in queued))
            same(found.processing, len(running))
            assert found.oldest_queued_age >= 0 if queued else found.oldest_queued_age == 0
            assert found.oldest_processing_age >= 0 if running else found.oldest_processing_age == 0
            self.reference.check_service_time(model, found.service_time)

    def check_accepted(self, claims: set[Claim]) -> None:
        """Only the latest claim ends a prediction, and only once."""
        for claim in claims:
            before = self.seen[claim.id]
            assert before is not None, f"the unknown {claim.id} was finished"
            assert (before.status, before.claim) == (Status.PROCESSING, claim)

    def ask_of_all(self, verb: Callable[[str], Coroutine[Any, Any, T]]) -> dict[str, T]:
        """What a verb answers for all ids that were ever submitted."""

        async def ask() -> Sequence[T]:
            return await asyncio.gather(*(verb(id) for id in self.seen))

        return dict(zip(self.seen, self.run(ask()), strict=True))


def answer(verb: Callable[[], object]) -> object:
    """What a verb returned, or what kind of error it raised."""
    try:
        return verb()
    except PredictionError as error:
        return type(error)


def same(found: object, expected: object) -> None:
    """The broker says what it must say."""
    found, expected = promised(found), promised(expected)
    if isinstance(found, Prediction) and isinstance(expected, Prediction) and not expected.input:
        found = replace(found, input=b"")  # it may be held for longer than it has to be
    assert found == expected, f"the broker says {found}, and must say {expected}"


def promised(value: object) -> object:
    """An answer without what a broker may choose: the time of expiry, the words of a failure."""
    if isinstance(value, list):
        return [promised(one) for one in value]
    if not isinstance(value, Prediction):
        return value
    failure = value.failure and replace(value.failure, detail="")
    return replace(value, expires=None, failure=failure)


def check_move(before: Prediction, after: Prediction) -> None:
    """A record stayed as it was, or made one legal move."""
    if after.status is before.status:
        assert replace(after, expires=before.expires) == before, f"{before} turned into {after}"
    else:
        assert after.status in MOVES.get(before.status, ()), f"{before} turned into {after}"
        claimed = after.status is Status.PROCESSING
        assert after.attempt == before.attempt + claimed, "the attempt does not count the claims"
