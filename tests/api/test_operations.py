"""The shop operated over HTTP: the same as the commands, one job at a time, whatever becomes of the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsys_cli.artifacts.audit_log import AuditLog
from recsys_cli.artifacts.jobs import Jobs
from recsys_cli.artifacts.keys import add_key


def test_a_shop_is_operated_over_http(
    shop: Any, start: Callable[..., Any], eventually: Callable[..., Any], tmp_path: Path
) -> None:
    artifacts = shop.settings.artifacts
    with shop.artifacts.exclusive():
        operator, _ = add_key(artifacts, "kim", [], "operator")
        viewer, _ = add_key(artifacts, "leo", [], "viewer")
    server = start()
    kim = {"x-api-key": operator}

    def post(what: str, body: Any, **headers: str) -> Any:
        return server.http.post(f"/operations/{what}", json=body, headers=kim | headers)

    assert post("refresh", {"kind": "update"}, **{"x-api-key": viewer}).status_code == 403
    server.post("/events", {"user_id": "newcomer", "item_id": "t1", "event_type": "purchase", "ts": 1_750_000_000})
    before = shop.artifacts.current_name()
    started = post("refresh", {"kind": "update"})
    assert started.status_code == 202, started.text
    again = post("refresh", {"kind": "train"})
    job = started.json()["job"]
    path = f"/operations/jobs/{job}"
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "job_running"
    # The server goes, and the job does not.
    assert server.stop() == 0
    server = start()
    told = eventually(lambda: (found := server.get(path))["state"] != "running" and found)
    assert (told["state"], told["exit_code"], told["result"]["outcome"]) == ("done", 0, "published"), told
    assert told["by"] == {"key": "kim", "role": "operator"}
    assert [j["job"] for j in server.get("/operations/jobs")["jobs"]] == [job]
    after = told["result"]["version"]
    assert after == shop.artifacts.current_name() != before

    rolled = post("rollback", {"model": False})
    assert (rolled.status_code, rolled.json()) == (200, {"version": before, "before": after})
    assert eventually(lambda: server.get("/status")["version"] == before)
    assert post("promote", {"version": after}).json() == {"version": after}
    assert eventually(lambda: server.get("/status")["version"] == after)
    wrong = post("promote", {"version": "v999999"})
    assert wrong.status_code == 409
    assert "v999999" in wrong.json()["error"]["message"]
    assert post("promote", {"version": "--help"}).status_code == 409
    assert server.http.get("/operations/jobs/0000000000000000").status_code == 404

    # One that is killed is told to be lost, and the next begins.
    job = post("refresh", {"kind": "train", "model": "popular"}).json()["job"]
    runner = next(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and job in _command_line(p.name))
    os.killpg(runner, signal.SIGKILL)
    assert eventually(lambda: server.get(f"/operations/jobs/{job}")["state"] == "lost")
    job = post("refresh", {"kind": "train", "model": "nonsense"}).json()["job"]
    told = eventually(lambda: (found := server.get(f"/operations/jobs/{job}"))["state"] != "running" and found)
    assert told["state"] == "failed"
    assert told["result"]["error"]["message"]

    held = [
        (e["by"].get("key") or e["by"].get("for"), e["action"], e["outcome"]) for e in AuditLog(artifacts).entries()
    ]
    assert ("kim", "POST /operations/rollback", "done") in held
    assert ("key kim", "models rollback", "done") in held
    assert ("kim", "POST /operations/refresh", "failed: job_running") in held
    assert ("leo", "POST /operations/refresh", "failed: refused") in held
    for path in Jobs(artifacts).path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def _command_line(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
