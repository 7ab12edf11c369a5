"""Events over HTTP: taken once on disk, live everywhere within a second."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys_cli.settings_sources import load
from recsys_cli.store import Store

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]


def ids(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def spooled(shop: Any) -> list[dict[str, Any]]:
    paths = sorted(shop.artifacts.spool_dir.glob("*.jsonl"))
    # A server that was killed may have left half a line, which nobody was told was taken.
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


def test_an_event_is_on_disk_and_counts_at_once(start: Start, eventually: Eventually) -> None:
    server = start()
    assert server.get("/recommend", user_id="x")["fallback"]
    taken = server.post("/events", {"user_id": "x", "item_id": "t0", "qty": 2})
    assert (taken["accepted"], taken["refused"]) == (1, 0)
    line = spooled(server.shop)[-1]
    assert (line["t"], line["user_id"], line["item_id"], line["qty"]) == ("event", "x", "t0", 2)
    assert line["event_type"] == "purchase"
    assert eventually(lambda: not server.get("/recommend", user_id="x", k=3)["fallback"])
    assert {i[0] for i in ids(server.get("/recommend", user_id="x", k=3))} <= {"t", "n"}


def test_batches_are_taken_whole_or_not_at_all(start: Start) -> None:
    server = start()
    good = {"session_id": "s", "item_id": "t0", "event_type": "view"}
    assert server.post("/events", {"events": [good] * 3})["accepted"] == 3
    reply = server.http.post("/events", json={"events": [good, good | {"ts": "soon"}]})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("events[1].ts must be")
    assert len(spooled(server.shop)) == 3


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"item_id": "t0"}, "user_id and session_id are both missing"),
        ({"user_id": "x", "item_id": "t0", "duration_ms": 900}, "duration_ms belongs to a view, and this is a"),
        (
            {"user_id": "x", "item_id": "t0", "event_type": "view", "duration_ms": -1},
            "duration_ms must be a whole number",
        ),
        ({"user_id": "x"}, "'item_id' is missing"),
        ({"user_id": 7, "item_id": "t0"}, "user_id must be text"),
        ({"user_id": "x", "item_id": "a\nb"}, "control characters"),
        ({"user_id": "x", "item_id": "t0", "ts": 1_750_000_000_000}, "ts"),
        ({"user_id": "x", "item_id": "t0", "ts": -1}, "ts"),
        ({"user_id": "x", "item_id": "t0", "qty": 0}, "qty"),
        ({"user_id": "x", "item_id": "t0", "qty": True}, "qty"),
        ({"user_id": "x", "item_id": "t0", "event_type": "dream"}, "event_type"),
        ({"user_id": "x", "item_id": "t0", "price": -1}, "price"),
        ({"user_id": "x", "item_id": "t0", "colour": "red"}, "no field 'colour'"),
        ({"events": []}, "events must be a list"),
        ({"events": [{"item_id": "t0", "user_id": "x"}], "user_id": "x"}, "no field 'user_id'"),
    ],
)
def test_what_does_not_fit_is_told(server: Any, event: Any, said: str) -> None:
    reply = server.http.post("/events", json=event)
    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


def test_events_of_1970_are_refused(start: Start) -> None:
    server = start(config='[ingest]\nearliest = "2001-01-01"')
    event = {"user_id": "a1", "item_id": "t0"}
    for ts, said in ((0, "2001-01-01"), (978_307_199, "2001-01-01")):
        reply = server.http.post("/events", json={"events": [event, event | {"ts": ts}]})
        assert reply.status_code == 400
        assert reply.json()["error"]["message"] == f"The ts of event 1, {ts}, is before {said}."
    server.post("/events", event | {"ts": 978_307_200})
    assert server.get("/status")["loops"]["reader of received events"] == "running"
    assert "recsys_loop_failures_in_a_row{" in server.http.get("/metrics").text


def test_an_event_posted_to_one_process_counts_in_all(start: Start) -> None:
    server = start("--workers", "2")
    for number in range(5):
        user = f"new{number}"
        server.post("/events", {"user_id": user, "item_id": "d0"})
        deadline = time.monotonic() + 60  # on a busy machine; the benchmark measures the second
        agreed = 0
        # Every request on a connection of its own may meet the other process.
        while agreed < 12 and time.monotonic() < deadline:
            body = httpx.get(
                f"{server.url}/recommend", params={"user_id": user, "k": 1}, headers=server.header, timeout=60
            ).json()
            agreed = agreed + 1 if not body["fallback"] else 0
        assert agreed == 12


def test_merging_a_session(start: Start, eventually: Eventually) -> None:
    server = start()
    server.post("/events", {"session_id": "s", "item_id": "g1", "event_type": "cart"})
    assert eventually(lambda: server.get("/session/s", k=2)["known"])
    assert server.post("/sessions/s/merge", {"user_id": "x"})["merged"]
    assert eventually(lambda: not server.get("/session/s", k=2)["known"])
    assert {i[0] for i in ids(server.get("/recommend", user_id="x", k=2))} == {"g"}


@pytest.mark.parametrize("session", ["s%0a1", "%20s", "s%00", "x" * 257])
def test_merging_takes_the_ids_that_events_take(server: Any, session: str) -> None:
    before = len(spooled(server.shop))
    assert server.http.post(f"/sessions/{session}/merge", json={"user_id": "x"}).status_code == 400
    assert server.http.post("/sessions/s/merge", json={"user_id": "x "}).status_code == 400
    assert len(spooled(server.shop)) == before


def test_ids_with_slashes_are_whole_ids(start: Start, eventually: Eventually) -> None:
    server = start()
    assert server.http.put("/items/AB%2F12", json={"title": "A number", "price": 3}).status_code == 202
    assert spooled(server.shop)[-1]["item_id"] == "AB/12"
    server.post("/events", {"user_id": "a/b", "item_id": "g1", "event_type": "cart"})
    server.post("/events", {"session_id": "s/1 ü%2F", "item_id": "g1", "event_type": "cart"})
    assert eventually(lambda: server.http.get("/users/a%2fb").status_code == 200)
    assert server.get("/users/a%2fb")["user_id"] == "a/b"
    assert eventually(lambda: server.get("/session/s%2F1%20%C3%BC%252F", k=2)["known"])
    assert server.post("/sessions/s%2F1%20%C3%BC%252F/merge", {"user_id": "x"})["merged"]
    assert spooled(server.shop)[-1]["session_id"] == "s/1 ü%2F"
    assert 'recsys_requests_total{route="/items/{item_id}"' in server.http.get("/metrics").text
    assert server.http.get("/items%2Ft0").status_code == 404


@pytest.mark.parametrize(
    ("more", "hint"),
    [({"qty": -1}, "refund"), ({"ts": 1_750_000_000_000}, "epoch seconds"), ({"position": "x"}, "number")],
)
def test_what_is_said_is_about_what_is_wrong(server: Any, more: Any, hint: str) -> None:
    reply = server.http.post("/events", json={"user_id": "x", "item_id": "t0", **more})
    assert hint in " ".join([reply.json()["error"]["message"], reply.json()["error"]["hint"]])


def test_the_catalogue_changes_at_once(start: Start, eventually: Eventually) -> None:
    server = start()
    assert server.http.patch("/items/nope", json={"price": 1}).status_code == 404
    assert server.http.patch("/items/g0", json={"price": 77.5, "availability": False}).status_code == 202
    assert eventually(lambda: server.get("/items/g0")["price"] == 77.5)
    assert ids(server.get("/popular", include="g0")) == []
    assert server.http.put("/items/g0", json={"availability": True}).status_code == 202
    assert eventually(lambda: server.get("/popular", include="g0")["items"])
    assert server.get("/popular", include="g0")["items"][0]["price"] == 77.5
    assert server.http.delete("/items/g0").status_code == 202
    assert eventually(lambda: server.get("/items/g0")["retired"])
    assert ids(server.get("/popular", include="g0")) == []
    again = server.http.delete("/items/g0")
    assert again.status_code == 404
    assert "was removed from the catalogue" in again.json()["error"]["message"]
    for body in ({"price": "1"}, {"price": -1}, {"colour": "red"}, {}, {"availability": 1}, {"attributes": []}):
        assert server.http.put("/items/g0", json=body).status_code == 400, body


def test_acknowledged_events_survive_kill_9(start: Start, eventually: Eventually) -> None:
    server = start("--workers", "2")
    acknowledged: list[str] = []

    def stream() -> None:
        with httpx.Client(base_url=server.url, headers=server.header, timeout=60) as http:
            for number in range(100_000):
                name = f"{threading.get_ident()}-{number}"
                try:
                    if http.post("/events", json={"user_id": name, "item_id": "t0"}).status_code == 202:
                        acknowledged.append(name)
                except httpx.TransportError:
                    return

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(acknowledged) > 200)
    server.process.kill()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive()
    found = [line["user_id"] for line in spooled(server.shop)]
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))


def test_a_stop_loses_nothing(start: Start) -> None:
    server = start()
    server.post("/events", {"user_id": "x", "item_id": "t0"})
    assert server.stop() == 0
    assert len(spooled(server.shop)) == 1


def test_the_worker_takes_what_the_server_took(start: Start, recsys: Any, eventually: Eventually) -> None:
    server = start()
    server.post("/events", {"user_id": "fresh", "item_id": "t0"})
    server.post("/events", {"session_id": "guest", "item_id": "c0", "event_type": "view"})
    invented = {"session_id": "x", "item_id": "BUY-CHEAP-AT-EVIL.example", "event_type": "view"}
    server.post("/events", invented | {"ts": 1_750_000_000})
    server.http.put("/items/brandnew", json={"title": "Brand new", "category": "tea"})
    state = {"RECSYS_DB": str(server.shop.settings.db), "RECSYS_ARTIFACTS": str(server.shop.settings.artifacts)}
    done = recsys("update-worker", "--once", **state)
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: server.get("/ready")["version"] == "v000002")
    assert not server.get("/recommend", user_id="fresh", k=2)["fallback"]
    assert not server.get("/session/guest", k=2)["fallback"]
    newest = server.get("/new", k=1, explain="true")["items"][0]
    assert (newest["title"], newest["source"]) == ("Brand new", "new")
    assert newest["reason"].startswith("New since 20")
    for path in ("/new", "/trending", "/popular", "/session/x"):
        assert invented["item_id"] not in ids(server.get(path, k=100))
    settings = load({"db": str(server.shop.settings.db)}, environ={})
    with Store(Path(settings.db), settings.store).reading() as con:
        assert con.execute("SELECT count(*) FROM events WHERE user_id = 'fresh'").fetchone() == (1,)
