"""Placements: what stands there, what fills it up, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_cli.errors import SettingError, UsageError
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.list_kinds import KINDS
from recsys_cli.serving.placements import Placement, fill, read_placements
from recsys_cli.settings_sources import line_of


def shown(engine: Engine, table: dict[str, Any], user: dict[str, str] | None = None, **asked: Any) -> Any:
    placement = Placement.of("place", table)
    given = {"k": placement.k, **asked}
    return fill(engine, placement, placement.request(Request(**given), user or {}))


def test_a_place_is_filled_up_in_the_order_of_its_kinds(engine: Engine) -> None:
    table = {"kind": "together", "fallback": ["similar", "category", "popular"], "k": 41}
    answer = shown(engine, table, item_id="t0")
    assert answer.item_ids[0] == "t1"  # in the same orders
    order = [("together",), ("als",), ("category",), ("popular",)]
    stages = [next(i for i, names in enumerate(order) if source in names) for source in answer.sources]
    assert stages == sorted(stages)
    assert stages[0] == 0
    assert stages[-1] > 1
    assert [f for f, s in zip(answer.fallbacks, stages, strict=True)] == [s > 0 for s in stages]
    assert len(set(answer.item_ids)) == len(answer.item_ids) == 39
    assert "t0" not in answer.item_ids


def test_without_a_fallback_a_list_may_be_short(engine: Engine) -> None:
    assert shown(engine, {"kind": "together", "fallback": [], "k": 30}, item_id="t0").item_ids == ["t1"]


def test_pages_of_a_placement_are_those_of_the_whole(engine: Engine) -> None:
    table = {"kind": "together", "fallback": "similar, popular"}
    whole = shown(engine, table, item_id="t0", k=20).item_ids
    pages = [shown(engine, table, item_id="t0", k=5, offset=at).item_ids for at in (0, 5, 10, 15)]
    assert sum(pages, []) == whole  # noqa: RUF017


def test_each_option_counts(engine: Engine) -> None:
    everything = shown(engine, {"k": 12}, user_id="t4")
    assert len(everything.item_ids) == 12
    cheap = shown(engine, {"filter": "price < user.most", "k": 30}, {"most": "4"}, user_id="t4")
    assert cheap.item_ids
    assert all(engine.catalogue.record(c)["price"] < 4 for c in cheap.codes)
    few = shown(engine, {"rules": {"max_per_category": 1}, "k": 4, "fallback": []}, user_id="t4")
    assert len({engine.catalogue.record(c)["category"] for c in few.codes}) == len(few.codes)
    table = {"rules": {"max_per_category": 1}, "k": 4}
    mine = shown(engine, table, user_id="t4", repeat=True, rules={"max_per_category": 4})
    assert len({engine.catalogue.record(c)["category"] for c in mine.codes}) == 1  # a request's own rule is stronger


def test_a_place_for_a_product_needs_one(engine: Engine) -> None:
    with pytest.raises(UsageError, match="shows together items and needs item_id or items"):
        shown(engine, {"kind": "together"})


def test_on_the_page_of_a_new_product_something_else_is_shown(engine: Engine) -> None:
    answer = shown(engine, {"kind": "similar"}, item_id="not-yet-known")
    assert set(answer.sources) == {"popular"}
    assert answer.fallback


def test_of_a_basket(engine: Engine) -> None:
    assert shown(engine, {"kind": "together", "fallback": []}, items=("t0", "c1")).item_ids == ["t1"]
    same = shown(engine, {"kind": "category", "fallback": [], "k": 40}, items=("t0", "c1"))
    assert {i[0] for i in same.item_ids} <= set("tcn")
    assert not {"t0", "c1"} & set(same.item_ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_obeys_filters_and_rules(engine: Engine, kind: str) -> None:
    answer = shown(
        engine,
        {"kind": kind, "filter": 'colour = "red"', "k": 40},
        item_id="t4", items=("c1",), user_id="t4", repeat=True,
    )  # fmt: skip
    assert all('"red"' in engine.catalogue.record(c)["attributes"] for c in answer.codes)
    assert "t3" not in answer.item_ids  # retired
    assert len(set(answer.item_ids)) == len(answer.item_ids)


WRONG = {
    "kind = 'persnal'": "Placement 'home': kind must be a kind of list, got 'persnal'. Did you mean 'personal'?",
    "fallback = ['popular', 'x']": "Placement 'home': fallback must be a kind of list, got 'x'. Known: personal",
    f"fallback = {['popular'] * 5000}": "Placement 'home': fallback must be at most",
    "fallback = 3": "Placement 'home': fallback must be a list of kinds, got 3.",
    "filter = 'price <'": "Placement 'home': filter, column 8: the filter ends where a value",
    "filter = 3": "Placement 'home': filter must be text, got 3.",
    "rules = {diversty = 1}": "Placement 'home': rules.diversty cannot be changed by a placement.",
    "rules = {diversity = 2}": "Placement 'home': rules.diversity must be at most 1, got 2.",
    "rules = 5": "Placement 'home': rules must be a table, got 5.",
    "ranker = 'x'": "Placement 'home': ranker must be true or false, got 'x'.",
    "k = 0": "Placement 'home': k must be at least 1, got 0.",
    "k = 201": "Placement 'home': k must be at most 200, got 201.",
    "titel = 'x'": "Placement 'home' has 'titel', which is not known. Did you mean 'title'?",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_told_with_its_line(line: str) -> None:
    import tomllib

    text = f"[rules]\ndiversity = 0.1\n\n[placements.other]\nk = 3\n\n[placements.home]\n# nothing\n{line}\n"
    with pytest.raises(SettingError) as told:
        read_placements(tomllib.loads(text)["placements"])
    assert str(told.value).startswith(WRONG[line])
    assert line_of(text, told.value.path) == 9


def test_lines_of_settings() -> None:
    text = 'db = "x"\n[[rules.campaigns]]\naction = "ban"\n[[rules.campaigns]]\nitem = "x"\n[placements."a b"]\nk = 1\n'
    text += "[placements]\nhome.kind = 'x'\n"
    assert line_of(text, ("db",)) == 1
    assert line_of(text, ("rules", "campaigns", 2)) == 4
    assert line_of(text, ("rules", "campaigns", 2, "item")) == 5
    assert line_of(text, ("placements", "a b", "k")) == 7
    assert line_of(text, ("placements", "home", "kind")) == 9
    assert line_of(text, ("placements", "home")) == 8
    assert line_of(text, ("serve", "port")) is None
