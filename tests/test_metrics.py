"""The text of a scrape: what Prometheus reads, and that it reads it."""

import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.scrapes import LABELS, everything, families, value
from zypher.metrics import Metrics, Spread
from zypher.scrape import exposition

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def test_there_are_these_families_with_these_labels_and_no_others() -> None:
    found = families(everything())
    ours = {name: family for name, family in found.items() if name.startswith("zypher_")}
    assert {
        name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for name, family in ours.items()
    } == LABELS
    others = {name for name in found if name not in ours}
    assert all(name.startswith("process_") for name in others), others


def test_a_node_counts_from_0_so_that_the_first_time_is_seen() -> None:
    text = exposition(Metrics(), None, "").body.decode()
    for name in ("reclaims", "stale_outcomes"):
        assert value(text, f"zypher_{name}_total") == 0
    assert value(text, "zypher_replica_restarts_total", reason="stuck") == 0
    assert value(text, "zypher_webhook_deliveries_total", outcome="given_up") == 0


def test_prometheus_has_nothing_against_the_text() -> None:
    text = everything()
    for name, family in families(text).items():
        assert family.documentation.endswith(".") or name.startswith("process_")
        assert name.endswith("_total") == (family.type == "counter")
    if promtool := shutil.which("promtool"):
        check = [promtool, "check", "metrics"]
        done = subprocess.run(check, input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_who_takes_open_metrics_gets_that() -> None:
    body, content_type = exposition(Metrics(), None, OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    parsed = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    assert "zypher_reclaims" in {family.name for family in parsed}


def test_a_bucket_has_all_that_is_not_larger_than_its_bound() -> None:
    metrics = Metrics()
    metrics.run_seconds.of("m").observe_many([0.0005, 0.001, 0.0011, 300.0, 301.0])
    text = exposition(metrics, None, "").body.decode()

    def bucket(le: str) -> float | None:
        return value(text, "zypher_run_seconds_bucket", model="m", le=le)

    bounds = ("0.001", "0.0025", "120.0", "300.0", "+Inf")
    assert [bucket(le) for le in bounds] == [2, 3, 3, 4, 5]
    assert value(text, "zypher_run_seconds_count", model="m") == 5
    assert value(text, "zypher_run_seconds_sum", model="m") == pytest.approx(601.0026)


def test_one_by_one_or_many_at_once_is_the_same() -> None:
    values = [0.5, 1.0, 1.5, 2.0, 9.0]
    one, many = Spread([1, 2]), Spread([1, 2])
    for each in values:
        one.observe(each)
    many.observe_many(values)
    assert one.counts == many.counts == [2, 2, 1]
    assert one.sum == many.sum == sum(values)


def test_replicas_are_those_of_all_workers_together() -> None:
    text = everything()
    assert value(text, "zypher_replicas", model="m", state="ready") == 4
    assert value(text, "zypher_replicas", model="m", state="starting") == 2
    assert value(text, "zypher_replicas", model="n", state="ready") == 2
