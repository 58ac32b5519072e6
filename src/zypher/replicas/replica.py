"""The parent's handle of one replica: start it, hand it work, take its outcomes, end it."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from zypher.errors import ModelLoadError, ZypherError
from zypher.prediction import Claim, Outcome
from zypher.replicas.ahead import Ahead
from zypher.replicas.conditions import Condition, Conditions
from zypher.replicas.connection import Connection
from zypher.replicas.flights import Flights
from zypher.replicas.frames import (
    Call,
    Cancel,
    Check,
    Checked,
    Described,
    Finished,
    Load,
    LoadFailed,
    Message,
    Ready,
    Run,
    SetUp,
    Told,
)
from zypher.replicas.news import News, Report
from zypher.replicas.process import Process
from zypher.replicas.spec import ReplicaSpec

# A replica that holds so many bytes of input takes no more until some of it is done: however
# many small predictions may be in flight, large ones wait in the queue, whose bytes are bounded.
_MOST_BYTES = 256_000_000


# Why a replica is replaced.
Departure = Literal["reload", "recycled", "unhealthy"]


class ReplicaDied(ZypherError):
    """The replica's process has ended."""


class Replica:
    """A child process that has loaded, or is about to load, one model, on one device or on any.

    `worn` is called when it has finished as many predictions as it is to.
    """

    described: Described

    def __init__(
        self,
        spec: ReplicaSpec,
        device: str | None = None,
        worn: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec = spec
        self.device = device
        self.finished = 0
        self.files: list[str] = []
        self.is_retired = False
        self.departure: Departure = "reload"  # why it is retired, if it is
        self.is_held = False
        self.is_worn = False
        self._note_worn = worn
        self._most_finished = _limit(spec.recycle_after)
        self._process: Process | None = None
        self._connection = Connection(self._receive)
        self._answers: asyncio.Queue[Described | Ready | LoadFailed | Checked | None]
        self._answers = asyncio.Queue()
        self._flights = Flights()
        self._overdue: set[Claim] = set()
        self._unwanted: set[Claim] = set()
        self._doomed = False
        self._gone = False
        self._news = News()
        self._has_news = asyncio.Event()
        self._conditions = Conditions()

    # Life and death.

    async def start(self) -> None:
        """Start the process and wait until it has imported the model: `described` is set.

        `files` are those that its code is in, as far as it has got.

        Raises `ModelLoadError` when the model cannot be served, `ReplicaDied` when the process
        ended by itself.
        """
        opening = asyncio.create_task(self._open())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])  # a process that is half started could not be ended
            raise
        self._connection.send(
            Load(
                target=self.spec.target,
                concurrency=self.spec.concurrency,
                mock_delay=self.spec.mock_delay,
                max_result_size=self.spec.max_result_size,
                example=self.spec.example,
            )
        )
        described = await self._loaded()
        assert isinstance(described, Described)
        self.described = described
        self._update()

    async def _open(self) -> None:
        """Start the process, and connect to it."""
        self._ahead = Ahead(self._flights, returns=self._return, changed=self._update)
        try:
            self._process = await Process.start(
                self.spec, self.device, self._connection, self._ahead.descriptor
            )
        except BaseException:
            self._ahead.close()
            raise
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def set_up(self) -> None:
        """Have it run `setup()` and the example, and wait for that. Raises as `start` does."""
        self._connection.send(SetUp())
        await self._loaded()

    def retire(self) -> None:
        """Nothing more is handed to it: its process ends once nothing runs there any more."""
        self.is_retired = True
        self._update()

    async def stop(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        if self._process is not None:
            if not self._watcher.done():
                self._process.kill()
            await asyncio.shield(self._watcher)

    @property
    def pid(self) -> int | None:
        """Of its process, once that is started."""
        return None if self._process is None else self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once there is no process, or none any more."""
        return self._process is None or self._process.has_ended

    @property
    def was_stuck(self) -> bool:
        """True for one that was killed because a run there did not stop when it had to."""
        return self._doomed and not self.is_retired

    # Work.

    @property
    def room(self) -> int:
        """How many more calls, or batches of a batched model, can begin there now."""
        return self.described.concurrency - self._flights.units if self._is_open else 0

    @property
    def has_room_ahead(self) -> bool:
        """True if it runs something, but can be handed what is to follow: see `flights`."""
        return self._is_open and self._ahead.has_room

    @property
    def _is_open(self) -> bool:
        closed = self._overdue or self._doomed or self.is_held
        return not closed and self._flights.bytes < _MOST_BYTES

    @property
    def slots(self) -> int:
        """How many predictions it can run at once."""
        batching = self.described.batching
        return self.described.concurrency * (batching.max_size if batching else 1)

    @property
    def is_busy(self) -> bool:
        """True while it runs something."""
        return bool(self._flights.running)

    @property
    def in_flight(self) -> list[Claim]:
        """What it runs: it was handed that, and has not finished it."""
        return list(self._flights.running)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that its process wrote since what it runs has begun."""
        assert self._process is not None
        return self._process.output.last_lines

    def run(self, calls: Sequence[Call]) -> None:
        """Hand it predictions to run: one batch of a batched model, or that many single calls.

        Where there is only room ahead they wait for what runs, and are not in flight until then.
        If they wait for too long they come back, in `reports`. Raises `ReplicaDied` if it is gone,
        and then it has taken none of them.
        """
        self._require_alive()
        assert self._process is not None
        flights, now = self._flights, asyncio.get_running_loop().time()
        if self.described.is_serial and flights.running:
            self._connection.send(Run(list(calls), self._ahead.queue(calls)))
        else:
            if not flights.running:
                self._process.output.begin()
            flights.begin(calls, now, together=self.described.batching is not None)
            self._connection.send(Run(list(calls)))
            if self.described.is_serial:
                self._ahead.expect_end()
        self._update()

    def cancel(self, claim: Claim) -> None:
        """Ask the run of this claim to end, if it is in flight."""
        if claim in self._flights.running or claim in self._flights.waiting:
            self._connection.send(Cancel([claim]))

    def give_up(self, claim: Claim, *, insists: bool) -> bool:
        """The run of this claim did not end when asked to; False if it has ended after all.

        `insists`: the process gets no more work, and is killed once it runs nothing else than
        what was given up. Else that alone is no reason to kill it.
        """
        if claim in self._flights.waiting:
            self._ahead.take_back()
            self._update()
        if claim not in self._flights.running and claim not in self._flights.waiting:
            return False
        (self._overdue if insists else self._unwanted).add(claim)
        self._update()
        return True

    async def has_room(self, *, ahead: bool = False) -> None:
        """Wait until `room` is at least one, or `has_room_ahead`. Raises `ReplicaDied`."""
        await self._until(self._has_any_room if ahead else self._has_room)

    async def is_idle(self) -> None:
        """Wait until nothing is in flight. Raises `ReplicaDied`."""
        await self._until(lambda: not self.is_busy)

    async def is_free(self) -> None:
        """Wait until it is not held, as it is while it is checked. Raises `ReplicaDied`."""
        await self._until(lambda: not self.is_held)

    async def reports(self) -> AsyncIterator[Report]:
        """What it has to say, as it comes; ends when the process has ended."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            report = self._news.take()
            if any(report):
                yield report
            if self._gone and not self._news:
                return

    # How it is.

    def hold(self, is_held: bool) -> None:
        """Hand it nothing more, until that is taken back."""
        self.is_held = is_held
        self._update()

    async def ask(self) -> str | None:
        """What is wrong with it, as it says itself; None if all is well. Raises `ReplicaDied`."""
        self._connection.send(Check())
        answer = await self._answer()
        assert isinstance(answer, Checked)
        return answer.complaint

    @property
    def memory(self) -> int:
        """The bytes of memory that its process holds; 0 where nobody can tell."""
        assert self._process is not None
        return self._process.memory

    # What the process says, and its end.

    def _receive(self, message: Message) -> None:
        match message:
            case Finished():
                now = asyncio.get_running_loop().time()
                for claim, outcome in message.outcomes:
                    self._take(claim, outcome, now)
                if self.described.is_serial and not self._flights.running:
                    self._ahead.follow()
                if self.finished >= self._most_finished and not self.is_worn:
                    self.is_worn = True
                    self._note_worn()
                self._update()
            case Told():
                self._news.add_told(message)
                self._has_news.set()
            case Described() | Ready() | LoadFailed() | Checked():
                self._answers.put_nowait(message)

    def _take(self, claim: Claim, outcome: Outcome, now: float) -> None:
        self._news.add_outcome(claim, outcome, self._flights.end(claim, now))
        if self._overdue or self._unwanted:
            self._overdue.discard(claim)
            self._unwanted.discard(claim)
        self.finished += 1

    def _return(self, claims: Sequence[Claim]) -> None:
        self._news.add_returned(claims)
        self._overdue.difference_update(claims)
        self._unwanted.difference_update(claims)

    async def _loaded(self) -> Described | Ready:
        """The next thing that the process says while it loads."""
        message = await self._answer()
        assert not isinstance(message, Checked)
        self.files = message.files
        if isinstance(message, LoadFailed):
            raise ModelLoadError(message.message, traceback=message.traceback)
        return message

    async def _answer(self) -> Described | Ready | LoadFailed | Checked:
        """The next thing that the process says to us, and not of a run."""
        message = await self._answers.get()
        if message is None:
            raise ReplicaDied(f"The process of {self.spec.target} {self.ending}.")
        return message

    async def _watch(self, process: Process) -> None:
        """See the process end, and make that known to all who wait."""
        await process.wait()
        self._ahead.close()
        self._gone = True
        self._answers.put_nowait(None)
        self._update()

    def _update(self) -> None:
        """Something has changed: wake those who wait for it."""
        self._conditions.look()  # first: what is to run next need not wait for what has ended
        if self._gone or self._news:
            self._has_news.set()
        if (self._overdue or self.is_retired) and not (self._gone or self._doomed):
            self._kill_if_nothing_else_runs()

    def _kill_if_nothing_else_runs(self) -> None:
        flights = self._flights
        if len(self._overdue) + len(self._unwanted) == len(flights.running):
            if not self._ahead.take_back():
                return  # what is overdue has ended, as is about to be known
            assert self._process is not None
            self._doomed = True  # also if all that ran there turns out to have ended just then
            self._process.kill()

    async def _until(self, condition: Condition) -> None:
        """Wait until it holds. Raises `ReplicaDied`."""
        if not condition():
            await self._conditions.until(lambda: self._gone or condition())
        self._require_alive()

    def _has_room(self) -> bool:
        return self.room > 0

    def _has_any_room(self) -> bool:
        return self.room > 0 or self.has_room_ahead

    def _require_alive(self) -> None:
        # It can be dead for a moment before `_watch` has seen to it.
        if self._gone or self.has_ended or self._connection.is_closing:
            raise ReplicaDied(f"The process of {self.spec.target} {self.ending}.")

    @property
    def ending(self) -> str:
        """How the process ended, as the end of a sentence."""
        return self._process.ending if self._process else "was never started"


def _limit(most: int | None) -> float:
    """After how many predictions it is worn: not all replicas at once, and none later than told."""
    if most is None:
        return math.inf
    return most - random.randrange(most // 10 + 1)  # noqa: S311 - no secret
