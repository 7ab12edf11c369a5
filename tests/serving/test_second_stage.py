"""Lists in a ranker's order: one that puts cheap items first, so that the right answer is known."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheap_first import cheap_first, cheap_network, with_ranker

from recsys_cli.artifacts import Version
from recsys_cli.artifacts.running import SPLIT, Experiment
from recsys_cli.doctor.diagnosis import diagnose
from recsys_cli.ranking import proposals, trees
from recsys_cli.ranking.opinions import SERVED, Depth
from recsys_cli.ranking.outcome import NEW, RANKER, REPEAT
from recsys_cli.serving import Engine
from recsys_cli.serving.arms import Comparison
from recsys_cli.serving.reordering import reorder
from recsys_cli.serving.request import Filters, Request
from recsys_cli.serving.rules import Rules
from recsys_cli.settings import RuleSettings
from recsys_cli.status import status
from recsys_cli.store import Store

pytest.importorskip("lightgbm")
PLAIN = {"explore": False}


def engine_of(shop: Any, version: Version, **settings: Any) -> Engine:
    rules = Rules.of(RuleSettings(**(PLAIN | settings)))
    return Engine.open(version, shop.secret, rules=rules, budget=np.inf)


def prices(engine: Engine, answer: Any) -> list[float]:
    own = [code for code, fallback in zip(answer.codes, answer.fallbacks, strict=True) if not fallback]
    return [float(engine.catalogue.price[code]) for code in own]


@pytest.fixture
def ranked(shop: Any) -> Version:
    return with_ranker(shop, cheap_first(NEW, REPEAT))


def test_lists_are_in_its_order(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked)
    before = engine_of(shop, shop.artifacts.open(shop.artifacts.names()[0])).recommend(Request(user_id="g1", k=4))
    answer = engine.recommend(Request(user_id="g1", k=4))
    assert prices(engine, answer) == sorted(prices(engine, answer))
    assert set(answer.sources) == {engine.model.name}
    assert answer.codes != before.codes
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert (engine.second.ordered, engine.second.late) == (1, 0)


def test_a_network_orders_and_explains_as_trees_do(shop: Any) -> None:
    engine = engine_of(shop, with_ranker(shop, cheap_network(NEW, REPEAT)))
    answer = engine.recommend(Request(user_id="g1", k=4, explain=True))
    assert prices(engine, answer) == sorted(prices(engine, answer))
    assert (engine.second.ordered, engine.second.late) == (1, 0)
    assert all("most by: The price." in reason for reason in answer.reasons), answer.reasons


def test_an_arm_can_do_without_it(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked)
    plain = engine_of(shop, shop.artifacts.open(shop.artifacts.names()[0])).recommend(Request(user_id="g1", k=4))
    trial = Experiment("t", SPLIT, ("ranker:off", "ranker:off"), "salt")
    shown = Comparison([trial], lambda _: None, 0.0).recommend(engine, Request(user_id="g1", k=4), "r")
    assert shown.answer.codes == plain.codes
    assert engine.second.ordered == 0
    assert engine.recommend(Request(user_id="g1", k=4)).codes != plain.codes
    shaped = engine_of(shop, ranked, max_per_brand=3)
    lists = [shaped.recommend(Request(user_id="g1", k=4, ranked=ranked)).codes for ranked in (True, False, True)]
    assert lists[0] == lists[2] != lists[1]


@pytest.mark.parametrize("depth", [SERVED, Depth(4, 1)], ids=["all are ordered", "lists are longer than what is"])
@pytest.mark.parametrize("repeat", [False, True])
def test_everybodys_lists_are_those_of_each(
    shop: Any, ranked: Version, repeat: bool, depth: Depth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "SERVED", depth)
    engine = engine_of(shop, ranked)
    lists = engine.recommend_batch(engine.bundle.keys, Request(k=8, repeat=repeat))
    for row in range(0, len(engine.bundle.keys), 7):
        person = engine.people.of_customer(engine.bundle.keys[row])
        picker = engine._pick(person, Request(k=8, repeat=repeat))
        assert lists.codes[row].tolist() == picker.codes
    without = engine.recommend_batch(engine.bundle.keys, Request(k=8, repeat=repeat, ranked=False))
    assert (without.codes != lists.codes).any()
    person = engine.people.of_customer(engine.bundle.keys[7])
    assert without.codes[7].tolist() == engine._pick(person, Request(k=8, repeat=repeat, ranked=False)).codes


def test_it_only_orders_what_the_gate_allows(shop: Any) -> None:
    engine = engine_of(shop, with_ranker(shop, cheap_first(REPEAT)))
    engine.recommend(Request(user_id="g1", k=4))
    assert engine.second.ordered == 0
    engine.recommend(Request(user_id="g1", k=4, repeat=True))
    assert engine.second.ordered == 1


def test_filters_and_rules_hold(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked, max_per_brand=1)
    answer = engine.recommend(Request(user_id="g1", k=3, filters=Filters(category=("garden",), min_price=3)))
    own = prices(engine, answer)
    assert own == sorted(own)
    assert min(own) >= 3
    brands = engine.catalogue.words["brand"].code[answer.codes]
    assert len(set(brands.tolist())) == len(answer.codes)


def test_pages_do_not_overlap(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked)
    whole = engine.recommend(Request(user_id="g1", k=12, repeat=True)).codes
    pages = [engine.recommend(Request(user_id="g1", k=4, offset=at, repeat=True)).codes for at in (0, 4, 8)]
    assert [code for page in pages for code in page] == whole


def test_given_items_are_ordered(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked)
    found = reorder(engine, Request(user_id="g1"), ["g9", "g2", "nothing", "g5", "g0"])
    answer, unknown = found.answer, found.unknown
    assert unknown == ["nothing"]
    assert prices(engine, answer) == sorted(prices(engine, answer))
    assert sorted(answer.item_ids) == ["g0", "g2", "g5", "g9"]


def test_when_time_is_up_the_first_stages_order_is_served(shop: Any, ranked: Version) -> None:
    slow = Engine.open(ranked, shop.secret, rules=Rules.of(RuleSettings(**PLAIN)), budget=0.0)
    first = engine_of(shop, shop.artifacts.open(shop.artifacts.names()[0]))
    request = Request(user_id="g1", k=6)
    assert slow.recommend(request).codes == first.recommend(request).codes
    assert slow.second.late == 1


def test_reasons_say_what_moved_an_item(shop: Any, ranked: Version) -> None:
    engine = engine_of(shop, ranked)
    person = engine.people.find(Request(user_id="g1"))
    codes = np.array(engine.catalogue.codes(("g0", "g9")), np.int32)
    cheap, dear = engine.second.why(person, codes, engine.bundle, engine.people.now)
    assert [cheap[0]["feature"], dear[0]["feature"]] == ["price", "price"]
    assert cheap[0]["contribution"] > 0 > dear[0]["contribution"]  # type: ignore[operator]
    assert cheap[0]["words"] == "The price"


def test_an_explained_list_says_so(shop: Any, ranked: Version) -> None:
    answer = engine_of(shop, ranked).recommend(Request(user_id="g1", k=4, explain=True))
    (ranker,) = [stage for stage in answer.stages if stage["stage"] == "ranker"]
    assert ranker["ordered"]
    moved = [reason for reason, fallback in zip(answer.reasons, answer.fallbacks, strict=True) if not fallback]
    assert moved
    assert all(" most by: The price." in reason for reason in moved)


def test_each_explained_list_tells_of_itself(shop: Any) -> None:
    """Of whether it was ordered, why, and of its own time: what was decided of the list before is not told again."""
    engine = engine_of(shop, with_ranker(shop, cheap_first(REPEAT)))
    verdicts = {NEW: {"on": False, "reason": "It is worse."}, REPEAT: {"on": True, "reason": "It is better."}}
    assert engine.second.ranker is not None
    engine.second.ranker = replace(engine.second.ranker, verdicts=verdicts)

    def told(answer: Any) -> tuple[bool, float, str, dict[str, float]]:
        found = {stage["stage"]: stage for stage in answer.stages}
        return found["ranker"]["ordered"], found["ranker"]["ms"], found["ranker"]["why"], found["time"]["ms"]

    repeat = told(engine.recommend(Request(user_id="g1", k=4, repeat=True, explain=True)))
    assert (repeat[0], repeat[2]) == (True, "It is better.")
    assert repeat[1] > 0
    new = told(engine.recommend(Request(user_id="g1", k=4, explain=True)))
    assert (*new[:2], new[3]["trees"]) == (False, 0.0, 0.0)
    assert new[2] == "It is worse."
    own = engine.bundle.items().ids[int(engine.people.find(Request(user_id="g1")).past.item[0])].as_py()
    rank = told(reorder(engine, Request(user_id="g1", explain=True), ["g0", "g9", own]).answer)
    assert (rank[0], rank[2]) == (True, repeat[2])
    assert rank[3]["visitor"] != new[3]["visitor"]
    stranger = told(engine.recommend(Request(user_id="nobody", k=4, explain=True)))
    assert (stranger[0], stranger[2]) == (False, "Nothing that this visitor did is known.")
    past = set(engine.people.find(Request(user_id="g1")).past.item.tolist())
    other = next(id.as_py() for code, id in enumerate(engine.bundle.items().ids) if code not in past)
    unseen = told(reorder(engine, Request(user_id="g1", explain=True), [other]).answer)
    assert (unseen[0], unseen[2]) == (False, "It is worse.")
    slow = engine_of(shop, with_ranker(shop, cheap_first(NEW, REPEAT)))
    slow.second.budget = 0.0
    late = told(slow.recommend(Request(user_id="g1", k=4, explain=True)))
    assert (late[0], late[2]) == (False, "The features took more than the 0 ms of serve.ranker_ms.")


class TestOff:
    """What is served, and said, where the ranker cannot be used."""

    def same_as_before(self, shop: Any, engine: Engine) -> bool:
        first = engine_of(shop, shop.artifacts.open(shop.artifacts.names()[0]))
        request = Request(user_id="g1", k=6)
        return engine.recommend(request).codes == first.recommend(request).codes

    @pytest.mark.parametrize("name", ["order.txt", "ranker.json"])
    @pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:-9] + b"something"])
    def test_a_damaged_file(self, shop: Any, ranked: Version, name: str, damage: Any) -> None:
        path = ranked.path / RANKER / name
        path.write_bytes(damage(path.read_bytes()))
        assert shop.artifacts.current().name == ranked.name  # no reason to serve an older version
        engine = engine_of(shop, ranked)
        assert engine.second.ranker is None
        assert engine.second.reason == "The ranker's files are not as published. Run recsys train --ranker."
        assert self.same_as_before(shop, engine)

    def test_without_lightgbm(self, shop: Any, ranked: Version, monkeypatch: pytest.MonkeyPatch) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lightgbm" else real(name))
        trees._library.cache_clear()
        try:
            engine = engine_of(shop, ranked)
            said = self.said(shop)
        finally:
            trees._library.cache_clear()
        assert "pip install lightgbm" in engine.second.reason
        assert self.same_as_before(shop, engine)
        assert said[0] == f"off: LightGBM is not installed. {trees.INSTALL}."
        assert said[1].sentence.endswith("LightGBM is not installed.")
        assert said[1].advice == trees.INSTALL

    def said(self, shop: Any) -> tuple[str, Any]:
        """By status and by the doctor."""
        told = status(Store(shop.settings.db, shop.settings.store), shop.artifacts).as_dict()["version"]["ranker"]
        return told, next(f for f in diagnose(shop.settings).findings if f.name == "ranker_off")

    def test_status_and_doctor_tell_of_damage(self, shop: Any, ranked: Version) -> None:
        assert "ranker_off" not in {f.name for f in diagnose(shop.settings).findings}
        (ranked.path / RANKER / "order.txt").write_text("tree")
        told, finding = self.said(shop)
        assert told == "off: Its files are not as published. Run recsys train --ranker."
        assert "lists are in the model's order" in finding.sentence

    def test_a_version_without_one(self, shop: Any) -> None:
        engine = engine_of(shop, shop.version)
        assert engine.second.reason == "The served version has no ranker."


def test_an_update_keeps_it(shop: Any, ranked: Version, tmp_path: Path) -> None:
    import pyarrow as pa

    from recsys_cli.store import Store
    from recsys_cli.store.merge import merge_events, transaction
    from recsys_cli.updates.one_pass import run_pass

    store = Store(shop.settings.db, shop.settings.store)
    with store.writing() as con, transaction(con):
        rows = [{"user_id": "g1", "item_id": "g9", "ts": 1_750_000_100, "order_id": "latest"}]
        merge_events(con, pa.Table.from_pylist(rows))
    run_pass(store, shop.artifacts, shop.settings)
    version = shop.version
    assert version.name != ranked.name
    assert version.manifest[RANKER] == ranked.manifest[RANKER]
    engine = engine_of(shop, version)
    assert engine.second.ranker is not None
    assert engine.features.compute_interaction("g1", "g9")["own_days"] > 0  # type: ignore[operator]


def test_what_is_known_of_items_beforehand_changes_nothing(shop: Any, ranked: Version) -> None:
    """Neither in the order nor when a price changes."""
    from dataclasses import replace as changed

    engine = engine_of(shop, ranked)
    plain = engine_of(shop, ranked)
    assert engine.second.items is not None
    plain.second.items = None
    asked = Request(user_id="g1", k=6)
    assert engine.recommend(asked) == changed(plain.recommend(asked), stages=engine.recommend(asked).stages)
    first = engine.catalogue.ids[engine.recommend(asked).codes[0]]
    before = engine.second.items.masks.copy()
    for each in (engine, plain):
        each.catalogue.change(first, {"price": 1e6})
        each.second.change(each.catalogue, first)
    lists = [each.recommend(Request(user_id="g3", k=6)).codes for each in (engine, plain)]
    assert lists[0] == lists[1]
    assert engine.catalogue.code_of[first] not in lists[0]
    assert (before != engine.second.items.masks).any(axis=1).sum() == 1
