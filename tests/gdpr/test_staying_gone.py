"""Erased people stay gone: old exports, late lines and restored backups do not bring them back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.gdpr import erase, journal, suppression
from recsys_cli.gdpr.returning import reapply
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.ingest import ingest
from recsys_cli.updates.drain import drain

from .conftest import LONG, NUMBER, Shop, fill
from .test_erasing import places


def test_an_old_export_does_not_bring_them_back_and_new_customers_may_come(shop: Shop, tmp_path: Path) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    later = suppression.entries(shop.settings.db)[-1].at + 60
    export = tmp_path / "old.csv"
    export.write_text(f"user_id,item_id,ts,qty\n{LONG},p1,1700000000,1\nc20050,p1,1700000777,1\n{LONG},p2,{later},1\n")
    ingest(shop.settings, [export])
    assert shop.count("events", f"user_id = '{LONG}' AND ts < {later}") == 0
    assert shop.count("events", "user_id = 'c20050' AND ts = 1700000777") == 1
    assert shop.count("rejected", f"raw LIKE '%{LONG}%'") == 0


def test_late_lines_of_the_log_are_left_out(shop: Shop) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    shop.receive(
        {"user_id": LONG, "item_id": "p3", "ts": 1_700_000_000, "event_type": "view"},
        {"user_id": "c20050", "item_id": "p3", "ts": 1_700_000_000, "event_type": "view"},
    )
    drain(shop.store, shop.spool)
    assert shop.count("events", f"user_id = '{LONG}'") == 0
    assert shop.count("events", "user_id = 'c20050' AND item_id = 'p3' AND ts = 1700000000") == 1


def test_without_suppression_an_old_export_counts_again(shop: Shop, tmp_path: Path) -> None:
    settings = replace(shop.settings, gdpr=replace(shop.settings.gdpr, suppress=False))
    erase(shop.store, shop.artifacts, settings, [LONG])
    export = tmp_path / "old.csv"
    export.write_text(f"user_id,item_id,ts,qty\n{LONG},p1,1700000000,1\n")
    ingest(settings, [export])
    assert shop.count("events", f"user_id = '{LONG}'") == 1


def test_the_list_expires_and_names_nobody(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    entry = suppression.entries(shop.settings.db)[0]
    high, _ = user_key(load_secret(shop.settings.db), LONG)
    content = (journal.state_dir(shop.settings.db) / suppression.FILE).read_bytes()
    assert LONG.encode() not in content
    assert f"{high:016x}".encode() not in content
    monkeypatch.setattr(suppression.time, "time", lambda: entry.until + 1)
    assert suppression.entries(shop.settings.db) == []


def test_a_backup_from_before_is_cleaned_before_it_serves(shop: Shop, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(shop.root, backup)
    erase(shop.store, shop.artifacts, shop.settings, [LONG, NUMBER])
    # What a restore puts back: the database, the versions and the spool; what it leaves: our own state.
    shutil.copy(backup / "shop.duckdb", shop.settings.db)
    shutil.rmtree(shop.artifacts.root)
    shutil.copytree(backup / "models", shop.artifacts.root)
    assert places(shop, LONG)
    assert reapply(shop.store, shop.artifacts, shop.settings) > 0
    for one in (LONG, NUMBER):
        assert places(shop, one) == []
        key = user_key(load_secret(shop.settings.db), one)
        assert all(find_key(read_bundle(shop.artifacts.open(n).path).keys, key) == -1 for n in shop.artifacts.names())
    assert shop.count("events", "user_id = 'c20050'") > 0
    assert reapply(shop.store, shop.artifacts, shop.settings) == 0


def test_only_the_versions_of_a_backup(shop: Shop, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(shop.artifacts.versions_dir, backup)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    shutil.rmtree(shop.artifacts.versions_dir)
    shutil.copytree(backup, shop.artifacts.versions_dir)
    with shop.artifacts.exclusive():
        shop.artifacts.point_to("v000002")
    reapply(shop.store, shop.artifacts, shop.settings)
    key = user_key(load_secret(shop.settings.db), LONG)
    assert find_key(read_bundle(shop.artifacts.current().path).keys, key) == -1


def test_a_twin_that_never_knew_them_is_the_same_array_for_array(empty: Shop, tmp_path: Path) -> None:
    """One thread, one seed: after --retrain nothing tells that they were ever there; bench_twin.py takes twenty."""
    from .twins import check_twin

    fill(empty)
    check_twin(empty, [LONG, NUMBER], tmp_path / "twin", "als")
