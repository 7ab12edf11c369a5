"""What holds for every file and table, whoever adds one: private, about people only where erasure looks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_cli.gdpr import erase
from recsys_cli.gdpr.proof.scan import state_roots
from recsys_cli.gdpr.rights import export as exporting
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.identity import load_secret, pseudonym, state_dir
from recsys_cli.ingest import ingest
from recsys_cli.store.personal_data import tables_of_people
from tests.gdpr.conftest import LONG, NUMBER, Shop, full, shop

__all__ = ["full", "shop"]

EMAIL = "Anna.Müller@example.org"


def test_everything_we_write_is_only_for_its_owner(shop: Shop, tmp_path: Path) -> None:
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [LONG])
    exporting.write(document, tmp_path / "out", shop.settings)
    decide(shop.store, shop.artifacts, shop.settings, [NUMBER], "restricted")
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    roots = state_roots(shop.settings.db, shop.settings.artifacts)
    paths = [p for root in roots for p in (root, *root.rglob("*"))]
    assert len(paths) > 40
    wrong = [str(p) for p in paths if p.stat().st_mode & 0o777 != (0o700 if p.is_dir() else 0o600)]
    assert wrong == []


def test_every_table_that_could_name_people_is_known_to_erasure(shop: Shop) -> None:
    """A new table with another column for people must get `user_id`, or erasure must learn of it."""
    with shop.store.reading() as con:
        covered = {*tables_of_people(con), "rejected", "batches", "state"}
        tables = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    about_things = {"items", "item_history", "changed_items", "migrations", "spool_position"}
    about_things |= {"served", "served_position"}
    assert tables - covered - about_things == set()


def test_an_erased_person_is_found_by_the_address_they_gave(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(f"user_id,item_id,ts,qty\n{EMAIL},p1,1700000000,1\n{EMAIL},,1700000001,1\n")
    ingest(shop.settings, [tmp_path / "orders.csv"])
    name = pseudonym(load_secret(shop.settings.db), EMAIL)
    assert shop.count("events", f"user_id = '{name}'") == 1
    shop.publish()
    assert len(exporting.export(shop.store, shop.artifacts, shop.settings, [EMAIL])["events"]) == 1
    done = erase(shop.store, shop.artifacts, shop.settings, [EMAIL.upper()])
    assert done.erased == 1
    everything = b"".join(p.read_bytes() for p in shop.root.rglob("*") if p.is_file())
    for text in (name, EMAIL, EMAIL.lower()):
        assert text.encode() not in everything


@pytest.mark.parametrize("part", ["receipts", "log.jsonl", "erased.json"])
def test_what_stays_after_an_erasure_names_nobody(shop: Shop, part: str) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG, "stranger-77"])
    path = state_dir(shop.settings.db) / part
    content = b"".join(p.read_bytes() for p in ([path] if path.is_file() else path.iterdir()))
    assert content
    assert LONG.encode() not in content
    assert b"stranger-77" not in content
