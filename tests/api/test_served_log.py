"""What a real server answers ends in the log, what was seen is joined with it, and a killed server has lost neither."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from recsys_cli.artifacts import Artifacts, Spool, running
from recsys_cli.artifacts.running import INTERLEAVED, Experiment
from recsys_cli.experiments.sales_report import make_report
from recsys_cli.store import Store
from recsys_cli.updates.drain import drain, drain_served


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
