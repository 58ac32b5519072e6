"""The broker: where predictions wait and where they are recorded. The contract, in words.

Servers submit and wait, workers claim and finish; neither knows the other. Everything that
is promised about a prediction is promised here, and `zypher.testing.contract.BrokerContract` holds
every broker to it:

- **Accepted is kept.** What `submit(keep=True)` or `keep` returned for survives whatever
  `guarantee` says it survives.
- **At-least-once execution, exactly one visible outcome.** A run may be repeated after a
  crash; `finish` is a compare-and-set on `attempt`, so only the latest claim can end a
  prediction, and an ended prediction never changes again.
- **No end without its webhook.** When a kept prediction with a webhook ends, in whatever way, its
  delivery is recorded in the same step, and survives what the record survives. It may be handed
  out again after a crash; it is gone once it was dropped, or its prediction deleted. Until then
  the record is held for it, also beyond its expiry.
- **Bounded.** `submit` refuses with `QueueFull` what would exceed `Limits`.
- **Owned for good.** The `owner` of a prediction never changes.

Verbs that take a `timeout` (seconds) wait for an event, they do not poll. Cancelling a verb
that waits loses nothing. Any verb raises `Unavailable` while a broker elsewhere is away: the log
has one line when it goes, by the broker itself, and one when it is back. Time comes from the
`Clock` that a broker is made with. What has expired is unknown to every verb, whether it was
purged yet or not.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from zypher.metrics import Metrics
from zypher.prediction import Claim, Outcome, Prediction, Status, signature_of

# Deliveries to one host that may be under way at once.
MOST_TO_ONE_HOST = 2

# Bytes of inputs that may wait in a replica for its last run: more than what a connection holds
# arrives once that is out, and could be taken back while it is on its way.
MOST_AHEAD = 131_072


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker may hold, and for how long. Times are seconds."""

    max_queued: int = 10_000  # waiting predictions of one model
    max_queued_bytes: int = 1_000_000_000  # inputs waiting, of all models together
    # Waiting predictions of one owner, of all models together; an owner without has no bound.
    max_queued_of: Mapping[str, int] = {}
    max_crashes: int = 3
    lease: float = 30.0
    ttl: float = 3600.0
    key_ttl: float = 86_400.0  # the least time for which an idempotency key is known

    # The part of max_queued and max_queued_bytes that only callers who wait may fill, so that
    # a long asynchronous queue does not lock them out.
    waiting_share: float = 0.1


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What a server needs to know of a model whose code it never sees."""

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None

    @cached_property
    def signature(self) -> str:
        """What tells it apart from a version of the model that takes another input."""
        return signature_of(self.input_schema)


class ReplicaCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas of one model at one worker. `slots`: predictions they can run at once.

    `suspended`: why the model is out of service there, or is about to be tried again once the
    `pause`, in seconds, is over.
    """

    ready: int = 0
    starting: int = 0
    slots: int = 0
    failure: str | None = None  # why the last one that failed to start did
    suspended: str | None = None
    pause: float = 0.0


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, its replicas and the signatures of what they run, by model."""

    id: str
    host: str
    pid: int
    replicas: dict[str, ReplicaCounts]
    signatures: dict[str, str] = {}
    stale_outcomes: int = 0  # that came after the end of their prediction, and were refused


class ModelStats(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one model's queue. Times are seconds; what is counted, since the start.

    What is queued waits in a lane, or pauses before it is tried again: as its run has raised, or as
    its input was refused by another signature than had admitted it. How long it has waited counts
    from its submission.
    """

    queued: int = 0
    queued_bytes: int = 0
    # Queued by priority: high, where callers who wait are, normal and low.
    waiting: tuple[int, int, int] = (0, 0, 0)
    paused: int = 0
    refused: int = 0  # of the paused: those that another signature has refused
    processing: int = 0
    oldest_queued_age: float = 0.0
    oldest_processing_age: float = 0.0
    service_time: float | None = None  # of one run, smoothed; None before the first finished
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    retried: int = 0  # runs that were repeated because the model raised
    crashes: int = 0  # runs that died with their process
    rate: float = 0.0  # predictions that ended per second, over the last minute


