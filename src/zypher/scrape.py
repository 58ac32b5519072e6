"""What a node has counted, and how the queues stand now, as Prometheus reads it."""

import asyncio
import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from zypher.brokers.base import Broker, Overview
from zypher.errors import PredictionError
from zypher.metrics import Counts, Metrics, Spreads

PREFIX = "zypher_"

# How long the broker has to answer, in seconds: what was counted here is told in any case.
_PATIENCE = 0.5

_process = ProcessCollector(registry=None)


class Exposition(NamedTuple):
    """The answer to a scrape."""

    body: bytes
    content_type: str


async def scrape(broker: Broker, accept: str) -> Exposition:
    """All metrics of the node of this broker, in the format that `accept` asks for.

    It answers at once: while the broker is away, without what only that knows.
    """
    now = None
    with suppress(PredictionError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            now = await broker.overview()
    return exposition(broker.metrics, now, accept)


def exposition(metrics: Metrics, now: Overview | None, accept: str) -> Exposition:
    """What was counted, and how the queues stand if that is known."""
    encode, content_type = choose_encoder(accept)
    return Exposition(encode(_Scrape(metrics, now)), content_type)


class _Scrape(Collector):
    """All families at one moment."""

    def __init__(self, metrics: Metrics, now: Overview | None) -> None:
        self._metrics = metrics
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield from map(_counters, self._metrics.counts)
        yield from map(_histograms, self._metrics.spreads)
        if self._now is not None:
            yield from _gauges(self._now)
        yield _gauge(
            "build_info",
            "1, for the version that runs.",
            ("version", "python"),
            [((version("zypher"), platform.python_version()), 1)],
        )
        yield from _process.collect()


def _counters(counts: Counts) -> Metric:
    family = CounterMetricFamily(PREFIX + counts.name, counts.text, labels=counts.labels)
    for labels, value in [*counts.items()]:  # a copy: others may count meanwhile
        family.add_metric(labels, value)
    return family


def _histograms(spreads: Spreads) -> Metric:
    family = HistogramMetricFamily(PREFIX + spreads.name, spreads.text, labels=spreads.labels)
    bounds = [*map(floatToGoString, spreads.bounds), "+Inf"]
    for labels, spread in [*spreads.items()]:
        buckets = [*zip(bounds, map(float, accumulate(spread.counts)), strict=True)]
        family.add_metric(labels, buckets, spread.sum)
    return family


def _gauges(now: Overview) -> Iterator[Metric]:
    yield _gauge(
        "queue_depth",
        "Predictions that have not ended.",
        ("model", "state"),
        [
            ((model, state), count)
            for model, stats in now.stats.items()
            for state, count in (("queued", stats.queued), ("processing", stats.processing))
        ],
    )
    yield _gauge(
        "queue_oldest_age_seconds",
        "For how long the oldest queued prediction has waited.",
        ("model",),
        [((model,), stats.oldest_queued_age) for model, stats in now.stats.items()],
    )
    replicas = [pair for worker in now.workers.values() for pair in worker.replicas.items()]
    yield _gauge(
        "replicas",
        "Replicas of all workers.",
        ("model", "state"),
        [
            (
                (model, state),
                sum(getattr(counts, state) for name, counts in replicas if name == model),
            )
            for model in dict.fromkeys([*now.stats, *(name for name, _ in replicas)])
            for state in ("ready", "starting")
        ],
    )


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for these, value in values:
        family.add_metric(these, value)
    return family
