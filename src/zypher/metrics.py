"""What a node counts: how often things happen, and how long they take.

Each is counted by the one node that makes it happen, so that the sum over all nodes is true:
`docs/metrics.md` says which that is. To count is an addition or two, because every request does;
Prometheus's text is made of it when somebody asks (`zypher.scrape`).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from time import perf_counter
from typing import TypeVar

from zypher.prediction import Prediction, Status

T = TypeVar("T")

Labels = tuple[str, ...]

# Upper bounds of what is told apart: seconds of predictions, seconds of calls, and items.
_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
_SHORT_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Counts(Counter[Labels]):
    """A family of counters: how often something has happened, by its labels.

    What is `known` to be a value of its one label counts from 0: Prometheus does not see the first
    time of something that it has never heard of.
    """

    def __init__(
        self, name: str, text: str, labels: Labels = (), known: Sequence[str] = ()
    ) -> None:
        super().__init__({(value,): 0 for value in known})
        self.name = name
        self.text = text
        self.labels = labels
        if not labels:
            self[()] = 0

    def count(self, *labels: str, by: int = 1) -> None:
        """It has happened once more, or so many times."""
        self[labels] += by


class Spread:
    """How values are spread over some buckets, each told by its upper bound."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last one for what is beyond all bounds
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """There was this value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def observe_many(self, values: Sequence[float]) -> None:
        """There were these values."""
        bounds, counts = self._bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.sum += sum(values)


class Spreads(dict[Labels, Spread]):
    """A family of histograms: how the values of something are spread, by its labels."""

    def __init__(
        self, name: str, text: str, labels: Labels, bounds: Sequence[float] = _SECONDS
    ) -> None:
        super().__init__()
        self.name = name
        self.text = text
        self.labels = labels
        self.bounds = bounds

    def of(self, *labels: str) -> Spread:
        """The one with these labels."""
        return self[labels]

    def __missing__(self, labels: Labels) -> Spread:
        spread = self[labels] = Spread(self.bounds)
        return spread


class Metrics:
    """Everything that one node counts."""

    def __init__(self) -> None:
        self.predictions = Counts(
            "predictions", "Predictions that have ended.", ("model", "mode", "status")
        )
        self.prediction_seconds = Spreads(
            "prediction_duration_seconds",
            "From the submission of a prediction to its end.",
            ("model", "mode"),
        )
        self.queue_wait = Spreads(
            "queue_wait_seconds",
            "From the submission of a prediction to its first run.",
            ("model",),
        )
        self.run_seconds = Spreads("run_seconds", "One run, in its replica.", ("model",))
        self.batch_size = Spreads(
            "batch_size", "Predictions in one call of a batched model.", ("model",), _ITEMS
        )
        self.restarts = Counts(
            "replica_restarts",
            "Replicas that were, or are to be, replaced.",
            ("reason",),
            known=("crashed", "stuck", "unhealthy", "recycled", "setup", "reload"),
        )
        self.reclaims = Counts(
            "reclaims", "Claims that were taken back from workers that are gone."
        )
        self.stale_outcomes = Counts(
            "stale_outcomes", "Outcomes that came after the end of their prediction."
        )
        self.crashes = Counts("crashes", "Runs that died with their process.", ("model",))
        self.upgrades = Counts("upgrades", "Synchronous calls that became a 202.", ("model",))
        self.rejections = Counts("rejections", "Predictions that were not taken in.", ("code",))
        self.webhook_deliveries = Counts(
            "webhook_deliveries",
            "Calls of webhooks.",
            ("outcome",),
            known=("delivered", "failed", "given_up"),
        )
        self.broker_seconds = Spreads(
            "broker_seconds", "What the broker took for a verb.", ("verb",), _SHORT_SECONDS
        )

    @property
    def counts(self) -> Iterable[Counts]:
        """All families of counters."""
        return [family for family in vars(self).values() if isinstance(family, Counts)]

    @property
    def spreads(self) -> Iterable[Spreads]:
        """All families of histograms."""
        return [family for family in vars(self).values() if isinstance(family, Spreads)]

    def began(self, model: str, claimed: Sequence[Prediction]) -> None:
        """These were claimed; what was claimed before does not begin again."""
        self.queue_wait.of(model).observe_many(
            [
                max(0.0, record.started - record.created)
                for record in claimed
                if record.attempt == 1 and record.started is not None
            ]
        )

    def ended(self, model: str, status: Status, took: Sequence[float], *, waits: bool) -> None:
        """Some have ended, and took so many seconds each; `waits`: callers did until then."""
        mode = "sync" if waits else "async"
        self.predictions[model, mode, status] += len(took)
        self.prediction_seconds[model, mode].observe_many(took)

    async def timed(self, verb: str, asked: Awaitable[T]) -> T:
        """What the broker answers, noting how long it took, or took to fail."""
        begun = perf_counter()
        try:
            return await asked
        finally:
            self.broker_seconds[verb,].observe(perf_counter() - begun)
