"""What Prometheus and Grafana are given is valid, and asks for metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

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


def promtool(*args: str, said: str = "") -> str:
    """What Prometheus' own tool says, which must be content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; it comes with the package prometheus")
    done = subprocess.run([program, *args], input=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# What must be seen for how long until which alert fires, and what is not enough for it.
FIRING = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="recsys", instance="shop"}', values: '1x5 0x30'}
      - {series: 'recsys_worker_failures_in_a_row', values: '0x5 3x30'}
      - {series: 'recsys_requests_total{status="200"}', values: '0+100x35'}
      - {series: 'recsys_requests_total{status="500"}', values: '0x5 0+10x30'}
    alert_rule_test:
      - {eval_time: 5m, alertname: RecsysDown, exp_alerts: []}
      - {eval_time: 5m, alertname: RecsysErrors, exp_alerts: []}
      - eval_time: 20m
        alertname: RecsysDown
        exp_alerts:
          - exp_labels: {severity: page, job: recsys, instance: shop}
            exp_annotations:
              summary: The recommender does not answer.
              description: Is recsys serve running on shop? Its log says why it stopped.
      - eval_time: 20m
        alertname: RecsysWorkerFailing
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations:
              summary: Three passes of the update worker in a row have failed.
              description: recsys status says why.
      - eval_time: 30m
        alertname: RecsysErrors
        exp_alerts:
          - exp_labels: {severity: page}
            exp_annotations:
              summary: More than one request in twenty fails in the server.
              description: Each failure is in the server's log, with its request id.
"""


def test_prometheus_takes_the_rules_and_they_fire(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(monitoring.text("rules"), encoding="utf-8")
    (tmp_path / "firing.yml").write_text(FIRING, encoding="utf-8")
    assert "9 rules found" in promtool("check", "rules", "--lint-fatal", str(tmp_path / "rules.yml"))
    promtool("test", "rules", str(tmp_path / "firing.yml"))
    promtool("check", "metrics", said=prometheus.render().decode())


def test_grafana_s_own_library_takes_the_dashboard_and_prometheus_its_questions(tmp_path: Path) -> None:
    sdk = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="grafana-foundation-sdk is not here")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    board = sdk.Dashboard.from_json(json.loads(monitoring.text("grafana")))
    asked = [target.expr for panel in board.panels for target in panel.targets]
    assert len(asked) >= len(board.panels) >= 10
    assert {panel.type_val for panel in board.panels} <= {"timeseries", "stat"}
    rules = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}), encoding="utf-8")
    assert f"{len(asked)} rules found" in promtool("check", "rules", str(tmp_path / "asked.yml"))
