"""Experiments on a real server: visitors are answered by their arm, and what goes wrong ends it by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from recsys_cli.artifacts import Artifacts, running
from recsys_cli.experiments import verdicts
from recsys_cli.serving.live_events import guest_key
from tests import commands
from tests.api.test_served_log import taken

VISITORS = 200


def begin(shop: Any, name: str, *arms: str) -> running.Experiment:
    """As `recsys experiment start` has it."""
    artifacts = Artifacts(shop.settings.artifacts)
    one = running.Experiment(name, running.SPLIT, (arms[0], arms[1]), f"salt {name}", started_at=int(time.time()))
    with artifacts.exclusive():
        running.write(artifacts.root, running.read(artifacts.root).with_one(one))
    return one


def command(shop: Any, *args: str) -> str:
    place = ["--db", str(shop.settings.db), "--artifacts", str(shop.settings.artifacts)]
    done = commands.run((*args, *place), cwd=shop.settings.db.parent, env=dict(os.environ), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


Choice = Callable[[int, int], bool]  # of a visitor's number and arm


def visit(server: Any, one: running.Experiment, buys: Choice, looks: Choice) -> int:
    """Guests who ask for a list, see its first item, and buy it or do not, as they choose; how many are in arm b."""
    events, of_b = [], 0
    for number in range(VISITORS):
        session = f"{one.name}-{number}"
        arm = running.arm_of(one, guest_key(server.shop.secret, session))
        assert arm is not None
        of_b += arm
        answer = server.get("/recommend", session_id=session, k=2)
        event = {"session_id": session, "item_id": answer["items"][0]["item_id"], "request_id": answer["request_id"]}
        if looks(number, arm):
            events.append({**event, "event_type": "impression"})
            if buys(number, arm):
                events.append({**event, "event_type": "purchase", "price": 25.0})
    for start in range(0, len(events), 200):
        server.post("/events", {"events": events[start : start + 200]})
    return of_b


def logged(shop: Any, name: str = "loses") -> dict[str, int]:
    """Answers of each arm of an experiment that the server has logged."""
    store, _ = taken(shop)
    with store.reading() as con:
        rows = con.execute("SELECT arm, count(*) FROM served WHERE experiment = ? GROUP BY 1", [name]).fetchall()
    return dict(rows)


def test_a_losing_arm_and_a_broken_split_are_stopped(
    start: Callable[..., Any], shop: Any, tmp_path: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, artifacts = start(), Artifacts(shop.settings.artifacts)
    one = begin(shop, "loses", "served", "rules:diversity=0.9")
    # Asked until the server knows of the experiment, however often that is: in arm a, which is not counted below.
    first = next(s for s in map("first-{}".format, range(99)) if not running.arm_of(one, guest_key(shop.secret, s)))
    assert eventually(lambda: server.get("/recommend", session_id=first, k=2) and logged(shop))
    of_b = visit(server, one, lambda n, arm: not arm and n % 3 > 0, lambda n, arm: True)
    assert 0.4 < of_b / VISITORS < 0.6
    monkeypatch.setenv("RECSYS_UPDATE_ON_ALERT", f"cat > {tmp_path / 'alert'}")
    told = command(shop, "update-worker", "--once")
    assert "'loses' was stopped: 'rules:diversity=0.9' sells less." in told
    assert "sells less" in (tmp_path / "alert").read_text()
    ended = running.read(artifacts.root).get("loses")
    assert ended.state == running.STOPPED
    arms = logged(shop)
    assert arms["b"] == of_b

    def same() -> bool:  # everybody gets the served lists again, within a second
        server.get("/recommend", session_id="loses-1", k=2)
        before, _ = logged(shop), server.get("/recommend", session_id="loses-2", k=2)
        return logged(shop) == before

    assert eventually(same)
    # Cards of one arm are hardly ever seen: a script of the page breaks there, say.
    two = begin(shop, "broken", "served", "popular")
    # By its name: on a busy machine the last lines of the first are taken now.
    assert eventually(lambda: server.get("/recommend", session_id="second", k=2) and logged(shop, "broken"))
    visit(server, two, lambda n, arm: n % 5 == 0, lambda n, arm: not arm or n % 4 == 0)
    store, artifacts = taken(shop)
    (told,) = verdicts.watch(store, artifacts, shop.settings)
    assert "'broken' was stopped: visitors are not split in halves" in told
