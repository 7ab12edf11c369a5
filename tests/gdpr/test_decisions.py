"""Objection, restriction and consent: seen at once, in no version while they hold, and back when they are lifted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.artifacts.choices import (
    ERASED,
    FULL,
    NONE,
    OBJECTED,
    RESTRICTED,
    SESSION,
    Choice,
    Choices,
    change,
    hash_of,
)
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.records import request_log as requests
from recsys_cli.gdpr.rights.consent import decide, sync_consent
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.store.merge import merge_users, transaction

from .conftest import LONG, NUMBER, Shop


def held(shop: Shop, one: str) -> int:
    key = user_key(load_secret(shop.settings.db), one)
    return find_key(read_bundle(shop.artifacts.current().path).keys, key)


@pytest.mark.parametrize("mode", [RESTRICTED, OBJECTED, NONE, SESSION])
def test_a_decision_takes_the_person_out_of_versions_and_lifting_it_brings_them_back(shop: Shop, mode: str) -> None:
    rows = shop.count("events", f"user_id = '{LONG}'")
    server = Choices(shop.artifacts.root, load_secret(shop.settings.db))
    key = user_key(load_secret(shop.settings.db), LONG)
    server.refresh()
    assert server.of(key).profile

    decide(shop.store, shop.artifacts, shop.settings, [LONG], mode)

    assert server.refresh()
    assert server.of(key).mode == mode
    assert not server.of(key).profile
    assert server.of(key).live == (mode == SESSION)
    assert server.of(user_key(load_secret(shop.settings.db), NUMBER)).mode == FULL
    assert held(shop, LONG) == -1
    assert held(shop, NUMBER) >= 0
    assert "forgotten" not in shop.artifacts.current().manifest
    assert shop.count("events", f"user_id = '{LONG}'") == rows
    shop.publish()
    assert held(shop, LONG) == -1

    decide(shop.store, shop.artifacts, shop.settings, [LONG], FULL)
    assert server.refresh()
    assert server.of(key).profile
    shop.publish()
    assert held(shop, LONG) >= 0


def test_an_objection_counts_at_once_in_what_is_told_of_everybody(shop: Shop) -> None:
    """Shelves, pairs and segments of the served version: a training or an update may be a week away."""
    before = read_bundle(shop.artifacts.current().path).shelves
    decide(shop.store, shop.artifacts, shop.settings, [LONG], OBJECTED)
    after = read_bundle(shop.artifacts.current().path).shelves
    again = read_bundle(shop.publish().path).shelves
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    np.testing.assert_allclose(after["popular"], again["popular"], rtol=1e-6)


def test_a_training_that_began_before_leaves_them_out(shop: Shop) -> None:
    from recsys_cli.artifacts import suppressed
    from recsys_cli.publishing import train, version

    mark = suppressed.mark(shop.settings.db)
    snapshot = train.read_snapshot(shop.store, shop.settings)
    model = train.Recipe.of("popular", {}).fit(snapshot.data, shop.settings, train.SILENT)
    decide(shop.store, shop.artifacts, shop.settings, [LONG], OBJECTED)
    release = version.Release(snapshot, model, kind="train", erasures=mark)
    version.publish_version(shop.artifacts, shop.settings, release)
    assert held(shop, LONG) == -1


def test_the_consent_column_counts_and_what_people_decide_is_stronger(shop: Shop) -> None:
    secret = load_secret(shop.settings.db)
    decide(shop.store, shop.artifacts, shop.settings, [NUMBER], OBJECTED)
    with shop.store.writing() as con, transaction(con):
        merge_users(con, pa.table({"user_id": [LONG, NUMBER, "c20099"], "consent": ["None", "full", "full"]}))
    assert sync_consent(shop.store, shop.artifacts, shop.settings) == 1
    server = Choices(shop.artifacts.root, secret)
    server.refresh()
    assert server.of(user_key(secret, LONG)).mode == NONE
    assert server.of(user_key(secret, NUMBER)).mode == OBJECTED
    assert sync_consent(shop.store, shop.artifacts, shop.settings) == 0
    with shop.store.writing() as con, transaction(con):
        merge_users(con, pa.table({"user_id": [LONG], "consent": ["full"]}))
    assert sync_consent(shop.store, shop.artifacts, shop.settings) == 1
    server.refresh()
    assert server.of(user_key(secret, LONG)).mode == FULL


def test_the_file_names_nobody(shop: Shop) -> None:
    decide(shop.store, shop.artifacts, shop.settings, [LONG], RESTRICTED)
    content = (shop.artifacts.root / "choices.json").read_bytes()
    high, low = user_key(load_secret(shop.settings.db), LONG)
    assert LONG.encode() not in content
    assert f"{high:016x}{low:016x}".encode() not in content
    assert (shop.artifacts.root / "choices.json").stat().st_mode & 0o777 == 0o600


def test_servers_hear_of_an_erasure_and_the_choice_ends(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = load_secret(shop.settings.db)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    server = Choices(shop.artifacts.root, secret)
    server.refresh()
    assert server.of(user_key(secret, LONG)).mode == ERASED
    change(shop.artifacts.root, {hash_of(secret, user_key(secret, LONG)): Choice(ERASED, until=1)})
    server.refresh()
    assert server.of(user_key(secret, LONG)).mode == FULL


def test_every_decision_is_in_the_log_without_a_name(shop: Shop) -> None:
    decide(shop.store, shop.artifacts, shop.settings, [LONG, NUMBER], OBJECTED)
    (request,) = requests.requests(shop.settings.db)
    assert (request.kind, request.people, request.outcome) == ("objection", 2, "done")
    assert request.due_at == requests.months_after(request.received_at, 1)
    assert LONG.encode() not in (shop.settings.db.parent / "shop.duckdb.gdpr" / "log.jsonl").read_bytes()
