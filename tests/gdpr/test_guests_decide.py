"""What guests decide, who are known by their sessions alone, counts as what customers decide does."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.artifacts.choices import ERASED, FULL, NONE, OBJECTED, RESTRICTED, SESSION, Choices
from recsys_cli.gdpr import erase, exporting
from recsys_cli.gdpr.deciding import decide
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.schema import guest_id
from recsys_cli.updates.drain import drain

from .conftest import LONG, NUMBER, Shop, shop_at
from .serving import PATIENCE, Server, serving

GUEST, SHORT = "guest-0815", "g-9"


@pytest.fixture
def visited(shop: Shop) -> Shop:
    """The shop, with guests in the store and in the version; one session is called like a customer."""
    visit(shop)
    return shop


def visit(shop: Shop) -> None:
    shop.receive(*({"session_id": one, "item_id": f"p{n}", "ts": 1_710_000_000 + n}
                   for one in (GUEST, SHORT, NUMBER, "other") for n in range(4)))  # fmt: skip
    drain(shop.store, shop.spool)
    shop.publish()


def mode_of(shop: Shop, one: str) -> str:
    """What servers see of the guest of a session."""
    secret = load_secret(shop.settings.db)
    server = Choices(shop.artifacts.root, secret)
    server.refresh()
    return server.of(user_key(secret, guest_id(one))).mode


def held(shop: Shop, one: str) -> bool:
    key = user_key(load_secret(shop.settings.db), guest_id(one))
    return find_key(read_bundle(shop.artifacts.current().path).keys, key) >= 0


@pytest.mark.parametrize("mode", [RESTRICTED, OBJECTED, NONE])
@pytest.mark.parametrize("one", [GUEST, SHORT])
def test_a_guests_decision_counts_until_it_is_lifted(visited: Shop, one: str, mode: str) -> None:
    done = decide(visited.store, visited.artifacts, visited.settings, [one], mode)
    assert (done.unknown, done.versions > 0) == ((), True)
    assert (mode_of(visited, one), held(visited, one)) == (mode, False)
    assert (mode_of(visited, "other"), held(visited, "other")) == (FULL, True)
    visited.publish()
    assert not held(visited, one)
    document = exporting.export(visited.store, visited.artifacts, visited.settings, [one])
    assert document["choices"] == [{"id": one, "choice": mode}]
    assert len(document["events"]) == 4  # kept, not used

    decide(visited.store, visited.artifacts, visited.settings, [one], FULL)
    visited.publish()
    assert (mode_of(visited, one), held(visited, one)) == (FULL, True)


def test_a_customer_decides_for_no_visit_that_is_called_like_their_number(visited: Shop) -> None:
    decide(visited.store, visited.artifacts, visited.settings, [NUMBER], RESTRICTED)
    assert (mode_of(visited, NUMBER), held(visited, NUMBER)) == (FULL, True)


def test_consent_for_the_session_takes_nothing_from_it_and_lifts_what_was_before(visited: Shop) -> None:
    decide(visited.store, visited.artifacts, visited.settings, [GUEST], RESTRICTED)
    decide(visited.store, visited.artifacts, visited.settings, [GUEST], SESSION)
    visited.publish()
    assert (mode_of(visited, GUEST), held(visited, GUEST)) == (FULL, True)
    document = exporting.export(visited.store, visited.artifacts, visited.settings, [GUEST])
    assert document["choices"] == [{"id": GUEST, "choice": SESSION}]


def test_what_a_guest_decided_before_a_customer_got_the_same_number_can_be_lifted(visited: Shop) -> None:
    decide(visited.store, visited.artifacts, visited.settings, ["99"], OBJECTED)
    visited.receive({"user_id": "99", "item_id": "p1", "ts": 1_710_000_100})
    drain(visited.store, visited.spool)
    assert mode_of(visited, "99") == OBJECTED
    assert decide(visited.store, visited.artifacts, visited.settings, ["99"], FULL).unknown == ()
    assert mode_of(visited, "99") == FULL


@pytest.mark.parametrize("rows", [True, False], ids=["with events", "with nothing but the decision"])
def test_an_erasure_ends_what_was_decided(visited: Shop, rows: bool) -> None:
    one = GUEST if rows else "guest-0816"
    decide(visited.store, visited.artifacts, visited.settings, [one], RESTRICTED)
    assert mode_of(visited, one) == RESTRICTED
    erase(visited.store, visited.artifacts, visited.settings, [one])
    assert mode_of(visited, one) == ERASED  # which ends by itself


@pytest.fixture(scope="module")
def running(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Server]]:
    state = tmp_path_factory.mktemp("running") / "state"
    shutil.copytree(full, state)
    shop = shop_at(state)
    visit(shop)
    with serving(shop) as server:
        yield shop, server


def until(changed: Callable[[], bool]) -> None:
    """Wait until a server has heard of something."""
    deadline = time.monotonic() + PATIENCE
    while not changed():
        assert time.monotonic() < deadline, "the answer does not change"
        time.sleep(0.05)


def taken(server: Server, **event: Any) -> int:
    return int(server.post("/events", {"item_id": "p1", "event_type": "view", **event})[1]["accepted"])


def test_running_servers_obey(running: tuple[Shop, Server]) -> None:
    shop, server = running
    assert server.get(f"/session/{GUEST}")["known"]
    assert taken(server, session_id=GUEST) == 1

    decide(shop.store, shop.artifacts, shop.settings, [GUEST], RESTRICTED)
    until(lambda: not server.get(f"/session/{GUEST}")["known"])
    assert taken(server, session_id=GUEST) == 0
    basket = server.get(f"/recommend?session_id={GUEST}&items=p1,p2")
    assert not basket["known"]
    ranked = server.post("/rank", {"session_id": GUEST, "items": ["p1", "p2"]})[1]
    assert not ranked["known"]
    # Nor does it become part of a profile by a log-in.
    assert not server.post(f"/sessions/{GUEST}/merge", {"user_id": LONG})[1]["merged"]
    assert taken(server, session_id=GUEST, user_id=LONG) == 1  # a customer decides for themselves
    assert server.get("/session/other")["known"]
    assert taken(server, session_id="other") == 1

    decide(shop.store, shop.artifacts, shop.settings, [GUEST], FULL)
    until(lambda: taken(server, session_id=GUEST) == 1)
    until(lambda: server.get(f"/session/{GUEST}")["known"])


def test_a_customers_session_falls_back_on_what_the_guest_of_it_decided(running: tuple[Shop, Server]) -> None:
    """With consent for the session alone, what a customer does counts as the session's."""
    shop, server = running
    decide(shop.store, shop.artifacts, shop.settings, [SHORT], OBJECTED)
    decide(shop.store, shop.artifacts, shop.settings, [NUMBER], SESSION)
    until(lambda: taken(server, session_id=SHORT, user_id=NUMBER) == 0)
    assert taken(server, session_id="other", user_id=NUMBER) == 1


def test_an_erasure_ends_though_somebody_goes_on_in_the_visit(running: tuple[Shop, Server]) -> None:
    shop, server = running
    assert taken(server, session_id="guest-4712") == 1
    erase(shop.store, shop.artifacts, shop.settings, ["guest-4712"])
    until(lambda: taken(server, session_id="guest-4712") == 0)
    assert taken(server, session_id="guest-4712", user_id=LONG) == 1
    lines = [json.loads(line) for chunk in shop.spool.read({}) for line in chunk.lines() if line.strip()]
    visits = [line.get("session_id") for line in lines if line.get("user_id") == LONG]
    assert (visits.count(None), "guest-4712" in visits) == (1, False)


def test_a_shop_may_keep_the_events_of_guests_who_object(running: tuple[Shop, Server]) -> None:
    shop, server = running
    settings = replace(shop.settings, gdpr=replace(shop.settings.gdpr, keep_events=True))
    decide(shop.store, shop.artifacts, settings, ["guest-4711"], OBJECTED)
    until(lambda: not server.get("/session/guest-4711")["known"])
    assert taken(server, session_id="guest-4711") == 1
    assert not server.get("/session/guest-4711")["known"]
