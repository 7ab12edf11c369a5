"""Two ways of making a list side by side: who gets which, and whose pick each item is."""

from __future__ import annotations

from collections import Counter

import duckdb
import pytest

from recsys_cli.artifacts import running
from recsys_cli.artifacts.running import INTERLEAVED, SPLIT, Experiment
from recsys_cli.errors import NotFound, UsageError
from recsys_cli.identity import user_key
from recsys_cli.serving import Answer, Engine, Request
from recsys_cli.serving.arms import Arm, Comparison, checked_arms, swapped, team_draft
from recsys_cli.serving.placements import read_placements


def answer(*items: str) -> Answer:
    n = len(items)
    return Answer(list(range(n)), [1.0] * n, ["als"] * n, [False] * n, True, "v1", list(items))


def trial(kind: str, a: str = "served", b: str = "popular", share: float = 1.0) -> Experiment:
    return Experiment("t", kind, (a, b), "salt", share, started_at=1)


def test_each_team_has_as_many_places_and_the_better_half_of_its_list() -> None:
    a, b = answer(*"abcdefgh"), answer(*"stuvwxyz")
    firsts = Counter()
    for n in range(400):
        mixed, teams = team_draft(a, b, 8, f"r{n}")
        assert teams.count("a") == teams.count("b") == 4
        assert [i for i, t in zip(mixed.item_ids, teams, strict=True) if t == "a"] == list("abcd")
        assert [i for i, t in zip(mixed.item_ids, teams, strict=True) if t == "b"] == list("stuv")
        firsts[teams[0]] += 1
    assert 150 < firsts["a"] < 250


def test_the_same_lists_give_the_same_list_and_no_team_an_edge() -> None:
    picks = Counter()
    for n in range(400):
        mixed, teams = team_draft(answer(*"abcdef"), answer(*"abcdef"), 6, f"r{n}")
        assert mixed.item_ids == list("abcdef")
        picks[teams[0]] += 1
    assert 150 < picks["a"] < 250


def test_short_lists_and_shared_items() -> None:
    mixed, teams = team_draft(answer("a", "b"), answer("b", "c", "d"), 10, "r")
    assert sorted(mixed.item_ids) == ["a", "b", "c", "d"]
    assert len(teams) == 4
    assert team_draft(answer(), answer(), 5, "r")[0].item_ids == []


def test_a_drawn_place_is_exchanged_with_the_first_in_half_of_the_lists() -> None:
    drawn = Counter()
    for n in range(2000):
        given, swap = swapped(answer(*"abcde"), 0.5, f"r{n}")
        drawn[swap] += 1
        order = list("abcde")
        if swap > 0:
            order[0], order[swap - 1] = order[swap - 1], order[0]
        assert given.item_ids == order
    assert 900 < drawn[0] < 1100
    assert all(80 < drawn[place] < 170 for place in (2, 3, 4, 5, -2, -3, -4, -5))
    assert swapped(answer(*"abcde"), 0.0, "r")[1] == 0
    assert swapped(answer("a"), 1.0, "r")[1] == 0


def test_what_is_pinned_stays() -> None:
    given = answer(*"ab")
    given.sources[1] = "pinned"
    assert all(swapped(given, 1.0, f"r{n}") == (given, 0) for n in range(20))


def test_places_are_drawn_where_the_setting_says_so(engine: Engine) -> None:
    comparison = Comparison((), lambda _: None, 0.0, 1.0)
    assert not comparison.empty
    shown = [comparison.recommend(engine, Request("u0", k=5), f"r{n}") for n in range(20)]
    assert all(one.swap for one in shown)
    assert len({tuple(one.answer.item_ids) for one in shown}) > 2
    assert len({frozenset(one.answer.item_ids) for one in shown}) == 1


def test_the_same_visitor_is_in_the_same_arm_while_the_share_grows() -> None:
    keys = [user_key("k", f"u{n}") for n in range(4_000)]
    small, whole = ([running.arm_of(trial(SPLIT, share=s), key) for key in keys] for s in (0.25, 1.0))
    assert all(a is None or a == b for a, b in zip(small, whole, strict=True))
    assert 900 < sum(a is not None for a in small) < 1_100
    assert 1_880 < sum(whole) < 2_120


def test_sql_draws_what_the_server_drew() -> None:
    high, low = user_key("k", "u1")
    query = running.UNIFORM.format(salt="'salt'", key=f"'{high:016x}{low:016x}'")
    assert duckdb.sql(f"SELECT {query}").fetchall()[0][0] == running.uniform("salt", (high, low))


