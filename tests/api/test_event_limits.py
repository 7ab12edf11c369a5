"""Events have ceilings: of a key, an address, a person, in all; beyond them 429, and nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.api.access import Caller, TooMany
from recsys_cli.api.event_limits import EventLimits
from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.serving.live_events import MOST_REMEMBERED, Overlay, guest_key
from recsys_cli.settings import ServeSettings

Start = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]
OWNER = Caller(frozenset(("ingest",)))


def of(person: str, count: int) -> list[dict[str, Any]]:
    return [{"session_id": person}] * count


def test_of_one_person(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("recsys_cli.api.access.time.monotonic", lambda: now)
    limits = EventLimits(ServeSettings(session_events=100))
    limits.check(OWNER, of("robot", 100))
    with pytest.raises(TooMany) as refused:
        limits.check(OWNER, of("robot", 1))
    assert refused.value.retry_after == 36
    limits.check(OWNER, of("somebody", 1))
    now += 36
    limits.check(OWNER, of("robot", 1))


def test_of_a_key_and_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_cli.api.access.time.monotonic", lambda: 1000.0)
    limits = EventLimits(ServeSettings(event_rate=100, session_events=0))
    page = frozenset(("page", "ingest"))
    for number in range(10):
        limits.check(Caller(page, "s", "page", f"10.0.0.{number}"), of("x", 20))
    with pytest.raises(TooMany):  # the key's: two seconds' worth
        limits.check(Caller(page, "s", "page", "10.0.0.99"), of("x", 1))
    limits.check(Caller(page, "s", "other", "10.0.0.1"), of("x", 20))
    with pytest.raises(TooMany):  # the address's: a tenth
        limits.check(Caller(page, "s", "other", "10.0.0.1"), of("x", 1))
    for _ in range(10):
        limits.check(OWNER, of("x", 1000))


@pytest.mark.parametrize(("waiting", "days", "said"), [(11, 0, "11 bytes"), (1, 31, "waited 31 days")])
def test_of_what_waits_for_the_worker(waiting: int, days: int, said: str) -> None:
    limits = EventLimits(ServeSettings(max_spool=10))
    limits.note_waiting(waiting, days * 86_400)
    with pytest.raises(TooMany, match=said):
        limits.check(OWNER, of("x", 1))
    limits.note_waiting(0, 0)
    limits.check(OWNER, of("x", 1))


def test_what_is_remembered_of_one_person(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    count = 50 * MOST_REMEMBERED
    line = b'{"t":"event","session_id":"s","item_id":"i%d","ts":1750000000,"event_type":"%b"}'
    writer.append([line % (n, b"impression" if n % 2 else b"view") for n in range(count)])
    writer.close()
    overlay = Overlay(Spool(tmp_path / "spool"), {}, "secret")
    for _ in overlay.read():
        pass
    key = guest_key("secret", "s")
    assert overlay.heard_of(key) == count // 2
    assert MOST_REMEMBERED <= len(overlay.people[key]) < 2 * MOST_REMEMBERED
    assert overlay.people[key][-1].item_id == f"i{count - 2}"
    assert len(overlay.shown[key]) == MOST_REMEMBERED
    assert f"i{count - 1}" in overlay.shown[key]


def test_a_backlog_is_not_kept_for_the_next_version_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_cli.serving.live_events.MOST_RECENT", 1000)
    writer = SpoolWriter(tmp_path / "spool")
    line = b'{"t":"event","session_id":"s%d","item_id":"i","ts":1750000000,"event_type":"view"}'

    def heard(before: Overlay | None = None) -> Overlay:
        overlay = Overlay(Spool(tmp_path / "spool"), {}, "secret")
        taken = before is not None and overlay.follows(before)
        for _ in overlay.take_over(before) if taken and before else overlay.read():
            pass
        return overlay

    writer.append([line % n for n in range(900)])
    few = heard()
    assert (len(few.recent), len(heard(few).people)) == (900, 900)
    writer.append([line % n for n in range(900, 3000)])
    many = heard()
    assert (len(many.recent), len(many.people)) == (0, 3000)
    assert not Overlay(Spool(tmp_path / "spool"), {}, "secret").follows(many)
    assert len(heard(many).people) == 3000  # read again
    writer.close()


def test_over_http(start: Start, eventually: Eventually) -> None:
    server = start(config="[serve]\nsession_events = 50\nmax_spool = 20000")
    event = {"session_id": "robot", "item_id": "t0", "event_type": "view"}
    assert server.post("/events", {"events": [event] * 50})["accepted"] == 50
    refused = server.http.post("/events", json=event)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 72
    sent = 50
    deadline = time.monotonic() + 60
    while True:  # others, until what waits for the worker is too much
        reply = server.http.post("/events", json={"events": [event | {"session_id": f"s{sent}"}] * 10})
        if reply.status_code == 429:
            break
        sent += 10
        assert time.monotonic() < deadline
    assert "wait for the update worker" in reply.json()["error"]["message"]
    assert "wait for the update worker" in server.get("/health")["events"]
    paths = server.shop.artifacts.spool_dir.glob("*.jsonl")
    assert sum(path.read_bytes().count(b"\n") for path in paths) == sent, "nothing acknowledged is lost"
    assert server.http.get("/popular").status_code == 200
