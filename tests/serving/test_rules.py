"""Each rule does what it says, alone and beside others, where the right answer is known."""

from __future__ import annotations

import csv
import datetime
import itertools
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_cli.artifacts.choices import Choice, Choices, change, hash_of
from recsys_cli.errors import UsageError
from recsys_cli.identity import user_keys
from recsys_cli.serving import Engine, Filters, Request
from recsys_cli.serving.campaigns import Campaign, read_campaigns
from recsys_cli.serving.live_events import customer_key
from recsys_cli.serving.rules import Rules
from recsys_cli.settings import RuleSettings

Ruled = Callable[..., Engine]
Live = Callable[..., Engine]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


def lists(engine: Engine, user: str = "t4", k: int = 12, **more: Any) -> list[dict[str, Any]]:
    return engine.describe(engine.recommend(Request(user_id=user, k=k, **more)))


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [r["item_id"] for r in rows]


@pytest.mark.parametrize("user", ["t4", "nobody"])
def test_at_most_so_many_of_a_category(ruled: Ruled, user: str) -> None:
    rows = lists(ruled(max_per_category=2), user, k=8)
    assert Counter(r["category"] for r in rows) == {"tea": 2, "coffee": 2, "garden": 2, "dogs": 2}


def test_at_most_so_many_of_a_brand(ruled: Ruled) -> None:
    rows = lists(ruled(max_per_brand=3), k=9)
    assert set(Counter(r["brand"] for r in rows).values()) == {3}


def test_limits_hold_on_every_page_and_leave_nothing_out(ruled: Ruled) -> None:
    engine = ruled(max_per_category=2)
    pages = [lists(engine, k=4, offset=o) for o in range(0, 40, 4)]
    for page in pages[:3]:
        assert max(Counter(r["category"] for r in page).values()) <= 2
    seen = [i for page in pages for i in ids(page)]
    assert len(seen) == len(set(seen))
    assert lists(engine, k=4, offset=4) == pages[1]


def test_whoever_asks_for_a_category_gets_a_page_of_it(ruled: Ruled) -> None:
    rows = lists(ruled(max_per_category=2), k=5, filters=Filters(category=("garden",)))
    assert len(rows) == 5


def test_stages_say_how_many_each_rule_left(ruled: Ruled) -> None:
    engine = ruled(max_per_category=2)
    answer = engine.recommend(Request(user_id="t4", k=8, explain=True))
    filters, _, left_out, sources = answer.stages[:4]
    assert filters == {"stage": "filters", "items": 42, "allowed": 40}
    assert left_out == {"stage": "left out", "count": 10, "held_back_by_limits": 4}  # the six bought, and four of tea
    assert sources == {"stage": "sources", "als": 8}
    narrow = engine.recommend(Request(user_id="t4", k=8, explain=True, filters=Filters(category=("garden", "moon"))))
    unknown = {"category": ["moon"]}
    assert narrow.stages[0] == {"stage": "filters", "items": 42, "allowed": 10, "unknown": unknown}


def test_limits_of_a_request_replace_those_of_the_shop(ruled: Ruled) -> None:
    rows = lists(ruled(max_per_category=2), k=8, rules={"max_per_category": 1})
    assert max(Counter(r["category"] for r in rows).values()) == 1
    assert len(rows) == 4  # there is no fifth category


def test_sold_out_items_are_shown_when_the_shop_wants_it(ruled: Ruled) -> None:
    assert "t2" not in ids(lists(ruled(), k=60, repeat=True))
    assert "t2" in ids(lists(ruled(in_stock_only=False), k=60, repeat=True))
    assert "t3" not in ids(lists(ruled(in_stock_only=False), k=60, repeat=True))


def test_a_floor_for_the_margin(ruled: Ruled) -> None:
    engine = ruled(min_margin=0.5)
    rows = lists(engine, k=60, repeat=True)
    assert rows
    assert all((engine.catalogue.record(engine.code(i))["margin"] or 0) >= 0.5 for i in ids(rows))


def test_freshness_lifts_new_items(ruled: Ruled) -> None:
    plain, fresh = ruled(), ruled(freshness=3.0, freshness_days=100)
    before = {r["item_id"]: r["score"] for r in lists(plain, "nobody", k=60) if r["source"] == "popular"}
    rows = [r for r in lists(fresh, "nobody", k=60) if r["source"] == "popular"]
    for row in rows:
        age = (plain.people.now - int(plain.bundle.shelves["first_seen"][plain.code(row["item_id"])])) / 86_400
        assert row["score"] == pytest.approx(before[row["item_id"]] * (1 + 3 * 0.5 ** (age / 100)), rel=1e-4)
    assert ids(rows) != list(before)


