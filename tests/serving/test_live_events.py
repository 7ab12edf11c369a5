"""What was heard since the version counts at once, and what was forgotten no longer does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.serving import Engine, Filters, Request
from recsys_cli.serving.live_events import Overlay

NOW = 1_750_000_100
Live = Callable[..., Engine]


def event(item: str, kind: str = "purchase", **more: Any) -> dict[str, Any]:
    return {"t": "event", "item_id": item, "ts": NOW, "qty": 1, "event_type": kind, **more}


def test_a_stranger_is_one_no_longer(live: Live) -> None:
    engine = live()
    assert engine.recommend(Request(user_id="x")).fallback
    engine.hear(event("t0", user_id="x"))  # type: ignore[attr-defined]
    answer = engine.recommend(Request(user_id="x", k=3))
    assert answer.known
    assert {i[0] for i in answer.item_ids} <= {"t", "n"}
    assert "t0" not in answer.item_ids


def test_a_purchase_takes_the_item_out_of_the_list(live: Live) -> None:
    engine = live()
    first = engine.recommend(Request(user_id="g2", k=1)).item_ids[0]
    engine.hear(event(first, user_id="g2"))  # type: ignore[attr-defined]
    assert first not in engine.recommend(Request(user_id="g2", k=40)).item_ids
    assert first in engine.recommend(Request(user_id="g2", k=42, repeat=True)).item_ids


def test_others_lists_do_not_change(live: Live) -> None:
    engine = live()
    before = [engine.recommend(Request(user_id=u, k=10)).item_ids for u in ("t4", "c7", "nobody")]
    engine.hear(event("d0", user_id="g2", ts=2_000_000_000))  # type: ignore[attr-defined]
    assert [engine.recommend(Request(user_id=u, k=10)).item_ids for u in ("t4", "c7", "nobody")] == before


def test_guests_have_a_history_until_they_log_in(live: Live) -> None:
    engine = live(event("d0", "view", session_id="s"), event("d1", "cart", session_id="s"))
    assert {i[0] for i in engine.recommend(Request(session_id="s", k=3)).item_ids} == {"d"}
    assert engine.recommend(Request(user_id="x", k=3)).fallback
    engine.hear({"t": "merge", "session_id": "s", "user_id": "x", "ts": NOW})  # type: ignore[attr-defined]
    assert {i[0] for i in engine.recommend(Request(user_id="x", k=3)).item_ids} == {"d"}
    assert engine.recommend(Request(session_id="s", k=3)).fallback
    engine.hear(event("c0", "view", session_id="s"))  # type: ignore[attr-defined]
    assert {i[0] for i in engine.recommend(Request(session_id="s", k=3)).item_ids} == {"c"}


def test_a_session_belongs_to_whom_it_was_given_first(live: Live) -> None:
    engine = live(event("d0", "view", session_id="s"), event("d1", "cart", session_id="s"))
    for user_id in ("x", "y"):
        engine.hear({"t": "merge", "session_id": "s", "user_id": user_id, "ts": NOW})  # type: ignore[attr-defined]
    assert {i[0] for i in engine.recommend(Request(user_id="x", k=3)).item_ids} == {"d"}
    assert engine.recommend(Request(user_id="y", k=3)).fallback
    engine.hear(event("c0", "view", session_id="s"))  # type: ignore[attr-defined]
    engine.hear({"t": "merge", "session_id": "s", "user_id": "y", "ts": NOW + 1})  # type: ignore[attr-defined]
    assert {i[0] for i in engine.recommend(Request(user_id="x", k=3)).item_ids} == {"d"}
    assert {i[0] for i in engine.recommend(Request(user_id="y", k=3)).item_ids} == {"c"}


def test_a_guest_of_the_version_is_given_once_and_for_all(live: Live, shop: Any) -> None:
    from recsys_cli.serving.live_events import customer_key, guest_key

    engine = live()
    overlay = engine.overlay
    assert overlay is not None
    guest, ann = guest_key(shop.secret, "s"), customer_key(shop.secret, "ann")
    for user_id in ("ann", "bert"):
        engine.hear({"t": "merge", "session_id": "s", "user_id": user_id, "ts": NOW})  # type: ignore[attr-defined]
    engine.hear(event("c0", "view", session_id="s"))  # type: ignore[attr-defined]
    # What the version holds of the session stays with the first, also when the session goes on after a log-out.
    assert overlay.merged == {ann: [guest]}
    assert guest in overlay.gone


def test_what_was_worked_out_for_a_guest_does_not_outlive_a_login(live: Live) -> None:
    engine = live(event("d0", "view", session_id="s"))
    assert {i[0] for i in engine.recommend(Request(session_id="s", k=3)).item_ids} == {"d"}
    engine.hear({"t": "merge", "session_id": "s", "user_id": "x", "ts": NOW})  # type: ignore[attr-defined]
    engine.hear(event("c0", "view", session_id="s"))  # type: ignore[attr-defined]
    assert {i[0] for i in engine.recommend(Request(session_id="s", k=3)).item_ids} == {"c"}


def test_a_session_adds_to_a_customer(live: Live) -> None:
    engine = live(event("d0", "cart", session_id="s"))
    plain = engine.recommend(Request(user_id="t4", k=10))
    both = engine.recommend(Request(user_id="t4", session_id="s", k=10, explain=True))
    assert plain.item_ids != both.item_ids
    assert any("just now" in why or "in the cart" in why for why in both.reasons)


def test_what_the_version_holds_is_not_counted_twice(live: Live, shop: Any) -> None:
    engine = live(event("t0", user_id="x"))
    spool = Spool(shop.artifacts.spool_dir)
    again = Overlay(spool, spool.segments(), shop.secret)
    for _ in again.read():
        pass
    assert engine.overlay is not None
    assert len(engine.overlay.people) == 1
    assert not again.people


def test_forgotten_lines_are_gone(live: Live, shop: Any) -> None:
    engine = live(event("t0", user_id="x"), event("t0", user_id="y"))
    assert engine.overlay is not None
    spool = Spool(shop.artifacts.spool_dir)
    spool.blank(lambda line: b'"x"' in line)
    assert spool.epoch() != engine.overlay.epoch
    again = Overlay(spool, {}, shop.secret)
    for _ in again.read():
        pass
    assert len(again.people) == 1


def test_prices_and_stock_change_at_once(live: Live) -> None:
    engine = live()
    top = engine.recommend(Request(user_id="g2", k=1)).item_ids[0]
    change = {"t": "item", "item_id": top, "ts": NOW, "price": 1.25, "title": 'A "new" title'}
    engine.hear(change)  # type: ignore[attr-defined]
    row = engine.describe(engine.recommend(Request(user_id="g2", k=1)))[0]
    assert (row["price"], row["title"]) == (1.25, 'A "new" title')
    assert top in engine.recommend(Request(user_id="g2", k=40, filters=Filters(max_price=1.25))).item_ids
    engine.hear({"t": "item", "item_id": top, "ts": NOW, "availability": False})  # type: ignore[attr-defined]
    assert top not in engine.recommend(Request(user_id="g2", k=40)).item_ids
    engine.hear({"t": "item", "item_id": top, "ts": NOW, "availability": True})  # type: ignore[attr-defined]
    assert engine.recommend(Request(user_id="g2", k=1)).item_ids == [top]
    engine.hear({"t": "item", "item_id": top, "ts": NOW, "retired": True})  # type: ignore[attr-defined]
    assert top not in engine.recommend(Request(user_id="g2", k=40)).item_ids


def test_an_item_newer_than_the_version_is_known_by_its_id(live: Live) -> None:
    engine = live({"t": "item", "item_id": "fresh", "ts": NOW, "title": "Fresh"})
    assert engine.catalogue.find("fresh") == {"item_id": "fresh", "title": "Fresh"}
    engine.hear(event("fresh", user_id="t4"))  # type: ignore[attr-defined]
    assert engine.recommend(Request(user_id="t4", k=3)).known


def test_what_was_shown_in_vain_is_shown_no_more(live: Live) -> None:
    engine = live(shown_limit=2)
    top = engine.recommend(Request(user_id="g2", k=2)).item_ids
    for _ in range(2):
        engine.hear(*(event(i, "impression", user_id="g2") for i in top))  # type: ignore[attr-defined]
    assert not set(top) & set(engine.recommend(Request(user_id="g2", k=10)).item_ids)
    assert set(top) & set(engine.recommend(Request(user_id="g3", k=42)).item_ids)
    engine.hear(event(top[0], "click", user_id="g2"))  # type: ignore[attr-defined]
    again = engine.recommend(Request(user_id="g2", k=10)).item_ids
    assert top[0] in again
    assert top[1] not in again


def test_consent_can_be_narrower_for_a_request(live: Live) -> None:
    engine = live(event("d0", "cart", session_id="s"))
    ask = lambda consent: engine.recommend(Request(user_id="t4", session_id="s", k=3, consent=consent))  # noqa: E731
    assert {i[0] for i in ask("session").item_ids} == {"d"}
    assert ask("none").fallback
    assert not ask("none").known


def test_the_next_version_takes_over_what_was_heard(shop: Any) -> None:
    """As if the whole log had been read again, of which it reads nothing."""
    spool, writer = Spool(shop.artifacts.spool_dir), SpoolWriter(shop.artifacts.spool_dir)

    def hear(*lines: dict[str, Any]) -> None:
        writer.append([orjson.dumps(line) for line in lines])

    def made(floor: dict[str, int], before: Engine | None = None) -> Engine:
        engine = Engine.open(shop.version, shop.secret, Overlay(spool, floor, shop.secret, 1e6))
        assert engine.overlay is not None
        taken = engine.catch_up() if before is None else engine.take_over(before.overlay)  # type: ignore[arg-type]
        for _ in taken:
            pass
        return engine

    hear(event("d0", "view", session_id="s"), *(event("c1", "impression", user_id="x") for _ in range(2)))
    first = made({})
    floor = spool.segments()
    hear(
        event("d1", "cart", session_id="s"),
        event("c2", user_id="y"),
        {"t": "item", "item_id": "t4", "price": 0.5, "ts": NOW},
        {"t": "merge", "session_id": "s", "user_id": "x", "ts": NOW},
        event("c1", "impression", user_id="x"),
    )
    for _ in first.catch_up():
        pass
    middle = dict.fromkeys(floor, sum(floor.values()) + 1)  # within the next line, which then counts as not held
    for at in (floor, middle):
        fresh, again = made(at), made(at, before=made({}))
        one, other = fresh.overlay, again.overlay
        assert one is not None
        assert other is not None
        assert (other.people, other.merged, other.gone, other.events) == (one.people, one.merged, one.gone, one.events)
        assert (other.shown, other.position, other.recent) == (one.shown, one.position, one.recent)
        assert again.catalogue.find("t4") == fresh.catalogue.find("t4")
    fresh = made(floor, before=first)
    assert fresh.overlay is not None
    assert fresh.overlay.shown_often(fresh.people.find(Request(user_id="x")).keys, 3, NOW) == ["c1"]
    hear(event("g0", user_id="z"))
    for _ in fresh.catch_up():
        pass
    assert fresh.overlay.events == made(floor).overlay.events  # type: ignore[union-attr]


def test_nothing_is_taken_over_from_a_later_version_or_after_an_erasure(shop: Any) -> None:
    spool = Spool(shop.artifacts.spool_dir)
    SpoolWriter(shop.artifacts.spool_dir).append([orjson.dumps(event("d0", user_id="x"))])
    late, early = Overlay(spool, spool.segments(), shop.secret), Overlay(spool, {}, shop.secret)
    assert late.follows(early)
    assert not early.follows(late)
    spool.new_epoch()
    assert not Overlay(spool, spool.segments(), shop.secret).follows(early)
