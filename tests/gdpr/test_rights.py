"""Export, rectification, retention, lists and the command: what a shop does when a letter arrives."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import InputError, NotFound, UsageError
from recsys_cli.gdpr import erase, exporting, requests, verify
from recsys_cli.gdpr.asking import read_list
from recsys_cli.gdpr.journal import state_dir
from recsys_cli.gdpr.rectifying import rectify
from recsys_cli.gdpr.retention import due, expire
from recsys_cli.gdpr.telling import notice, records
from recsys_cli.schema import DAY

from .conftest import LONG, NUMBER, PEOPLE, REJECTED, UMLAUT, Shop
from .test_erasing import places


def test_an_export_has_every_trace_and_no_foreign_row(shop: Shop, tmp_path: Path) -> None:
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [NUMBER], lambda one: [{"item_id": "p1"}])
    assert len(document["events"]) == shop.count("events", f"user_id = '{NUMBER}'")
    assert {e["user_id"] for e in document["events"]} == {NUMBER}
    assert all(e["title"].startswith("Thing") for e in document["events"])
    assert document["profile"] == [{"user_id": NUMBER, "attributes": {"city": "Köln", "n": 0}}]
    assert [r["raw"]["Customer ID"] for r in document["rejected_rows"]] == [f"{NUMBER}.0"]
    assert len(document["received"]) == 2  # theirs, and what they did as a guest in the same session
    assert [v["version"] for v in document["versions"]] == ["v000001", "v000002"]
    assert document["sources"] == ["orders.csv"]
    text = json.dumps(document)
    assert not [one for one in (*PEOPLE, "c20099") if one != NUMBER and one in text]

    folder = tmp_path / "export"
    exporting.write(document, folder, shop.settings)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with (folder / "events.csv").open(newline="") as f:
        assert len(list(csv.DictReader(f))) == manifest["counts"]["events"] == len(document["events"])
    page = (folder / "index.html").read_text()
    assert "What you did" in page
    assert "<script" not in page


def test_digits_that_are_somebody_elses_quantity_are_not_exported(shop: Shop) -> None:
    with shop.store.writing() as con:
        raw = json.dumps({"Customer ID": "c20099", "Quantity": int(NUMBER)})
        con.execute(REJECTED, [1, 1, raw])
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [NUMBER])
    assert len(document["rejected_rows"]) == 1


def test_exports_of_several_ids_and_of_nobody(shop: Shop) -> None:
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [NUMBER, LONG])
    assert {e["user_id"] for e in document["events"]} == {NUMBER, LONG}
    with pytest.raises(NotFound, match="Nothing is held"):
        exporting.export(shop.store, shop.artifacts, shop.settings, ["nobody"])


def test_exports_are_deleted_when_old_and_when_the_person_is_erased(shop: Shop, tmp_path: Path) -> None:
    paths = {one: tmp_path / f"export of {n}" for n, one in enumerate((LONG, UMLAUT))}
    for one, path in paths.items():
        exporting.write(exporting.export(shop.store, shop.artifacts, shop.settings, [one]), path, shop.settings)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert not paths[LONG].exists()
    assert paths[UMLAUT].exists()
    (paths[UMLAUT] / "my own note.txt").write_text("stays")
    in_a_while = requests.requests(shop.settings.db)[0].received_at + 31 * DAY
    assert expire(shop.store, shop.artifacts, shop.settings, now=in_a_while)["exports"] == 1
    assert [p.name for p in paths[UMLAUT].iterdir()] == ["my own note.txt"]


def test_retention_erases_what_is_older_than_set(shop: Shop) -> None:
    settings = replace(
        shop.settings, retention=replace(shop.settings.retention, events_days=30, guests_days=1, rejected_days=1)
    )
    with shop.store.writing() as con:
        guest = "('s77', 'p1', 1690000000, 1, 'view')"
        con.execute(f"INSERT INTO events (session_id, item_id, ts, qty, event_type) VALUES {guest}")
    shop.publish()
    now = 1_710_000_000.0
    cut = int(now - 30 * DAY)
    named = "user_id IS NOT NULL"
    before, kept = shop.count("events", named), shop.count("events", f"{named} AND ts >= {cut}")
    assert due(settings, now)
    gone = expire(shop.store, shop.artifacts, settings, now=now)
    assert (gone["events"], gone["guest_events"]) == (before - kept, 1)
    assert shop.count("events") == kept
    for name in shop.artifacts.names():
        histories = read_bundle(shop.artifacts.open(name).path).histories
        assert int(histories.ts.min()) >= cut
    assert not due(settings, now + 60)
    assert due(settings, now + DAY)
    assert shop.count("rejected") > 0  # taken in just now
    assert expire(shop.store, shop.artifacts, settings, now=now + 10 * 365 * DAY)["rejected"] > 0


def test_rectified_data_is_right_and_the_wrong_is_in_no_byte(shop: Shop) -> None:
    rectify(shop.store, shop.artifacts, shop.settings, LONG, {"city": "Musterhausen am See", "n": None})
    (profile,) = exporting.export(shop.store, shop.artifacts, shop.settings, [LONG])["profile"]
    assert profile["attributes"] == {"city": "Musterhausen am See"}
    rectify(shop.store, shop.artifacts, shop.settings, LONG, {"city": "Bonn"}, ["p1"])
    assert b"Musterhausen" not in shop.settings.db.read_bytes()
    assert shop.count("events", f"user_id = '{LONG}' AND item_id = 'p1'") == 0
    with pytest.raises(NotFound, match="no such profile"):
        rectify(shop.store, shop.artifacts, shop.settings, "nobody", {"city": "x"})
    with pytest.raises(UsageError, match="nothing to change"):
        rectify(shop.store, shop.artifacts, shop.settings, LONG, {})


def test_the_search_alone_changes_nothing(shop: Shop) -> None:
    assert not verify(shop.store, shop.artifacts, shop.settings, [LONG]).clean
    assert verify(shop.store, shop.artifacts, shop.settings, ["nobody-at-all"]).clean
    assert [r.outcome for r in requests.requests(shop.settings.db)] == ["traces found", "nobody found"]


def test_notice_and_records_say_what_is_set(shop: Shop) -> None:
    settings = replace(shop.settings, retention=replace(shop.settings.retention, events_days=730))
    for text in (notice(settings, shop.artifacts), records(settings, shop.artifacts)):
        assert "730 days" in text
        assert "purchase" in text
        assert "400 days" in text


def test_what_has_no_limit_is_said_to_be_kept_without_one(shop: Shop) -> None:
    rules = replace(shop.settings.retention, events_days=0, guests_days=0, rejected_days=0, log_days=0)
    settings = replace(shop.settings, retention=rules)
    for text in (notice(settings, shop.artifacts), records(settings, shop.artifacts)):
        assert "account" not in text
        assert text.count("without a limit") == 4
    assert "visits without a name: without a limit" in notice(settings, shop.artifacts)


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("a@x.example\nb\n", ["a@x.example", "b"]),
        ("user_id\n13085\n13085\n", ["13085"]),
        ("name;customer_id\nAnna;1\nBert;2\n", ["1", "2"]),
        ('name,user_id,reason\n"Smith, Erin",c1,left\n,,\nKim,"c,2",\n', ["c1", "c,2"]),
        ("user_id\treason\nc1\tleft, and gone; for good\n", ["c1"]),
    ],
)
def test_lists_of_people(tmp_path: Path, text: str, people: list[str]) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert read_list(tmp_path / "list.csv") == people


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("c1\nSmith, John\n", 2),
        ("name,user_id,reason\nErin,c1,left\nKim,,moved\n", 3),
        ("name,user_id,reason\nErin\n", 2),
        ("user_id,reason\n\nc1,left, and gone\n", 3),
        ('c1\n"c2\nc3\n', 3),
    ],
)
def test_nobody_is_passed_over_or_taken_for_somebody_else(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=rf"(?i)line {line} of"):
        read_list(tmp_path / "list.csv")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "user_id\n"])
def test_lists_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError):
        read_list(tmp_path / "list.csv")


def test_the_command(shop: Shop, recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", "delete", LONG, *shop.flags())
    assert (done.returncode, done.stderr.count("\n")) == (11, 1)
    assert "--yes" in done.stderr
    done = recsys("gdpr", "export", LONG, "--out", str(tmp_path / "out.json"), *shop.flags())
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_bytes())["recommended_now"][LONG]
    (tmp_path / "list.txt").write_text(f"{LONG}\nstranger-77\n")
    done = recsys("gdpr", "delete", "--file", str(tmp_path / "list.txt"), "--yes", "--json", *shop.flags())
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["erased"], result["unknown"]) == (1, 1)
    assert places(shop, LONG) == []
    receipt = Path(result["receipt"])
    assert json.loads(receipt.read_bytes())["checked"]["found"] == 0
    assert LONG not in receipt.read_text() + receipt.with_suffix(".txt").read_text()
    assert receipt.stat().st_mode & 0o777 == 0o600
    done = recsys("gdpr", "delete", "stranger-77", "--yes", *shop.flags())
    assert done.returncode == 0
    assert "Nothing is held about stranger-77." in done.stdout
    (state_dir(shop.settings.db) / "left.txt").write_text(LONG)
    done = recsys("gdpr", "verify", LONG, *shop.flags())
    assert done.returncode == 10
    assert "left.txt" in done.stdout
    for path in (state_dir(shop.settings.db), shop.artifacts.root):
        assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("pair", ["foo", "=Bonn", " =Bonn"])
def test_an_attribute_without_a_name_or_a_value_is_refused(shop: Shop, pair: str, recsys) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", "rectify", LONG, "--set", pair, *shop.flags())
    assert done.returncode == 2
    assert "--set wants KEY=VALUE" in done.stderr
    assert all(request.kind != "rectification" for request in requests.requests(shop.settings.db))
