"""What a scrape says, read as Prometheus reads it."""

from collections.abc import Mapping

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from zypher.brokers.base import ModelStats, Overview, ReplicaCounts, WorkerInfo
from zypher.metrics import Metrics
from zypher.scrape import exposition

# The labels of all families of ours, by the name of the family.
LABELS: Mapping[str, set[str]] = {
    "zypher_predictions_total": {"model", "mode", "status"},
    "zypher_prediction_duration_seconds": {"model", "mode"},
    "zypher_queue_wait_seconds": {"model"},
    "zypher_run_seconds": {"model"},
    "zypher_queue_depth": {"model", "state"},
    "zypher_queue_oldest_age_seconds": {"model"},
    "zypher_batch_size": {"model"},
    "zypher_replicas": {"model", "state"},
    "zypher_replica_restarts_total": {"reason"},
    "zypher_reclaims_total": set(),
    "zypher_stale_outcomes_total": set(),
    "zypher_crashes_total": {"model"},
    "zypher_upgrades_total": {"model"},
    "zypher_rejections_total": {"code"},
    "zypher_webhook_deliveries_total": {"outcome"},
    "zypher_broker_seconds": {"verb"},
    "zypher_build_info": {"version", "python"},
}


def families(text: str) -> dict[str, Metric]:
    """The families of a scrape, by name."""
    found = list(text_string_to_metric_families(text))
    return {name + ("_total" if m.type == "counter" else ""): m for m in found for name in [m.name]}


def value(text: str, sample: str, **labels: str) -> float | None:
    """The value of a sample with these labels; None if there is none."""
    for family in families(text).values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return one.value
    return None


def everything() -> str:
    """A scrape in which each family has a sample."""
    metrics = Metrics()
    for counts in metrics.counts:
        counts.count(*counts.labels)
    for spreads in metrics.spreads:
        spreads.of(*spreads.labels).observe_many([0.002, 0.02, 1_000_000.0])
    replicas = {"m": ReplicaCounts(ready=2, starting=1), "n": ReplicaCounts(ready=1)}
    workers = {
        id: WorkerInfo(id=id, host="h", pid=1, replicas=replicas) for id in ("one", "another")
    }
    stats = {"m": ModelStats(queued=3, processing=2, oldest_queued_age=1.5)}
    return exposition(metrics, Overview(stats, workers), "").body.decode()