@pytest.mark.parametrize("text", ["", "best", "popular:3", "version:", "rules:", "rules:k=1", "rules:diversity=2",
                                  "rules:campaigns=x", "rules:explore=maybe", "rules:diversity",
                                  "ranker:on", "model:"])  # fmt: skip
def test_what_is_no_arm_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Arm.parse(text)
    assert refused.value.hint


def test_arms_must_differ_and_exist() -> None:
    with pytest.raises(UsageError, match="the same"):
        checked_arms(["served", "served"], {}, "v000001")
    with pytest.raises(NotFound, match="v000009"):
        checked_arms(["served", "version:v000009"], {"v000001": "als"}, "v000001")
    with pytest.raises(NotFound, match="recsys train --model ease"):
        checked_arms(["served", "model:ease"], {"v000001": "als"}, "v000001")
    with pytest.raises(UsageError, match="the same"):
        checked_arms(["served", "model:als"], {"v000001": "als"}, "v000001")
    assert Arm.parse("rules:diversity=0.5,explore=false").rules == (("diversity", 0.5), ("explore", False))


def test_a_model_is_the_newest_version_that_has_it() -> None:
    models = {"v000001": "als", "v000002": "als", "v000003": "ease"}
    assert checked_arms(["served", "model:als"], models, "v000003") == ("served", "version:v000002")
    assert checked_arms(["model:ease", "ranker:off"], models, "v000003") == ("served", "ranker:off")


def test_who_is_not_known_is_in_no_split_but_in_interleaved_lists(engine: Engine) -> None:
    split = Comparison([trial(SPLIT)], lambda _: None, 0.0)
    assert split.recommend(engine, Request(k=5), "r").experiment == ""
    mixed = Comparison([trial(INTERLEAVED)], lambda _: None, 0.0).recommend(engine, Request(k=5), "r")
    assert mixed.experiment == "t"
    assert len(mixed.teams) == len(mixed.answer.item_ids) == 5


def test_arms_of_a_split(engine: Engine) -> None:
    split = Comparison([trial(SPLIT)], lambda _: None, 0.0)
    shown = [split.recommend(engine, Request(session_id=f"s{n}", k=3), f"r{n}") for n in range(60)]
    assert {one.arm for one in shown} == {"a", "b"}
    popular = engine.popular(Request(k=3)).item_ids
    assert all(one.answer.item_ids == popular for one in shown if one.arm == "b")
    assert [s.arm for s in shown] == [
        split.recommend(engine, Request(session_id=f"s{n}", k=3), "x").arm for n in range(60)
    ]


def test_a_version_that_cannot_be_had_stops_nobody(engine: Engine) -> None:
    for kind in (SPLIT, INTERLEAVED):
        gone = Comparison([trial(kind, "version:v000077", "version:v000078")], lambda _: None, 0.0)
        shown = gone.recommend(engine, Request(session_id="s", k=3), "r")
        assert shown.answer.item_ids
        assert shown.experiment == ""


def test_a_placement_is_an_arm_and_stops_nobody_when_it_cannot_be_had(engine: Engine) -> None:
    tables = {
        "cheap": {"filter": "price < 4"},
        "beside": {"kind": "similar"},
        "near": {"filter": "region = user.country"},
    }
    places = read_placements(tables)
    for name, part in (("cheap", "b"), ("beside", ""), ("near", ""), ("gone", "")):
        split = Comparison([trial(SPLIT, "served", f"placement:{name}")], lambda _: None, 0.0, 0.0, lambda: places)
        shown = [split.recommend(engine, Request(session_id=f"s{n}", k=3), f"r{n}") for n in range(40)]
        assert {one.arm for one in shown} == {"a", part}, name
        for one in shown:
            assert one.answer.item_ids
            if one.arm == "b":
                assert all(engine.catalogue.price[code] < 4 for code in one.answer.codes)
    assert checked_arms(["served", "placement:cheap"], {}, "", places) == ("served", "placement:cheap")
    with pytest.raises(NotFound, match="no placement 'gone'"):
        checked_arms(["served", "placement:gone"], {}, "", places)


def test_the_permanent_holdout(engine: Engine) -> None:
    held = Comparison([], lambda _: None, 0.2)
    arms = Counter(held.recommend(engine, Request(session_id=f"s{n}", k=3), "r").arm for n in range(500))
    assert 60 < arms["popular"] < 140
    assert arms["popular"] + arms["lists"] == 500
    assert Comparison([], lambda _: None, 0.0).empty
