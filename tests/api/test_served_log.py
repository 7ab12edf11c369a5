"""What a real server answers ends in the log, what was seen is joined with it, and a killed server has lost neither."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

import httpx

from recsys_cli.artifacts import Artifacts, Spool, running
from recsys_cli.artifacts.running import INTERLEAVED, Experiment
from recsys_cli.experiments.sales_report import make_report
from recsys_cli.store import Store
from recsys_cli.store.attribution import Windows, attribute
from recsys_cli.updates.drain import drain, drain_served
from tests import commands


def look(server: Any, session: str, **more: Any) -> dict[str, Any]:
    """Ask for a list and report that its first three items were seen, and the first one clicked and bought."""
    answer = server.get("/recommend", session_id=session, k=5, **more)
    who = {"session_id": session, "request_id": answer["request_id"]}
    ids = [item["item_id"] for item in answer["items"]]
    events = [{**who, "item_id": i, "event_type": "impression"} for i in ids[:3]]
    events.append({**who, "item_id": ids[0], "event_type": "click"})
    events.append({"session_id": session, "item_id": ids[0], "event_type": "purchase", "price": 7.5})
    server.post("/events", {"events": events})
    return dict(answer)


def taken(shop: Any) -> tuple[Store, Artifacts]:
    store, artifacts = Store(shop.settings.db, shop.settings.store), Artifacts(shop.settings.artifacts)
    drain(store, Spool(artifacts.spool_dir))
    drain_served(store, Spool(artifacts.served_dir))
    return store, artifacts


def test_from_the_answer_to_the_sale(start: Callable[..., Any], shop: Any) -> None:
    server = start()
    answers = [look(server, f"s{n}") for n in range(4)]
    server.get("/popular", k=3)
    server.process.send_signal(signal.SIGKILL)  # what was acknowledged is on disk, with the list it was of
    server.process.wait()
    store, artifacts = taken(shop)
    with store.reading() as con:
        rows = con.execute("SELECT request_id, route, items FROM served WHERE route = '/recommend'").fetchall()
    assert {row[0] for row in rows} == {a["request_id"] for a in answers}
    totals = make_report(store, artifacts, shop.settings, 2)["totals"]
    assert (totals["seen"], totals["clicks"], totals["orders"], totals["revenue"]) == (12, 4, 4, 30.0)


def visit(url: str, key: str, name: str, acknowledged: list[tuple[str, str, str]]) -> None:
    """Ask for lists and report what was seen, until the server is gone; notes what it has acknowledged."""
    with httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=60.0) as http:
        try:
            for number in range(10_000):
                session = f"{name}-{number}"
                answer = http.get("/recommend", params={"session_id": session, "k": 3}).json()
                shown = [(session, answer["request_id"], item["item_id"]) for item in answer["items"]]
                rows = [
                    {"session_id": s, "request_id": r, "item_id": i, "event_type": "impression"} for s, r, i in shown
                ]
                if http.post("/events", json={"events": rows}).status_code == 202:
                    acknowledged += shown
        except httpx.TransportError:
            return


def test_a_server_killed_under_load_has_lost_no_impression(start: Callable[..., Any], shop: Any) -> None:
    """kill -9 in the middle of what four visitors do; then the worker's command, then the store."""
    server = start()
    acknowledged: list[tuple[str, str, str]] = []
    visitors = [Thread(target=visit, args=(server.url, server.key, f"v{n}", acknowledged)) for n in range(4)]
    for one in visitors:
        one.start()
    while len(acknowledged) < 300 and any(one.is_alive() for one in visitors):
        time.sleep(0.001)
    server.process.send_signal(signal.SIGKILL)
    for one in visitors:
        one.join()
    assert len(acknowledged) >= 300
    place = ["--db", str(shop.settings.db), "--artifacts", str(shop.settings.artifacts)]
    worker = ("update-worker", "--once", *place)
    done = commands.run(worker, cwd=shop.settings.db.parent, env=dict(os.environ), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    with Store(shop.settings.db, shop.settings.store).reading() as con:
        attribute(con, 0, 2**40, Windows())
        seen = con.execute("SELECT session_id, request_id, item_id, route FROM touch_seen").fetchall()
        rows = con.execute("SELECT session_id, request_id, item_id FROM events WHERE event_type = 'impression'")
        there = Counter(rows.fetchall())
    assert not set(acknowledged) - there.keys()
    assert max(there.values()) == 1
    assert {row[:3] for row in seen} == there.keys()
    assert {row[3] for row in seen} == {"/recommend"}  # each joined with its list


def test_taken_once_however_often_the_worker_comes(start: Callable[..., Any], shop: Any) -> None:
    server = start()
    for n in range(3):
        look(server, f"s{n}")
    counts = []
    for _ in range(2):
        store, artifacts = taken(shop)
        with store.reading() as con:
            counts.append(con.execute("SELECT count(*) FROM served").fetchone())
    assert counts[0] == counts[1] == (3,)
    server.stop()
    taken(shop)
    assert Spool(artifacts.served_dir).segments() == {}  # nobody else reads it


def test_an_experiment_begins_and_ends_within_the_second(
    start: Callable[..., Any], shop: Any, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    server, artifacts = start(), Artifacts(shop.settings.artifacts)
    one = Experiment("t", INTERLEAVED, ("served", "popular"), "salt", started_at=int(time.time()))

    def logged(session: str) -> Any:
        server.get("/recommend", session_id=session, k=4)
        store, _ = taken(shop)
        with store.reading() as con:
            return con.execute("SELECT teams, experiment FROM served WHERE experiment IS NOT NULL").fetchall()

    with artifacts.exclusive():
        running.write(artifacts.root, running.Running().with_one(one))
    found = eventually(lambda: logged("s1"))
    assert sorted(found[0][0]) == ["a", "a", "b", "b"]
    assert found[0][1] == "t"


def test_the_share_that_is_logged_is_a_setting(start: Callable[..., Any], shop: Any) -> None:
    server = start(config="[serve]\nlog_share = 0.0\n")
    look(server, "s1")
    server.stop()
    store, artifacts = taken(shop)
    with store.reading() as con:
        assert con.execute("SELECT count(*) FROM served").fetchone() == (0,)
    totals = make_report(store, artifacts, shop.settings, 2)
    assert totals["placements"][0]["placement"] == "unknown"
    assert totals["totals"]["revenue"] == 7.5
