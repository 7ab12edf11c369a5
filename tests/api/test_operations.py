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


def test_merchandisers_change_placements_and_rules_in_the_file(
    shop: Any, start: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    with shop.artifacts.exclusive():
        key, _ = add_key(shop.settings.artifacts, "kim", [], "merchandiser")
    config = '# ours\n[placements.home]\nkind = "popular"\nk = 2\n\n[rules]\nmax_per_brand = 2\n'
    server = start(config=config)
    file = server.log.parent / "recsys.toml"
    kim = {"x-api-key": key}

    def shown(name: str) -> Any:
        return server.http.get("/recommend", params={"placement": name}).json()["items"]

    assert len(shown("home")) == 2
    reply = server.http.put("/placements/home", json={"kind": "popular", "k": 3, "title": "Käse"}, headers=kim)
    assert reply.status_code == 200, reply.text
    assert reply.json()["before"] == {"kind": "popular", "k": 2}
    assert eventually(lambda: len(shown("home")) == 3)
    assert file.read_text().startswith("# ours\n[placements.home]\n")
    good = file.read_bytes()
    for body in (
        {"kind": "nonsense"},
        {"k": "x"},
        {"filter": "colour_of_moon = 1"},
        {"filter": "price <"},
        {"k": None},
    ):
        wrong = server.http.put("/placements/home", json=body, headers=kim)
        assert wrong.status_code == 400, body
        assert wrong.json()["error"]["message"]
    assert file.read_bytes() == good
    reply = server.http.patch("/rules", json={"max_per_brand": None, "diversity": 0.3}, headers=kim)
    assert reply.json()["before"] == {"max_per_brand": 2, "diversity": 0.0}
    assert "max_per_brand" not in file.read_text()
    assert server.http.patch("/rules", json={"diversity": 7}, headers=kim).status_code == 400
    assert server.http.patch("/rules", json={"campaigns": []}, headers=kim).status_code == 400
    # What JSON may hold and neither the file nor the audit log can, stops nobody after it.
    deep = b'{"title":' + b"[" * 700 + b"]" * 700 + b"}"
    as_json = kim | {"content-type": "application/json"}
    assert server.http.put("/placements/home", content=deep, headers=as_json).status_code == 400
    assert server.http.patch("/rules", json={"diversity": 2**70}, headers=kim).status_code == 400
    assert server.http.patch("/rules", json={"k": 2**70}, headers=kim).status_code == 400
    assert server.http.delete("/placements/home", headers=kim).status_code == 200
    assert eventually(lambda: server.get("/placements")["placements"] == [])
    assert server.http.delete("/placements/home", headers=kim).status_code == 404
    entry = next(AuditLog(shop.settings.artifacts).entries())
    assert entry["facts"]["name"] == "home"
    assert entry["facts"]["change"]["k"] == 3


def _command_line(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
