"""Erased people stay gone: old exports, late lines and restored backups do not bring them back; new ones may come."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

from recsys_cli.artifacts import suppressed
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.durable_files import scratch
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.carry_out import reapply
from recsys_cli.gdpr.records import journal
from recsys_cli.gdpr.records.receipts import retrain_by
from recsys_cli.identity import find_key, load_secret, state_dir, user_key
from recsys_cli.ingest import ingest
from recsys_cli.schema import DAY
from recsys_cli.updates.drain import drain
from recsys_cli.updates.one_pass import run_pass

from .conftest import LONG, NUMBER, Shop, fill, places

HEADER = "user_id,session_id,item_id,event_type,timestamp\n"
KIM = "kim-77,,p1,purchase,2026-02-31T00:00:00\nkim-77,,p1,purchase,2026-02-03T00:00:00\n"
GUEST_ROW, DAVE = ",guest-9,p1,view,2026-02-03T00:00:00\n", "dave,,p2,purchase,2026-02-03T00:00:00\n"


def take(shop: Shop, text: str, name: str = "a.csv") -> tuple[int, int]:
    """Ingest a file of this text; gives what was new and rejected."""
    path = shop.root.parent / name
    path.write_text(text)
    (report,) = ingest(shop.settings, [path]).files
    return report.new, report.rejected


def test_neither_a_guest_nor_a_customer_comes_back_with_a_longer_export(empty: Shop) -> None:
    take(empty, HEADER + KIM + GUEST_ROW + DAVE)
    assert erase(empty.store, empty.artifacts, empty.settings, ["kim-77", "guest-9"]).erased == 2
    later = suppressed.entries(empty.settings.db)[-1].at + 60
    text = HEADER + KIM + GUEST_ROW + DAVE + "eve,,p2,view,2026-02-04T00:00:00\n" + f"kim-77,,p3,view,{later}\n"
    assert take(empty, text)[1] == 3
    assert empty.count("events", f"(session_id = 'guest-9' OR user_id = 'kim-77') AND ts < {later}") == 0
    # The row whose time cannot be read is counted, and says nothing of whom it was about.
    assert empty.count("rejected", "reason = 'erased' AND raw IS NULL AND detail IS NULL") == 3


def test_sales_of_the_same_evening_stay_away_though_their_times_are_local(empty: Shop) -> None:
    from datetime import UTC, datetime, timedelta

    take(empty, HEADER + KIM + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["kim-77"])
    berlin = (datetime.now(UTC) + timedelta(hours=1, minutes=58)).strftime("%Y-%m-%d %H:%M:%S")  # two minutes ago
    assert take(empty, HEADER + f"kim-77,,p1,purchase,{berlin}\nerin,,p1,purchase,{berlin}\n", "b.csv") == (1, 1)


def test_who_registers_again_has_a_profile_again(empty: Shop) -> None:
    take(empty, HEADER + KIM + DAVE)
    erase(empty.store, empty.artifacts, empty.settings, ["kim-77"])
    profile = "user_id,city\nkim-77,Bonn\ndave,Bonn\n"
    assert take(empty, profile, "users.csv") == (1, 1)
    later = suppressed.entries(empty.settings.db)[-1].at + 60
    take(empty, f"user_id,item_id,ts\nkim-77,p1,{later}\n", "new.csv")
    take(empty, profile + "erin,Bonn\n", "users.csv")
    assert empty.count("users", "user_id = 'kim-77'") == 1


def test_late_lines_of_the_log_are_left_out(shop: Shop) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    shop.receive(
        {"user_id": LONG, "item_id": "p3", "ts": 1_700_000_000},
        {"user_id": "c20050", "item_id": "p3", "ts": 1_700_000_000},
    )
    drain(shop.store, shop.spool)
    assert shop.count("events", f"user_id = '{LONG}'") == 0
    assert shop.count("events", "user_id = 'c20050' AND item_id = 'p3' AND ts = 1700000000") == 1


def test_without_suppression_an_old_export_counts_again(shop: Shop) -> None:
    settings = replace(shop.settings, gdpr=replace(shop.settings.gdpr, suppress=False))
    erase(shop.store, shop.artifacts, settings, [LONG])
    take(shop, f"user_id,item_id,ts,qty\n{LONG},p1,1700000000,1\n")
    assert shop.count("events", f"user_id = '{LONG}'") == 1


def test_a_backup_from_before_is_cleaned_before_it_serves(shop: Shop, tmp_path: Path) -> None:
    bad = "user_id,item_id,ts,qty\nonly-rejected-7,p1,1700000000,x\nc20050,p1,1700000000,x\n"
    take(shop, bad, "bad.csv")
    backup = tmp_path / "backup"
    shutil.copytree(shop.root, backup)
    erase(shop.store, shop.artifacts, shop.settings, [LONG, NUMBER, "only-rejected-7"])
    # What a restore puts back: the database, the versions and the spool; what it leaves: our own state.
    shutil.copy(backup / "shop.duckdb", shop.settings.db)
    shutil.rmtree(shop.artifacts.root)
    shutil.copytree(backup / "models", shop.artifacts.root)
    (shop.artifacts.root / "notes.txt").write_text(f"{LONG} called")  # nothing that stops the shop from running
    assert reapply(shop.store, shop.artifacts, shop.settings) >= 3
    for one in (LONG, NUMBER):
        key = user_key(load_secret(shop.settings.db), one)
        assert all(find_key(read_bundle(shop.artifacts.open(n).path).keys, key) == -1 for n in shop.artifacts.names())
        assert shop.count("events", f"user_id = '{one}'") == 0
    assert shop.count("rejected", "raw LIKE '%only-rejected-7%'") == 0
    assert shop.count("rejected", "raw LIKE '%c20050%'") == 1
    assert [plan.asked for plan in journal.unfinished(shop.settings.db)] == [(LONG,)]


def test_what_killed_imports_left_is_swept(shop: Shop) -> None:
    folder, prefix = scratch(shop.settings.db)
    left = folder / f"{prefix}1-abcd"
    left.mkdir()
    (left / "stdin").write_text(f"user_id\n{LONG}\n")
    assert places(shop, LONG)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert not left.exists()


def test_the_list_expires_and_names_nobody(shop: Shop) -> None:
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    high, _ = user_key(load_secret(shop.settings.db), LONG)
    content = (shop.root / "shop.duckdb.gdpr" / suppressed.FILE).read_bytes()
    assert LONG.encode() not in content
    assert f"{high:016x}".encode() not in content
    suppressed.add(shop.settings.db, "x", [(1, 2)], days=-1000, keeps_out=True)
    assert len(suppressed.entries(shop.settings.db)) >= 1


def test_a_twin_that_never_knew_them_is_the_same_array_for_array(empty: Shop, tmp_path: Path) -> None:
    """One thread, one seed: after --retrain nothing tells that they were ever there; bench_twin.py takes twenty."""
    from .twins import check_twin

    fill(empty)
    check_twin(empty, [LONG, NUMBER], tmp_path / "twin", "als")


def test_the_worker_trains_what_was_learned_of_them_away_when_its_days_are_over(shop: Shop) -> None:
    """`gdpr.retrain_days`: not before, then whatever the gate says; the receipt tells."""
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    before = shop.artifacts.current().name
    due = retrain_by(shop.artifacts, shop.settings)
    assert due is not None
    assert due > time.time() + 29 * DAY
    assert run_pass(shop.store, shop.artifacts, shop.settings).training is None
    assert "forgotten" in shop.artifacts.current().manifest
    late = replace(shop.settings, gdpr=replace(shop.settings.gdpr, retrain_days=0.0))
    done = run_pass(shop.store, shop.artifacts, late)
    served = shop.artifacts.current()
    assert (done.outcome, done.version) == ("published", served.name)
    assert served.name != before
    assert served.manifest["kind"] == "train"
    assert "forgotten" not in served.manifest
    assert retrain_by(shop.artifacts, late) is None
    (receipt,) = (state_dir(shop.settings.db) / "receipts").glob("*.json")
    document = json.loads(receipt.read_bytes())
    assert document["model"] == f"trained again as {served.name}; no older version is kept"
    assert shop.artifacts.names() == [served.name]
    assert run_pass(shop.store, shop.artifacts, late).outcome == "nothing new"
