"""What Prometheus and Grafana are given is valid, and asks for metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.metrics import MetricWrapperBase

from recsys_cli.api import prometheus
from recsys_cli.experiments import monitoring

METRIC = re.compile(r"\brecsys_[a-z_]+")


def served() -> set[str]:
    """Names of all samples that GET /metrics can have."""
    names: set[str] = set()
    for metric in vars(prometheus).values():
        if isinstance(metric, MetricWrapperBase | prometheus.Served):
            for family in metric.describe():
                names |= {family.name, *(f"{family.name}_{end}" for end in ("total", "bucket", "count", "sum"))}
    return names


def test_rules_are_yaml_with_what_prometheus_wants() -> None:
    yaml = pytest.importorskip("yaml")
    for group in yaml.safe_load(monitoring.text("rules"))["groups"]:
        assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])
        for rule in group["rules"]:
            assert rule["expr"].count("(") == rule["expr"].count(")")
            assert set(rule["annotations"]) == {"summary", "description"}
            assert rule["labels"]["severity"] in ("page", "warn")


def test_the_dashboard_is_json_with_panels() -> None:
    board = json.loads(monitoring.text("grafana"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) >= 10
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert json.loads(monitoring.text("rules", as_json=True))["rules"] == monitoring.text("rules")


@pytest.mark.parametrize("kind", sorted(monitoring.FILES))
def test_every_metric_that_is_asked_for_is_served(kind: str) -> None:
    asked = set(METRIC.findall(monitoring.text(kind)))
    assert asked - served() == set()


def test_places_are_bounded_and_summed() -> None:
    """A shop that names a placement after every page must not fill Prometheus."""
    rows = [
        {"placement": f"p{n}", "experiment": "", "arm": "", "seen": n, "clicks": 1, "orders": 0, "revenue": 0.5}
        for n in range(prometheus.MOST_PLACES + 10)
    ]
    prometheus.observe_report({"rows": [*rows, {**rows[-1], "arm": "a", "experiment": "t"}], "experiments": []})
    lines = [line for line in prometheus.render().decode().splitlines() if line.startswith("recsys_lists_clicks{")]
    assert len(lines) == prometheus.MOST_PLACES + 1
    assert sum(float(line.split()[-1]) for line in lines) == len(rows) + 1
    assert any('arm="t a"' in line for line in lines)
    prometheus.observe_report({})
