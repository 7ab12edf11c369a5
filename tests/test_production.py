"""What we give to production: the unit of systemd in the README, and compose.yaml."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
README = REPO / "README.md"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)")
def test_the_unit_leaves_little_open(tmp_path: Path) -> None:
    unit = re.search(r"```ini\n(\[Unit\].*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert unit is not None
    file = tmp_path / "recsys.service"
    file.write_text(unit[1])
    # In tenths; systemd calls up to 2 OK. Plain services have more than 9.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "offline" in done.stderr:
        pytest.skip(done.stderr.strip())  # older than 250
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "recsys.service" in done.stdout


def composed() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    tree: dict[str, Any] = yaml.safe_load((REPO / "compose.yaml").read_text(encoding="utf-8"))
    return tree


def test_containers_may_do_little() -> None:
    services = composed()["services"]
    ours = {name: one for name, one in services.items() if one.get("image") == "recsys"}
    assert set(ours) == {"serve", "worker", "monitoring"}
    for name, one in services.items():
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", [])), name
    assert all(one["read_only"] for one in ours.values())
    assert {name for name, one in ours.items() if one.get("network_mode") != "none"} == {"serve"}


def test_prometheus_of_compose_has_our_rules_and_a_key_that_may_only_look(tmp_path: Path) -> None:
    tree = composed()
    [script] = tree["services"]["monitoring"]["command"]
    recsys = tmp_path / "bin" / "recsys"
    recsys.parent.mkdir()
    recsys.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m recsys_cli "$@"\n')
    recsys.chmod(0o755)
    shop = tmp_path / "shop"
    (shop / "model_artifacts").mkdir(parents=True)  # as after a training, before which there are no keys
    environ = {**os.environ, "PATH": f"{recsys.parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    for _ in range(2):  # each time that the services start
        subprocess.run(["sh", "-ec", script], cwd=shop, env=environ, check=True, timeout=60)
        key = (shop / "monitoring" / "key").read_text()
    held = (shop / "model_artifacts" / "keys.json").read_text()
    assert hashlib.sha256(key.strip().encode()).hexdigest() in held
    assert '"scopes":["view"]' in held.replace(" ", "").replace("\n", "")
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; it comes with the package prometheus")
    config = tmp_path / "prometheus.yml"
    config.write_text(tree["configs"]["prometheus"]["content"].replace("/monitoring/", f"{shop}/monitoring/"))
    done = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 rules found" in done.stdout + done.stderr
