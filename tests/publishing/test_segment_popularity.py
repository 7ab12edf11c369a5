"""Newcomers by what their profiles say: shops in which countries differ, and one in which they do not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cheap_first import first_by, with_ranker

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.artifacts.choices import Choice, Choices, change, hash_of
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.features import ItemTable
from recsys_cli.features.item_table import ITEM_TABLE
from recsys_cli.gdpr import erase
from recsys_cli.identity import load_secret
from recsys_cli.models.support.demand import popularity
from recsys_cli.publishing.segment_popularity import Judged, segments
from recsys_cli.publishing.train import judge_newcomers, read_snapshot, train
from recsys_cli.ranking.outcome import NEW, REPEAT
from recsys_cli.schema import DAY, Profiles
from recsys_cli.serving import Engine
from recsys_cli.serving.live_events import customer_key, guest_key
from recsys_cli.serving.reordering import reorder
from recsys_cli.serving.request import Request
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.merge import merge_events, merge_users, transaction
from recsys_cli.store.profiles import LEAST

END = 1_750_000_000
COUNTRIES = ("DE", "FR", "ES")


def fill(folder: Path, *, differ: bool, customers: int = 900) -> tuple[Settings, Store]:
    """Customers who come once or twice over 200 days; where countries differ, each has ten items of its own that are
    four times as likely as all others. Everybody has a number of their own in their profile, and a colour by chance."""
    given = {"db": str(folder / "shop.duckdb"), "artifacts": str(folder / "artifacts"), "train.threads": 1}
    settings = load({**given, "train.ranker": False, "ranking.customer_attributes": ["country"]}, environ={})
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
    lift = segments(data, profiles, profiles.names.index("country"), popular, 3) / popular
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


def test_what_one_or_two_of_a_country_bought_is_not_told(shop: tuple[Settings, Store]) -> None:
    """Whether somebody of a country bought a thing must not be read off its score there."""
    settings, store = shop
    snapshot = read_snapshot(store, settings)
    data, profiles = snapshot.data.interactions, snapshot.profiles
    assert profiles is not None
    at, popular = profiles.names.index("country"), popularity(data, 0)
    h = data.histories
    code = profiles.codes[h.row_of_event, at].astype(np.int64) * data.n_items + h.item
    pair = np.unique(np.stack([h.row_of_event, h.item]), axis=1)
    buyers = np.bincount(
        profiles.codes[pair[0], at].astype(np.int64) * data.n_items + pair[1], minlength=code.max() + 1
    )
    least = int(np.median(buyers)) + 1
    lift = segments(data, profiles, at, popular, least).ravel()[: len(buyers)] / np.tile(popular, 3)[: len(buyers)]
    assert np.all(lift[buyers < least] <= 1 + 1e-9), "what fewer wanted is nowhere lifted"
    assert lift[buyers >= least].max() > 1.5


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


# -- whose attributes may be used -------------------------------------------------------------------------------------

BARRED = ("none", "session", "objected", "restricted")


def choose(settings: Settings, mode: str, *, users: tuple[str, ...]) -> None:
    secret = load_secret(settings.db)
    with Artifacts(settings.artifacts, lock_timeout=5).exclusive():
        change(settings.artifacts, {hash_of(secret, customer_key(secret, user)): Choice(mode) for user in users})


def few(folder: Path, *, sharing: int, **given: int) -> tuple[Settings, Store]:
    """`sharing` customers of Iceland who bought i1, and 40 of Malta who bought i2; the last Icelander also i3."""
    settings = load({"db": str(folder / "shop.duckdb"), "artifacts": str(folder / "artifacts"), **given}, environ={})
    store = Store(settings.db, settings.store)
    load_secret(settings.db, create=True)
    land = {f"is{n}": "IS" for n in range(sharing)} | {f"mt{n}": "mt " for n in range(40)}
    rows = [(who, "i1" if who.startswith("is") else "i2", END - 60 * n) for n, who in enumerate(land)]
    rows += [(f"is{sharing - 1}", "i3", END - n * DAY) for n in range(9)]  # many times: still one customer
    profiles = [{"user_id": who, "attributes": json.dumps({"country": of})} for who, of in land.items()]
    with store.writing() as con, transaction(con):
        merge_events(
            con, pa.table(dict(zip(("user_id", "item_id", "ts"), map(list, zip(*rows, strict=True)), strict=True)))
        )
        merge_users(con, pa.Table.from_pylist(profiles))
    return settings, store


def countries(settings: Settings, store: Store) -> dict[str, int]:
    """Customers of each country that is a segment."""
    profiles = read_snapshot(store, settings).profiles
    assert profiles is not None
    if "country" not in profiles.names:
        return {}
    at = profiles.names.index("country")
    counts = np.bincount(profiles.codes[profiles.codes[:, at] >= 0, at], minlength=len(profiles.values[at]))
    return dict(zip(profiles.values[at], counts.tolist(), strict=True))


def test_a_segment_counts_nobody_who_decided_against_a_profile(tmp_path: Path) -> None:
    settings, store = few(tmp_path, sharing=LEAST + 3)
    settings.artifacts.mkdir(mode=0o700)
    for n, mode in enumerate(BARRED):
        assert countries(settings, store) == {"mt": 40, "is": LEAST + 3 - n}
        choose(settings, mode, users=(f"is{LEAST + 2 - n}",))
    assert countries(settings, store) == {"mt": 40}, "one customer too few share it now"
    data = read_snapshot(store, settings).data.interactions
    sold = np.bincount(data.histories.item, minlength=data.n_items)
    assert sold[data.items.codes(pa.array(["i3"]))].tolist() == [0], "nor does what they bought count"
    choose(settings, "objected", users=tuple(f"mt{n}" for n in range(LEAST + 1)))
    assert countries(settings, store) == {}


def test_a_segment_needs_as_many_customers_as_privacy_says(tmp_path: Path) -> None:
    settings, store = few(tmp_path, sharing=30, **{"privacy.min_customers": 31})
    assert countries(settings, store) == {"mt": 40}
    for least, found in ((30, {"mt", "is"}), (1, {"mt", "is"}), (41, set())):
        privacy = dataclasses.replace(settings.privacy, min_customers=least)
        assert countries(dataclasses.replace(settings, privacy=privacy), store).keys() == found
    (tmp_path / "fewer").mkdir()
    settings, store = few(tmp_path / "fewer", sharing=LEAST - 1, **{"privacy.min_customers": 1})
    assert countries(settings, store) == {"mt": 40}, f"{LEAST} at least, however little privacy asks for"


def test_profiles_of_some_customers_hold_what_these_share() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, -1], [-1, 0]], dtype=np.int16)
    whole = Profiles(("country", "b2b"), (("de", "fr"), ("yes", "no")), codes, least=2)
    assert whole.rows(np.arange(6)).names == ("country", "b2b")
    part = whole.rows(np.array([5, 4, 3, 2, 0]))
    assert (part.names, part.values) == (("country", "b2b"), (("fr",), ("yes",)))
    assert part.codes.tolist() == [[-1, 0], [0, -1], [0, -1], [0, 0], [-1, 0]]
    assert whole.rows(np.array([0, 3, 4])).names == ("country",)
    assert whole.codes.tolist() == codes.tolist()


@pytest.mark.parametrize("mode", BARRED)
def test_nobody_who_decided_against_a_profile_gets_a_list_by_attributes(
    shop: tuple[Settings, Store], tmp_path: Path, mode: str
) -> None:
    settings, _ = shop
    secret = load_secret(settings.db)
    choices = Choices(tmp_path, secret)  # of this test alone
    engine = Engine.open(Artifacts(settings.artifacts).current(), secret, choices=choices)
    plain = engine.recommend(Request(k=5)).item_ids

    def ask(**who: str) -> set[str]:
        answer = engine.recommend(Request(user={"country": "DE"}, k=5, **who))  # type: ignore[arg-type]
        assert (answer.item_ids == plain) is ("segment" not in answer.sources)
        return set(answer.sources)

    everybody: tuple[dict[str, str], ...] = ({"user_id": "stranger"}, {"session_id": "s1"})
    for who in everybody:
        assert ask(**who) == {"segment"}
        if mode in ("none", "session"):
            assert "segment" not in ask(consent=mode, **who)
    with_names = hash_of(secret, customer_key(secret, "stranger")), hash_of(secret, guest_key(secret, "s1"))
    with Artifacts(tmp_path, lock_timeout=5).exclusive():
        change(tmp_path, dict.fromkeys(with_names, Choice(mode)))
    choices.refresh()
    for who in (*everybody, {"user_id": "other", "session_id": "s1"}):
        assert "segment" not in ask(**who)
    assert ask(user_id="other", session_id="s2") == {"segment"}


def test_after_an_erasure_segments_are_made_of_those_who_are_left(shop: tuple[Settings, Store], tmp_path: Path) -> None:
    whole, folder = shop[0], tmp_path / "copy"
    shutil.copytree(whole.db.parent, folder)
    settings = dataclasses.replace(whole, db=folder / whole.db.name, artifacts=folder / whole.artifacts.name)
    store, artifacts = Store(settings.db, settings.store), Artifacts(settings.artifacts, lock_timeout=5)
    before = read_bundle(artifacts.current().path).shelves
    assert "segment_names" in before
    erase(store, artifacts, settings, ["c1"])
    version = artifacts.current()
    after = read_bundle(version.path).shelves
    assert sorted(json.loads(bytes(after["segment_names"]))) == sorted(json.loads(bytes(before["segment_names"])))
    assert not np.array_equal(after["segment_score"], before["segment_score"]), "the one who left counts no longer"
    answer = Engine.open(version, load_secret(settings.db)).recommend(Request(user={"country": "FR"}, k=5))
    assert set(answer.sources) == {"segment"}


# -- customers of whom more is known ----------------------------------------------------------------------------------


def test_a_ranker_makes_use_of_what_the_request_says(shop: tuple[Settings, Store], tmp_path: Path) -> None:
    """By what sells in the country named, with the customer's consent, in lists and in the order of a page."""
    whole, folder = shop[0], tmp_path / "copy"
    shutil.copytree(whole.db.parent, folder)
    settings = dataclasses.replace(whole, db=folder / whole.db.name, artifacts=folder / whole.artifacts.name)
    store, artifacts = Store(settings.db, settings.store), Artifacts(settings.artifacts, lock_timeout=5)
    held = SimpleNamespace(settings=settings, artifacts=artifacts, version=artifacts.current())
    version = with_ranker(held, first_by("group_lift:country", NEW, REPEAT))
    engine = Engine.open(version, load_secret(settings.db), budget=np.inf)

    def order(**given: Any) -> list[str]:
        return engine.recommend(Request(user_id="c1", k=5, **given)).item_ids

    plain, lists = order(), [order(user={"country": country}) for country in COUNTRIES]
    for at, found in enumerate(lists):
        assert {int(i[1:]) // 10 for i in found} == {at}
    assert order(user={"country": "AT"}) == plain, "nobody is known of there"
    assert order(user={"country": "DE"}, consent="session") == order(consent="session")
    assert order(rules={"freshness": 0.5}, user={"country": "ES"}) != order(rules={"freshness": 0.5})
    page = [f"i{n}" for n in (3, 13, 23, 33)]
    for at, country in enumerate(COUNTRIES):
        asked = Request(user_id="c1", user={"country": country}, explain=True)
        found = reorder(engine, asked, page).answer
        assert found.item_ids[0] == page[at]
        assert "How much more customers with the same country buy it" in found.reasons[0]
    before = ItemTable.load(version.path / ITEM_TABLE).lifts["country"]
    erase(store, artifacts, settings, ["c1"])
    after = ItemTable.load(artifacts.current().path / ITEM_TABLE).lifts["country"]
    assert after.values == before.values
    assert not np.array_equal(after.item, before.item), "the one who left counts no longer"