def test_diversity_mixes_tastes(ruled: Ruled) -> None:
    def kinds(value: float) -> int:
        return len({r["category"] for r in lists(ruled(diversity=value), "c7", k=5)})

    assert kinds(0.9) > kinds(0.0)
    assert ids(lists(ruled(diversity=0.9), "c7", k=5))[0] == ids(lists(ruled(), "c7", k=5))[0]


def test_boosts_and_buries_multiply_scores(ruled: Ruled) -> None:
    plain = {r["item_id"]: r["score"] for r in lists(ruled(), "nobody", k=20)}
    campaigns = (
        {"action": "boost", "category": "dogs", "factor": 1.5},
        {"action": "bury", "item": "c0", "factor": 0.25},
    )
    rows = lists(ruled(campaigns=campaigns), "nobody", k=20)
    changed = {r["item_id"]: r["score"] for r in rows}
    for item in set(plain) & set(changed):
        factor = 1.5 if item[0] == "d" else 0.25 if item == "c0" else 1
        assert changed[item] == pytest.approx(plain[item] * factor, rel=1e-4)
    assert [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)


def test_a_boost_reaches_items_below_the_candidates(ruled: Ruled) -> None:
    boost = ({"action": "boost", "item": "t9", "factor": 1000},)
    assert ids(lists(ruled(campaigns=boost), "t4", k=1, repeat=True)) == ["t9"]


def test_attributes_and_brands_can_be_named(ruled: Ruled) -> None:
    engine = ruled(campaigns=({"action": "ban", "attribute": "colour=red"}, {"action": "ban", "brand": "Birch"}))
    rows = lists(engine, k=60, repeat=True)
    numbers = {int(i[1:]) for i in ids(rows) if not i.startswith("new")}
    assert numbers == {0, 6, 8, 2} - {1}


def test_pins_have_their_place(ruled: Ruled) -> None:
    campaigns = ({"action": "pin", "item": "d7", "position": 2}, {"action": "pin", "item": "t3", "position": 1})
    rows = lists(ruled(campaigns=campaigns), "t4", k=5)
    assert ids(rows)[1] == "d7"
    assert rows[1]["source"] == "pinned"
    assert "t3" not in ids(rows)  # retired: even a pin does not bring it back
    filtered = lists(ruled(campaigns=campaigns), "t4", k=5, filters=Filters(category=("coffee",)))
    assert "d7" not in ids(filtered)
    assert ids(lists(ruled(campaigns=campaigns), "t4", k=60)).count("d7") == 1


def test_campaigns_begin_and_end() -> None:
    campaign = Campaign.of({"action": "ban", "item": "x", "from": "2026-11-01", "until": "2026-11-30"}, 1)
    at = lambda *day: datetime.datetime(*day, tzinfo=datetime.UTC).timestamp()  # noqa: E731
    assert not campaign.runs(at(2026, 10, 31, 23))
    assert campaign.runs(at(2026, 11, 1))
    assert campaign.runs(at(2026, 11, 30, 23, 59))
    assert not campaign.runs(at(2026, 12, 1))