class Overview(NamedTuple):
    """How the queues stand, by model, and who works on them, by worker."""

    stats: dict[str, ModelStats]
    workers: dict[str, WorkerInfo]


class Withdrawal(NamedTuple):
    """A running prediction was ended by somebody else than its worker: canceled, or by a clock.

    `insists`: if its run does not end when asked to, it is to be killed.
    """

    claim: Claim
    insists: bool


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that a run tells while it runs: `type` is progress, output or log, `data` JSON."""

    type: str
    data: bytes


class Seen(NamedTuple):
    """How far somebody has followed a prediction: the last thing they know of it."""

    status: Status | None = None
    attempt: int = 0
    sequence: int = 0  # of the last event of this attempt


class News(NamedTuple):
    """What is new of a prediction: its record, and the events of its latest attempt.

    Events are numbered from 1 in each attempt. `has_gap`: some that were not seen are gone.
    """

    record: Prediction
    events: Sequence[tuple[int, Event]]
    has_gap: bool


class Delivery(NamedTuple):
    """The webhook of an ended prediction, which is to be called."""

    record: Prediction
    failures: int  # how often it was tried in vain


class Sent(NamedTuple):
    """A call that is under way: `submitted` raises what `submit` does, `outcome` what `wait` does.

    What is refused has no outcome: that raises the same. `submitted` is None for what was taken in
    at once.
    """

    submitted: asyncio.Future[Prediction] | None
    outcome: asyncio.Future[Prediction | None]


class Page(NamedTuple):
    """One page of a listing; `cursor` asks for the next, None on the last."""

    predictions: Sequence[Prediction]
    cursor: str | None


class Broker(ABC):
    """Where predictions wait and are recorded."""

    @cached_property
    def metrics(self) -> Metrics:
        """What its node counts with, and it itself: the ends and crashes that it has recorded.

        Each is counted once, by the broker of the node that brought it about. A node that makes
        its broker anew hands it what it has counted before.
        """
        return Metrics()

    @abstractmethod
    async def start(self) -> None:
        """Make it ready; no other verb comes before. Raises `ConfigurationError` if that fails."""

    # The life of a prediction, for servers.

    @abstractmethod
    async def submit(
        self, prediction: Prediction, *, keep: bool, waits: bool = False
    ) -> Prediction:
        """Take a queued prediction in and return its record.

        An id that is known already changes nothing: its record is returned, so that a
        submit whose answer was lost can be repeated. So it is with an idempotency key of the
        same owner, which makes the record another one's: the returned id may not be that of
        `prediction`. Raises `IdempotencyMismatch` if their fingerprints differ.

        `waits` is for a caller who waits: the prediction goes ahead of others. `keep=False`,
        which implies it: it is also forgotten once its outcome was delivered; its id has to be
        a new one, and it has no key. Raises `QueueFull` when it would exceed the limits,
        `Unavailable` when the broker cannot take anything now.
        """

    def call(self, prediction: Prediction) -> Sent | None:
        """Submit with `keep=False`, and wait, without a task: the outcome is the final record.

        Whoever has waited long enough cancels it, and then keeps the prediction or abandons it. It
        is None once this node is to `hurry`. Raises what refuses it at once. None, and nothing has
        happened, where a broker needs a task for it: `submit` and `wait` do it.
        """
        return None

    def take(self, prediction: Prediction) -> asyncio.Future[bool] | None:
        """Submit with `keep=True`, without a task: the future is True once it is recorded.

        For a prediction with a new id and no idempotency key. Raises what `submit` does, and the
        future does as well; it is False if nobody knows when that will be. None, and nothing has
        happened, where a broker needs a task for it: `submit` does it.
        """
        return None

    @abstractmethod
    async def keep(self, id: str) -> Prediction | None:
        """Nobody waits for a prediction any more: keep it, and return its record.

        From then on it is as safe as if submitted with `keep=True`, and it waits in the lane
        of its own priority. None if it is unknown.
        """

    @abstractmethod
    async def get(self, id: str) -> Prediction | None:
        """The record, or None when it is unknown or has expired."""

    def find(
        self, id: str, *, timeout: float = 0.0, owner: str | None = None
    ) -> asyncio.Future[Prediction | None] | None:
        """The record, once it is final or at once if `timeout` is 0; None where that takes a task.

        Only what `owner` has, if given, is waited for. The future has None for what is unknown, and
        for what has not ended after `timeout`.
        """
        return None

    @abstractmethod
    async def wait(self, id: str, timeout: float) -> Prediction | None:
        """The record once it is final, or as it stands after `timeout`; None if unknown.

        Works on any node. All who wait for an id get the same record. Raises `Unavailable`
        when the broker closes meanwhile.
        """

    def hurry(self) -> None:  # noqa: B027
        """This node is about to leave: end each `wait` as if its time were over.

        Where others go on with the predictions; elsewhere those who wait are to learn of the end.
        """

    @abstractmethod
    async def position(self, id: str) -> int | None:
        """How many claims come before this queued prediction, roughly.

        None if it is not queued, or pauses before it is tried again.
        """

    @abstractmethod
    async def cancel(self, id: str) -> Prediction | None:
        """End a prediction as canceled, at once, and return its record; None if unknown.

        A running one is final too: its worker learns of it from `withdrawn`, and kills the run
        if it must. Raises `Conflict` when it has already ended.
        """

    @abstractmethod
    async def abandon(self, id: str) -> None:
        """The caller who waited has gone: end what nobody kept and nobody else waits for.

        If it runs, it is asked to end, no more. Anything else is left alone.
        """

    @abstractmethod
    async def watch(self, id: str, seen: Seen, *, timeout: float) -> News | None:
        """What is new of a prediction to somebody who has seen so much; None if it is unknown.

        Waits up to `timeout` for the first news: an event, another status or attempt. The log
        of events is bounded and may be forgotten once the prediction has ended.
        """

    @abstractmethod
    async def delete(self, id: str) -> bool:
        """Forget an ended prediction, with its delivery; False if unknown.

        Raises `Conflict` while it has not ended.
        """

    @abstractmethod
    async def list(
        self,
        *,
        status: Status | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Kept predictions, newest first, without inputs and results; None filters nothing out.

        The cursor is stable: what is submitted meanwhile neither repeats nor hides a row.
        """

    # Runs, for workers.

    @abstractmethod
    async def claim(
        self, worker: str, model: str, *, limit: int, timeout: float, suspects: bool = True
    ) -> Sequence[Prediction]:
        """Take up to `limit` queued predictions of a model, waiting `timeout` for the first.

        Each returned one is processing, its `attempt` one higher, leased to this worker. The
        lanes high, normal and low get 8, 4 and 1 of 13 claims while all have work; within a
        lane the order is that of submission, also for those that were given back.

        Suspects (see `crash`) never share a claim with others, nor with more suspects than
        their `company` allows. Without `suspects` these are passed over: they keep their places,
        and what is behind them is taken.
        """

    async def claim_ahead(self, worker: str, model: str, *, limit: int) -> Sequence[Prediction]:
        """Take `limit` queued predictions that may wait in a replica for a moment, or none at all.

        As `claim`, without waiting; but neither suspects, nor what has a `queue_timeout` or a
        `run_timeout`, which would go wrong if it is claimed before its run begins; nor inputs of
        more than `MOST_AHEAD` bytes together. A broker that has to ask for that takes none.
        """
        return []

    @abstractmethod
    async def renew(self, worker: str, claims: Sequence[Claim]) -> set[Claim]:
        """Extend the leases of these claims, and return the lost ones.

        A lost claim was reclaimed, canceled or ended; its outcome would be refused.
        """

    @abstractmethod
    async def withdrawn(self, worker: str, *, timeout: float) -> Sequence[Withdrawal]:
        """The claims of this worker that were ended by others since it last asked.

        Waits up to `timeout` for the first. It is told of each once; `renew` tells it, too.
        """

    @abstractmethod
    async def publish(self, events: Sequence[tuple[Claim, Event]]) -> None:
        """Append events to the logs of these runs, and wake all who watch.

        Events of claims that are not the latest, or came after the end, are passed over.
        """

    @abstractmethod
    async def finish(self, ended: Sequence[tuple[Claim, Outcome]]) -> set[Claim]:
        """Record how these runs ended and wake all who wait for them; return the refused.

        An outcome is refused, and changes nothing, when its claim is not the latest or the
        prediction has ended: it came too late. A model's error is no end while the prediction
        may be retried: it is queued again, and can be claimed after a pause. So it is, up to
        `MOST_MISFITS` times, if its input was refused by another signature than had admitted it.
        """

    @abstractmethod
    async def release(self, claims: Sequence[Claim]) -> None:
        """Give predictions back unharmed, to their old places in the queue, charging nothing.

        Claims that are not the latest are passed over.
        """

    @abstractmethod
    async def crash(self, claims: Sequence[Claim], ending: str, *, log: Sequence[str] = ()) -> None:
        """Report that one process ran all of these together and died; `ending` says how.

        `log` has the last lines that it wrote.

        A single one is charged with the crash and, at `max_crashes`, fails as
        `model_crashed`. Several become suspects: queued again uncharged, and next allowed in
        company of half as many as there were. Claims that are not the latest are left alone.
        """

    # Webhooks, for the sender.

    @abstractmethod
    async def next_delivery(self, *, timeout: float) -> Delivery | None:
        """Take the delivery that is due first, waiting up to `timeout` until one is.

        It is nobody else's until it is dropped or put off. Of those to one host at most
        `MOST_TO_ONE_HOST` are taken at once, so that a receiver who does not answer holds up
        no other.
        """

    @abstractmethod
    async def drop_delivery(self, id: str) -> None:
        """A delivery that was taken has arrived, or is given up."""

    @abstractmethod
    async def put_off_delivery(self, id: str, at: float) -> None:
        """A delivery that was taken has failed: it is due again at `at`, a wall time."""

    # Upkeep, for the janitor.

    @abstractmethod
    async def reclaim(self) -> int:
        """Take back the claims whose lease has run out, as crashes of their workers; how many.

        Those that one worker ran of one model count as if one process had run them together, as far
        as the company allows that each was in.
        """

    @abstractmethod
    async def enforce_clocks(self) -> int:
        """End what is past one of its clocks, and line up what may be retried now; how many.

        What may be retried, and is past its deadline, is both at once, and counts twice.
        Workers learn from `withdrawn` what they have to stop. Deliveries that were put off until
        now can be taken again.
        """

    @abstractmethod
    async def purge(self) -> int:
        """Forget the predictions that have expired; how many."""

    # What servers and workers tell of themselves.

    @abstractmethod
    async def register_model(self, model: ModelInfo) -> None:
        """Make a model known, or a further signature of it. The first model is the default."""

    @abstractmethod
    async def models(self) -> dict[str, ModelInfo]:
        """All known models by name, the default first.

        Of a model with several signatures it is the newest that a worker has, or the newest of
        all if no worker has any. How new one is counts from its first registration.
        """

    @abstractmethod
    async def register_worker(self, worker: WorkerInfo) -> None:
        """Make a worker and the state of its replicas known, replacing what was known."""

    @abstractmethod
    async def forget_worker(self, id: str) -> None:
        """Take a worker out of the registry. Its claims are not touched."""

    @abstractmethod
    async def workers(self) -> dict[str, WorkerInfo]:
        """All known workers by id."""

    @abstractmethod
    async def stats(self) -> dict[str, ModelStats]:
        """The state of the queue of every model that is known or has predictions."""

    async def overview(self) -> Overview:
        """What `stats` and `workers` say. Where asking takes a while it may be a moment old."""
        return Overview(await self.stats(), await self.workers())

    def glance(self) -> Overview | None:
        """What `overview` says, if nobody has to be asked: as it was in this turn of the loop.

        Where asking takes a while it may be a moment old.
        """
        return None

    @abstractmethod
    def guarantee(self) -> str:
        """One sentence: what survives what, with this broker as it is set up now."""

    def degraded(self) -> Sequence[str]:
        """What it cannot do at the moment, a sentence each; nothing when all is well."""
        return ()

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of everything. All who wait get `Unavailable`; closing twice is fine."""
