"""What comes for Prometheus and Grafana: it asks for what there is, and is understood by both."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.pages import ROOT, blocks
from tests.scrapes import LABELS, everything, families
from zypher.metrics import Metrics
from zypher.prediction import Status
from zypher.server.problems import STATUS

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "zypher.json"
PAGE = ROOT / "docs" / "metrics.md"

# What Prometheus adds to each sample, and to those of histograms.
ADDED = {"job", "instance", "le"}

# What labels can be, where that is known.
VALUES = {
    "mode": {"sync", "async"},
    "status": {*Status},
    "state": {"queued", "processing", "ready", "starting"},
    "code": {*STATUS},
    "reason": {reason for (reason,) in Metrics().restarts},
    "outcome": {outcome for (outcome,) in Metrics().webhook_deliveries},
}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    every = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in every if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """All that anybody is told to ask."""
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    for block in blocks(PAGE, "promql"):
        yield from block.strip().split("\n\n")


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    there = families(everything())
    samples = {sample.name: name for name, family in there.items() for sample in family.samples}
    asked = re.findall(r"\b((?:zypher|process)_\w+)(?:\{([^}]*)\})?", query)
    assert asked
    grouped = re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", query)
    labels = {label.strip() for group in grouped for label in group.split(",")}
    known = ADDED.union(*(LABELS.get(samples[name], set()) for name, _ in asked))
    assert labels <= known, labels - known
    for name, matchers in asked:
        for label, values in re.findall(r'(\w+)[=!]~?"([^"]*)"', matchers):
            assert label in LABELS[samples[name]], (name, label)
            assert values == "$model" or {*values.split("|")} <= VALUES[label], values


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    plain = [q.replace("$__rate_interval", "5m").replace("$model", ".*") for q in queries()]
    assert not [query for query in plain if "$" in query]
    rules = [{"record": f"q:{place}", "expr": query} for place, query in enumerate(plain)]
    (tmp_path / "q.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": rules}]}))
    for file in (tmp_path / "q.yml", ALERTS):
        check("rules", file)


def test_prometheus_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    (config,) = blocks(PAGE, "yaml")
    (job,) = yaml.safe_load(config)["scrape_configs"]
    assert job["job_name"] == "zypher"
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(ALERTS, tmp_path)
    check("config", tmp_path / "prometheus.yml")


def check(kind: str, file: Path) -> None:
    """Have Prometheus's own tool look at a file, where it is installed."""
    if promtool := shutil.which("promtool"):
        words = [promtool, "check", kind, str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_has_a_name_of_ours_a_severity_and_a_sentence() -> None:
    for rule in alerts():
        assert rule["alert"].startswith("Zypher")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        told = {*re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])}
        assert all(
            re.search(rf"\b{label}\b", rule["expr"]) or label == "instance" for label in told
        )


def test_every_alert_is_on_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text()
    assert {*re.findall(r"`(Zypher\w+)`", page)} == {rule["alert"] for rule in alerts()}


def test_the_dashboard_is_one_that_grafana_loads() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["uid"], dashboard["title"]) == ("zypher", "Zypher")
    assert dashboard["schemaVersion"] >= 36
    source, model = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        *("datasource", "datasource", "prometheus"),
    )
    every = dashboard["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["type"] in ("stat", "timeseries")
        assert "unit" in panel["fieldConfig"]["defaults"]
        for asked in (panel, model, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        names = [target["refId"] for target in panel["targets"]]
        assert len({*names}) == len(names)
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"\b{label}\b", target["expr"]), target


def test_every_metric_is_described_and_none_that_there_is_not() -> None:
    rows = re.findall(r"^\| `(zypher_\w+)` \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    described = {name: {*re.findall(r"`(\w+)`", labels)} for name, labels in rows}
    assert described == LABELS