def test_masks_follow_the_clock(ruled: Ruled, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ruled(campaigns=({"action": "ban", "category": "tea", "from": "2030-01-01", "until": "2030-01-02"},))
    moment = datetime.datetime(2029, 12, 31, tzinfo=datetime.UTC).timestamp()
    for days, banned in ((0, False), (1.5, True), (2.5, True), (3.5, False)):
        monkeypatch.setattr("recsys_cli.serving.catalogue.time.time", lambda d=days: moment + d * 86_400)
        tea = any(i[0] == "t" for i in ids(lists(engine, k=60, repeat=True)))
        assert tea is not banned


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("no table", "must be a table"),
        ({"action": "boost"}, "must name one of"),
        ({"action": "push", "item": "x"}, "the action 'push', which is not known"),
        ({"item": "x"}, "has no action"),
        ({"action": "pin", "brand": "x"}, "a pin names an item"),
        ({"action": "boost", "item": "x", "factor": 0.5}, "does not boost"),
        ({"action": "bury", "item": "x", "factor": 2}, "does not bury"),
        ({"action": "ban", "attribute": "red"}, "name=value"),
        ({"action": "ban", "item": "x", "until": "soon"}, "is not a day"),
        ({"action": "ban", "item": "x", "colour": "red"}, "'colour', which is not known"),
        ({"action": "pin", "item": "x", "position": 0}, "position must be a number"),
    ],
)
def test_mistakes_in_campaigns_are_told(table: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_campaigns((table,))


def test_days_are_those_of_the_shop() -> None:
    """The 30th of March 2026 has 23 hours in Berlin, and begins two hours before it does in Greenwich."""
    campaign = Campaign.of(
        {"action": "ban", "item": "x", "from": "2026-03-29", "until": "2026-03-29"}, 1, "Europe/Berlin"
    )
    at = lambda *when: datetime.datetime(*when, tzinfo=datetime.UTC).timestamp()  # noqa: E731
    assert (campaign.start, campaign.end) == (at(2026, 3, 28, 23), at(2026, 3, 29, 22))
    with pytest.raises(UsageError, match="no time zone 'Berlin'"):
        Campaign.of({"action": "ban", "item": "x", "from": "2026-03-29"}, 1, "Berlin")


def test_two_pins_on_one_place_are_told() -> None:
    one = {"action": "pin", "item": "a", "position": 2, "until": "2026-11-30"}
    with pytest.raises(UsageError, match="pin position 2 at the same time: a and b"):
        read_campaigns((one, {"action": "pin", "item": "b", "position": 2, "from": "2026-11-30"}))
    read_campaigns((one, {"action": "pin", "item": "b", "position": 2, "from": "2026-12-01"}))


def test_campaigns_by_attribute_hear_of_changes(live: Any) -> None:
    engine = live(campaigns=({"action": "ban", "attribute": "colour=red"},))
    shown = lambda: set(engine.popular(Request(k=60)).item_ids)  # noqa: E731
    assert "c0" in shown()
    assert "c1" not in shown()
    engine.hear(
        {"t": "item", "item_id": "c0", "attributes": '{"colour":"red"}', "ts": 1},
        {"t": "item", "item_id": "c1", "attributes": '{"colour":"blue","size":7}', "ts": 1},
    )
    assert "c0" not in shown()
    assert "c1" in shown()
    engine.hear({"t": "item", "item_id": "c1", "attributes": '{"size":8}', "ts": 2})
    assert "c1" in shown()
    assert engine.catalogue.find("c1")["attributes"] == '{"colour":"blue","size":8}'


def test_bought_items_return_after_their_days(ruled: Ruled) -> None:
    engine = ruled()
    bought = {r["item_id"]: r["ts"] for r in engine.history("t9", 100)}
    shown = ids(lists(engine, "t9", k=60, rules={"bought_days": 100.0}))
    age = {i: (engine.people.now - ts) / 86_400 for i, ts in bought.items() if i not in ("t2", "t3")}
    assert {i for i in age if i in shown} == {i for i, days in age.items() if days >= 100}
    assert any(days >= 100 for days in age.values())


def test_consumables_return_after_their_interval(ruled: Ruled) -> None:
    engine = ruled(consumables=True)
    engine.bundle.shelves["interval_days"] = engine.bundle.shelves["interval_days"].copy()
    bought = [r for r in engine.history("t9", 100) if r["item_id"] not in ("t2", "t3")]
    item, days = bought[0]["item_id"], (engine.people.now - bought[0]["ts"]) / 86_400
    assert item not in ids(lists(engine, "t9", k=60))
    engine.bundle.shelves["interval_days"][engine.code(item)] = days - 1
    assert item in ids(lists(engine, "t9", k=60))


RULES: dict[str, dict[str, Any]] = {
    "category": {"max_per_category": 2},
    "brand": {"max_per_brand": 3},
    "freshness": {"freshness": 0.5},
    "diversity": {"diversity": 0.5},
    "margin": {"min_margin": 0.2},
    "boost": {"campaigns": ({"action": "boost", "category": "coffee"},)},
    "pin": {"campaigns": ({"action": "pin", "item": "c5", "position": 3},)},
    "ban": {"campaigns": ({"action": "ban", "brand": "Ash"},)},
}


# More that a batch must obey as the single list does.
ALL_RULES = RULES | {
    "bury": {"campaigns": ({"action": "bury", "brand": "Birch", "factor": 0.1},)},
    "bought_days": {"bought_days": 60},
    "consumables": {"consumables": True},
    "sold out": {"in_stock_only": False},
    "shown": {"shown_limit": 1},
}


def together(names: tuple[str, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in names:
        for key, value in ALL_RULES[name].items():
            settings[key] = (*settings.get(key, ()), *value) if key == "campaigns" else value
    return settings


@pytest.mark.parametrize("names", [(), *((n,) for n in ALL_RULES), *itertools.combinations(ALL_RULES, 2)])
def test_the_batch_obeys_what_the_single_list_does(ruled: Ruled, one_shop: Any, names: tuple[str, ...]) -> None:
    engine = ruled(**together(names))
    if "consumables" in names:
        engine.bundle.shelves["interval_days"][engine.code("t0")] = 3
    users = [f"{letter}{n}" for letter in "tcgd" for n in (0, 4, 9, 23)] + ["late3", "stranger"]
    for k, repeat in ((8, False), (12, True)):
        batch = engine.recommend_batch(user_keys(one_shop.secret, users), Request(k=k, repeat=repeat))
        codes, scores, sources = batch
        for row, user in enumerate(users):
            single = engine.recommend(Request(user_id=user, k=k, repeat=repeat))
            assert [int(code) for code in codes[row] if code >= 0] == single.codes, user
            assert sources[row].tolist()[: len(single.codes)] == single.sources
            np.testing.assert_allclose(scores[row][: len(single.codes)], single.scores, rtol=1e-4)
            assert batch.known[row] == single.known
    if "pin" in names:
        assert "pinned" in batch.source_names


def test_the_file_for_all_has_the_lists_of_each(shop: Any, recsys: Recsys, tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text(
        """[rules]
        bought_days = 30
        [[rules.campaigns]]
        action = "pin"
        item = "d7"
        position = 1
        [[rules.campaigns]]
        action = "boost"
        brand = "Birch"
        factor = 100
        """
    )
    paths = ("--db", str(shop.settings.db), "--artifacts", str(shop.settings.artifacts))
    state = (*paths, "--config", "recsys.toml")
    assert recsys("recommend", "--all", "-k", "5", "--out", "l.csv", *state).returncode == 0
    rows = list(csv.DictReader((tmp_path / "l.csv").read_text().splitlines()))
    for user in ("t4", "g9"):
        single = json.loads(recsys("recommend", user, "-k", "5", "--json", *state).stdout)["items"]
        assert [(r["item_id"], r["source"]) for r in rows if r["user_id"] == user] == [
            (item["item_id"], item["source"]) for item in single
        ]
        assert (single[0]["item_id"], single[0]["source"]) == ("d7", "pinned")


def test_a_batch_under_rules_leaves_out_the_past_of_those_who_object(shop: Any) -> None:
    choices = Choices(shop.settings.artifacts, shop.secret)
    change(shop.settings.artifacts, {hash_of(shop.secret, customer_key(shop.secret, "t4")): Choice("objected")})
    choices.refresh()
    engine = Engine.open(shop.version, shop.secret, rules=Rules.of(RuleSettings(max_per_category=3)), choices=choices)
    codes, _, _ = engine.recommend_batch(user_keys(shop.secret, ["t4", "stranger"]), Request(k=8))
    assert codes[0].tolist() == codes[1].tolist() == engine.recommend(Request(user_id="t4", k=8)).codes


@pytest.mark.parametrize("names", list(itertools.combinations(RULES, 2)))
def test_rules_hold_beside_each_other(ruled: Ruled, names: tuple[str, str]) -> None:
    engine = ruled(**together(names))
    rows = lists(engine, "t4", k=8, explain=True)
    records = [engine.catalogue.record(engine.code(i)) for i in ids(rows)]
    assert len(set(ids(rows))) == len(rows) > 0
    free = [r for r, row in zip(records, rows, strict=True) if row["source"] != "pinned"]
    if "category" in names:
        assert max(Counter(r["category"] for r in free).values()) <= 2
    if "brand" in names:
        assert max(Counter(r["brand"] for r in free).values()) <= 3
    if "margin" in names:
        assert all(r["margin"] is not None and r["margin"] >= 0.2 for r in records)
    if "ban" in names:
        assert all(r["brand"] != "Ash" for r in records)
    if "pin" in names:
        assert ids(rows)[2] == "c5"
    assert all(row["reason"] for row in rows)


def test_what_was_found_is_remembered_for_the_same_filters_only(engine: Engine) -> None:
    shaped = {"max_per_category": 5, "diversity": 0.2}
    ask = lambda **more: engine.recommend(Request(user_id="t4", k=10, rules=shaped, **more)).item_ids  # noqa: E731
    dear, cheap = Filters(min_price=5), Filters(max_price=4.5)
    expected = {name: ask(filters=filters) for name, filters in (("dear", dear), ("cheap", cheap))}
    plain = ask()
    for _ in range(2):
        assert ask(filters=dear) == expected["dear"]
        assert ask(filters=cheap) == expected["cheap"]
        assert ask() == plain
    assert not set(expected["dear"]) & set(expected["cheap"])


def test_a_change_of_stock_reaches_lists_that_were_put_in_order_before(live: Callable[..., Engine]) -> None:
    made = live()
    request = Request(user_id="g2", k=10, rules={"diversity": 0.2})
    top = made.recommend(request).item_ids[0]
    made.hear({"t": "item", "item_id": top, "ts": 1_750_000_100, "availability": False})  # type: ignore[attr-defined]
    assert top not in made.recommend(request).item_ids


def test_rules_of_a_request_do_not_stay_for_the_next(engine: Engine) -> None:
    ask = lambda rules: engine.recommend(Request(user_id="t4", k=6, rules=rules)).item_ids  # noqa: E731
    plain, limited = ask(None), ask({"max_per_category": 1})
    assert plain != limited
    assert ask({"max_per_category": 2}) != limited
    assert (ask({"max_per_category": 1}), ask(None)) == (limited, plain)


def test_candidates_of_the_same_mask_made_anew_are_not_taken_for_each_other(engine: Engine) -> None:
    person = engine.people.find(Request(user_id="t4"))
    first = engine.catalogue.allowed(Filters(category=("tea",)))
    second = engine.catalogue.allowed(Filters(category=("coffee",)))
    of_first = set(engine.retrieval.candidates(person, first, 20)[0].tolist())
    of_second = set(engine.retrieval.candidates(person, second, 20)[0].tolist())
    assert of_first <= set(first.codes.tolist())
    assert of_second <= set(second.codes.tolist())
    assert of_first
    assert first.number != second.number


def test_a_remembered_list_is_the_one_that_would_be_made_anew(live: Live) -> None:
    """Whatever happens in between, an engine that has answered before says what one without a memory says."""
    rules = {"max_per_category": 3, "diversity": 0.4, "freshness": 4.0, "freshness_days": 300.0, "shown_limit": 2}
    engine = live(**rules)
    asks: list[dict[str, Any]] = [
        {},
        {"k": 5},
        {"k": 5, "offset": 5},
        {"repeat": True},
        {"filters": Filters(max_price=8)},
        {"filters": Filters(category=("tea", "dogs"))},
        {"rules": {"max_per_category": 1}},
        {"rules": {"diversity": 0.0, "freshness": 0.0}},
        {"items": ("c1",)},
    ]
    now = 1_750_000_100
    shown = {"t": "event", "event_type": "impression", "user_id": "t4", "item_id": "t6", "ts": now, "qty": 1}
    changes: list[list[dict[str, Any]]] = [
        [],
        [shown, shown],
        [{"t": "item", "item_id": "t7", "availability": False}],
        [{"t": "item", "item_id": "t8", "category": "garden", "price": 900.0}],
        [{**shown, "event_type": "view", "user_id": f"c{n}", "ts": now + 5 * 86_400} for n in range(100)],  # the clock
        [{"t": "event", "event_type": "purchase", "user_id": "t4", "item_id": "t9", "ts": now, "qty": 1}],
    ]
    told = set()
    for heard in changes:
        engine.hear(*heard)  # type: ignore[attr-defined]
        expected = []
        for ask in asks:
            again = live(**rules)
            for _ in again.catch_up():
                pass
            request = Request(**{"user_id": "t4", "k": 10, **ask})
            expected.append((request, again.recommend(request)))
        pairs = itertools.chain.from_iterable(itertools.product(expected, repeat=2))
        for request, answer in (*pairs, expected[0]):  # at last the one that is asked first when more was heard
            assert engine.recommend(request) == answer, (heard, request)
        told |= {tuple(answer.item_ids) for _, answer in expected}
    assert len(told) > 2 * len(changes), "the changes and the ways of asking make a difference"


@pytest.mark.parametrize("place", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("user", ["t4", "nobody"])
def test_limits_hold_beside_a_pin_at_any_place(ruled: Ruled, user: str, place: int) -> None:
    """The first place of a page, too: limits are counted again there, whoever comes first."""
    pin = {"action": "pin", "item": "g9", "position": place}
    engine = ruled(max_per_category=1, campaigns=[pin])
    rows = lists(engine, user, k=4) + lists(engine, user, k=4, offset=4)
    assert ids(rows)[place - 1] == "g9"
    for page in (rows[:4], rows[4:]):
        chosen = Counter(row["category"] for row in page if row["source"] != "pinned")
        assert set(chosen.values()) == {1}
    assert ids(lists(engine, user, k=4, explain=True)) == ids(rows[:4])
