"""Newcomers by what their profiles say: shops in which countries differ, and one in which they do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.identity import load_secret
from recsys_cli.models.support.demand import popularity
from recsys_cli.publishing.segment_popularity import Judged, segments
from recsys_cli.publishing.train import judge_newcomers, read_snapshot, train
from recsys_cli.schema import DAY
from recsys_cli.serving import Engine
from recsys_cli.serving.request import Request
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_users, transaction

END = 1_750_000_000
COUNTRIES = ("DE", "FR", "ES")


def fill(folder: Path, *, differ: bool, customers: int = 900) -> tuple[Settings, Store]:
    """Customers who come once or twice over 200 days; where countries differ, each has ten items of its own that are
    four times as likely as all others. Everybody has a number of their own in their profile, and a colour by chance."""
    given = {"db": str(folder / "shop.duckdb"), "artifacts": str(folder / "artifacts"), "train.threads": 1}
    settings = load({**given, "train.ranker": False}, environ={})
    rng = np.random.default_rng(3)
    rows: list[tuple[str, str, int, str]] = []
    country = rng.integers(3, size=customers)
    for who in range(customers):
        odds = np.linspace(2, 1, 60)
        if differ:
            odds[country[who] * 10 : country[who] * 10 + 10] *= 6
        first = END - int(rng.uniform(0, 200) * DAY)
        for visit in range(1 + who % 2):
            for item in rng.choice(60, 2, replace=False, p=odds / odds.sum()):
                rows.append((f"c{who}", f"i{item}", min(first + visit * 9 * DAY, END), f"o{who}-{visit}"))
    names = ("user_id", "item_id", "ts", "order_id")
    profiles = [
        {"user_id": f"c{w}", "attributes": json.dumps({
            "country": COUNTRIES[country[w]], "colour": "red" if rng.random() < 0.5 else "blue", "phone": f"0{w}"})}
        for w in range(customers)
    ]  # fmt: skip
    store = Store(settings.db, settings.store)
    load_secret(settings.db, create=True)
    with store.writing() as con, transaction(con):
        merge_events(con, pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))
        merge_users(con, pa.Table.from_pylist(profiles))
    return settings, store


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Store]:
    settings, store = fill(tmp_path_factory.mktemp("countries"), differ=True)
    train(store, Artifacts(settings.artifacts, lock_timeout=5), settings, Recipe.of("als", {"factors": 4}))
    return settings, store


def judged(settings: Settings, store: Store) -> dict[str, Judged]:
    return {one.attribute: one for one in judge_newcomers(read_snapshot(store, settings), settings)}


def test_what_is_surely_better_is_used_and_nothing_else(shop: tuple[Settings, Store]) -> None:
    found = judged(*shop)
    assert found.keys() == {"country", "colour"}, "what identifies somebody is no attribute"
    assert found["country"].used
    assert found["country"].ndcg > 1.3 * found["country"].popular
    assert not found["colour"].used
    assert found["country"].customers >= 30


def test_where_countries_are_alike_popularity_stays(tmp_path: Path) -> None:
    settings, store = fill(tmp_path, differ=False)
    assert not any(one.used for one in judged(settings, store).values())
    snapshot = read_snapshot(store, settings)
    data, profiles = snapshot.data.interactions, snapshot.profiles
    assert profiles is not None
    popular = popularity(data, 0)
    lift = segments(data, profiles, profiles.names.index("country"), popular) / popular
    assert np.abs(np.log(lift)).max() < 0.35, "the shape of the prior holds chance back"


def test_a_newcomer_gets_what_their_country_buys(shop: tuple[Settings, Store]) -> None:
    settings, _ = shop
    version = Artifacts(settings.artifacts).current()
    engine = Engine.open(version, load_secret(settings.db))
    for at, country in enumerate(COUNTRIES):
        answer = engine.recommend(Request(user={"country": country.lower()}, k=5, explain=True))
        assert {int(i[1:]) // 10 for i in answer.item_ids} == {at}
        assert set(answer.sources) == {"segment"}
        assert (answer.known, answer.fallback) == (False, False)
        assert answer.reasons[0] == f"Sells well to customers whose country is {country.lower()}."
    plain = engine.recommend(Request(k=5))
    assert plain.fallback
    for request in (
        Request(user={"country": "AT"}, k=5),
        Request(user={"colour": "red"}, k=5),
        Request(user={"country": "DE"}, consent="none", k=5),
    ):
        assert engine.recommend(request).item_ids == plain.item_ids
    known = engine.recommend(Request(user_id="c1", k=5))
    assert engine.recommend(Request(user_id="c1", user={"country": "FR"}, k=5)).item_ids == known.item_ids
    deep = [
        i for n in range(6) for i in engine.recommend(Request(user={"country": "DE"}, k=10, offset=10 * n)).item_ids
    ]
    assert len(deep) == len(set(deep)) == 60, "beyond the segment's items the list goes on"


def test_rules_hold_for_them_too(shop: tuple[Settings, Store]) -> None:
    settings, _ = shop
    engine = Engine.open(Artifacts(settings.artifacts).current(), load_secret(settings.db))
    asked = Request(user={"country": "DE"}, k=5)
    top = engine.recommend(asked).item_ids
    shaped = engine.recommend(dataclasses.replace(asked, rules={"freshness": 0.5}))
    assert set(shaped.sources) == {"segment"}
    assert set(shaped.item_ids) & set(top)
    other = engine.recommend(Request(user={"country": "FR"}, k=5, rules={"freshness": 0.5}))
    assert not set(other.item_ids) & set(shaped.item_ids), "what is remembered of one stranger is not another's"


def test_a_version_says_what_was_found_and_names_nobody(shop: tuple[Settings, Store]) -> None:
    settings, _ = shop
    version = Artifacts(settings.artifacts).current()
    told = {one["attribute"]: one for one in version.manifest["newcomers"]}
    assert told["country"]["used"]
    assert told["country"]["lead"]["low"] > 0
    names = json.loads(bytes(np.load(version.path / "shelves" / "segment_names.npy")))
    assert sorted(names) == [["country", c.lower()] for c in sorted(COUNTRIES)]
