"""Exports, retention, the log and the papers: what the shop hands out, keeps, and can show."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.cli.people_file import read_list
from recsys_cli.errors import InputError, NotFound, Refused, UsageError
from recsys_cli.gdpr import erase, export, verify
from recsys_cli.gdpr.records import request_log
from recsys_cli.gdpr.records.letter import draft
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.gdpr.rights.export import write
from recsys_cli.gdpr.rights.rectify import rectify
from recsys_cli.schema import DAY
from recsys_cli.store.retention import NOTICE_DAYS, told
from recsys_cli.updates.drain import drain
from recsys_cli.updates.retention_run import due, expire

from .conftest import LONG, NUMBER, UMLAUT, Shop

OLD = 1_690_000_000


def written(shop: Shop, one: str, out: Path) -> list[Path]:
    return write(export(shop.store, shop.artifacts, shop.settings, [one]), out, shop.settings)


def test_an_export_is_readable_by_people_and_programs(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    document = export(shop.store, shop.artifacts, shop.settings, [NUMBER], lambda one: [{"item_id": "p1"}])
    write(document, folder, shop.settings)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with (folder / "events.csv").open(newline="") as f:
        assert len(list(csv.DictReader(f))) == manifest["counts"]["events"] == len(document["events"])
    assert "<script" not in (folder / "index.html").read_text()
    assert document["versions"]
    with pytest.raises(NotFound, match=f"Did you mean {LONG}"):
        export(shop.store, shop.artifacts, shop.settings, [LONG.upper()])


@pytest.mark.parametrize(("language", "bought"), [("en", "bought"), ("de", "gekauft")])
def test_the_page_is_in_plain_words(shop: Shop, tmp_path: Path, language: str, bought: str) -> None:
    write(export(shop.store, shop.artifacts, shop.settings, [LONG]), tmp_path / "x", shop.settings, language=language)
    page = (tmp_path / "x" / "index.html").read_text()
    assert f"<td>{bought}</td>" in page
    assert ">Thing " in page
    assert "730" in page
    assert "[" in page  # what only the shop knows is marked
    for column in ("event_type", "user_id", "item_id", "order_id", "session_id", "{"):
        assert column not in page.split("</style>")[1]


def test_a_folder_is_one_persons(shop: Shop, tmp_path: Path) -> None:
    letter, web = tmp_path / "letter", tmp_path / "web"
    written(shop, LONG, letter)
    before = {p.name: p.read_bytes() for p in letter.iterdir()}
    with pytest.raises(InputError, match="holds something other than an earlier export of this person"):
        written(shop, UMLAUT, letter)
    assert {p.name: p.read_bytes() for p in letter.iterdir()} == before
    web.mkdir()
    (web / "index.html").write_text("the shop's own page")
    with pytest.raises(InputError):
        written(shop, LONG, web)
    assert [p.name for p in web.iterdir()] == ["index.html"]
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(InputError, match="is not an earlier export"):
        written(shop, LONG, tmp_path / "mine.json")
    written(shop, LONG, letter)  # again, in the place of the earlier one
    (letter / "my note.txt").write_text("x")
    with pytest.raises(InputError):
        written(shop, LONG, letter)
    assert [r.outcome for r in request_log.requests(shop.settings.db)].count("not written") == 4
    assert not list(tmp_path.glob(".*"))


def test_exports_are_deleted_when_old_and_when_the_person_is_erased(shop: Shop, tmp_path: Path) -> None:
    paths = {one: tmp_path / f"export of {n}" for n, one in enumerate((LONG, UMLAUT))}
    for one, path in paths.items():
        written(shop, one, path)
    done = erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert done.removed["exports"] == 1
    assert not paths[LONG].exists()
    (paths[UMLAUT] / "my own note.txt").write_text("stays")
    in_a_while = request_log.requests(shop.settings.db)[0].received_at + 31 * DAY
    assert expire(shop.store, shop.artifacts, shop.settings, now=in_a_while)["exports"] == 1
    assert [p.name for p in paths[UMLAUT].iterdir()] == ["my own note.txt"]


def with_old_rows(shop: Shop) -> Shop:
    """With a guest and a customer of long ago, in a batch of long ago."""
    with shop.store.writing() as con:
        con.execute("UPDATE batches SET started_at = 1")
        for who in ("session_id", "user_id"):
            con.execute(
                f"INSERT INTO events ({who}, item_id, ts, qty, event_type, batch_id) "
                f"VALUES ('old-one', 'p1', {OLD}, 1, 'view', 1)"
            )
    rules = replace(shop.settings.retention, events_days=110, guests_days=90, rejected_days=0)
    return replace(shop, settings=replace(shop.settings, retention=rules))


def test_what_is_too_old_is_announced_and_goes_later_counted_from_the_newest_event(shop: Shop) -> None:
    """The newest event is of 2024: by the clock, all would be too old."""
    held = with_old_rows(shop)
    newest = held.publish().newest_ts
    rows, now = held.count("events"), 1_800_000_000.0
    assert due(held.settings, now)
    assert expire(held.store, held.artifacts, held.settings, now=now) == {}
    assert "are erased from 2027-01-29 on" in told(held.settings.db).announced
    assert not due(held.settings, now + 60)
    assert expire(held.store, held.artifacts, held.settings, now=now + DAY) == {}
    assert held.count("events") == rows
    gone = expire(held.store, held.artifacts, held.settings, now=now + NOTICE_DAYS * DAY + 1)
    assert gone["guest_events"] == 1
    assert held.count("events", f"ts < {newest - 110 * DAY}") == 0
    assert held.count("events") == rows - gone["events"] - 1
    assert all(read_bundle(held.artifacts.open(n).path).histories.ts.min() > OLD for n in held.artifacts.names())
    assert told(held.settings.db).announced == ""


def test_a_clock_that_jumps_erases_nothing_and_is_told_until_it_is_put_right(shop: Shop) -> None:
    """A thousand days ahead for a while, with events received meanwhile: the case that once emptied a shop."""
    old = with_old_rows(shop)
    now = 1_800_000_000.0
    arguments = old.store, old.artifacts, old.settings
    expire(*arguments, now=now)
    expire(*arguments, now=now + 13 * DAY)
    expire(*arguments, now=now + 15 * DAY)  # everything old is gone, and the announcement is over
    rows, ahead = old.count("events"), now + 1000 * DAY
    with old.store.writing() as con:
        con.execute(
            "INSERT INTO events (user_id, item_id, ts, qty, event_type, batch_id) "
            f"VALUES ('of-the-future', 'p1', {int(ahead)}, 1, 'view', 1)"
        )
    assert due(old.settings, ahead)
    assert expire(*arguments, now=ahead) == {}
    assert expire(*arguments, now=ahead + 2 * DAY) == {}
    assert old.count("events") == rows + 1
    assert "jumped by 2,041 days" in told(old.settings.db).held  # the newest event was of 2024

    with pytest.raises(Refused, match="Nothing was erased"):
        expire(*arguments, now=ahead + 3 * DAY, at_once=True)
    right = now + 16 * DAY
    assert due(old.settings, right)
    assert expire(*arguments, now=right) == {}
    assert told(old.settings.db).held == ""
    assert expire(*arguments, now=right + DAY) == {}
    assert old.count("events", "user_id <> 'of-the-future'") == rows - old.count("events", "user_id IS NULL")


def test_a_time_that_has_really_passed_is_believed_after_a_fortnight_or_when_said(shop: Shop) -> None:
    old = with_old_rows(shop)
    now = 1_800_000_000.0
    arguments = old.store, old.artifacts, old.settings
    expire(*arguments, now=now)
    assert expire(*arguments, now=now + 60 * DAY) == {}  # the box was off for two months
    assert told(old.settings.db).held
    assert expire(*arguments, now=now + 60 * DAY, at_once=True, sure=True)["guest_events"] == 1
    assert told(old.settings.db).held == ""


def test_what_was_taken_in_just_now_and_who_is_restricted_is_kept(shop: Shop) -> None:
    held = with_old_rows(shop)
    now = 1_800_000_000.0
    decide(held.store, held.artifacts, held.settings, ["old-one"], "restricted")
    with held.store.writing() as con:
        con.execute("INSERT INTO batches (batch_id, source, started_at) VALUES (77, 'history.csv', 1800000000)")
        con.execute(
            "INSERT INTO events (user_id, item_id, ts, qty, event_type, batch_id) "
            f"VALUES ('imported', 'p1', {OLD}, 1, 'view', 77)"
        )
    expire(held.store, held.artifacts, held.settings, now=now)
    expire(held.store, held.artifacts, held.settings, now=now + 13 * DAY)
    gone = expire(held.store, held.artifacts, held.settings, now=now + 14 * DAY - 60, at_once=False)
    assert held.count("events", "user_id = 'imported'") == 1, gone
    assert expire(held.store, held.artifacts, held.settings, now=now + 15 * DAY)["events"] >= 1
    assert held.count("events", "user_id = 'imported'") == 0
    assert held.count("events", "user_id = 'old-one'") == 1


def test_rectified_data_is_right_and_the_wrong_is_in_no_byte(shop: Shop) -> None:
    rectify(shop.store, shop.artifacts, shop.settings, LONG, {"city": "Musterhausen am See", "n": None})
    (profile,) = export(shop.store, shop.artifacts, shop.settings, [LONG])["profile"]
    assert profile["attributes"] == {"city": "Musterhausen am See"}
    done = rectify(shop.store, shop.artifacts, shop.settings, LONG, {"city": "Bonn"}, ["p1"])
    assert done.lines == 1  # received, and not taken in yet
    assert b"Musterhausen" not in shop.settings.db.read_bytes()
    drain(shop.store, shop.spool)
    assert shop.count("events", f"user_id = '{LONG}' AND item_id = 'p1'") == 0
    assert shop.count("events", f"user_id = '{UMLAUT}' AND item_id = 'p1' AND ts = 1710000001") == 1
    with pytest.raises(NotFound, match="no such profile"):
        rectify(shop.store, shop.artifacts, shop.settings, "nobody", {"city": "x"})
    with pytest.raises(UsageError, match="nothing to change"):
        rectify(shop.store, shop.artifacts, shop.settings, LONG, {})


def test_a_mistyped_attribute_is_not_taken_for_a_correction(shop: Shop) -> None:
    before = export(shop.store, shop.artifacts, shop.settings, [LONG])["profile"]
    with pytest.raises(UsageError, match=r"No profile has an attribute 'ctiy'\. Did you mean 'city'"):
        rectify(shop.store, shop.artifacts, shop.settings, LONG, {"ctiy": "Bonn"})
    assert export(shop.store, shop.artifacts, shop.settings, [LONG])["profile"] == before


def test_the_log_tells_what_was_asked_and_never_by_whom(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    verify(shop.store, shop.artifacts, shop.settings, [LONG])
    request = request_log.open_request(shop.settings.db, "export", 1, request_log.Handling("T-9", "kb", "by passport"))
    assert request_log.months_after(1_706_659_200, 1) == 1_709_164_800  # 31 January, 29 February
    with pytest.raises(UsageError, match="no open request"):
        request_log.extend(shop.settings.db, "nothing", "many requests")
    assert recsys("gdpr", "extend", request, "--note", "many requests", *shop.flags()).returncode == 0
    with pytest.raises(UsageError, match="extended before"):
        request_log.extend(shop.settings.db, request, "still many")
    first, second = request_log.requests(shop.settings.db)
    assert (first.kind, first.outcome) == ("verification", "traces found")
    assert second.due_at == request_log.months_after(second.received_at, 3)
    said = json.loads(recsys("gdpr", "log", "--json", *shop.flags()).stdout)["requests"]
    assert (said[1]["reference"], said[1]["by"], said[1]["identity"]) == ("T-9", "kb", "by passport")
    assert LONG not in (shop.settings.db.with_name("shop.duckdb.gdpr") / "log.jsonl").read_text()


@pytest.mark.parametrize("language", ["en", "de"])
def test_drafts_say_what_is_set_and_mark_what_only_the_shop_knows(shop: Shop, language: str) -> None:
    for text in (draft(name, shop.settings, shop.artifacts, language) for name in ("notice", "records")):
        assert "730 " in text
        assert "400 " in text
        assert "purchase" in text
        assert "{" not in text
        assert text.count("[") >= 5


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("a@x.example\nb\n", ["a@x.example", "b"]),
        ("user_id\n13085\n13085\n", ["13085"]),
        ("name;customer_id\nAnna;1\nBert;2\n", ["1", "2"]),
        ('name,user_id,reason\n"Smith, Erin",c1,left\n,,\nKim,"c,2",\n', ["c1", "c,2"]),
        ('user_id\n"two\nlines"\nx\u2028y\n', ["two\nlines", "x\u2028y"]),
    ],
)
def test_lists_of_people(tmp_path: Path, text: str, people: list[str]) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert read_list(tmp_path / "list.csv") == people


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("c1\nSmith, John\n", "line 2 of"),
        ("name,user_id,reason\nErin,c1,left\nKim,,moved\n", "line 3 of"),
        ("user_id,reason\n\nc1,left, and gone\n", "line 3 of"),
        ('c1\n"c2\nc3\n', "line 3 of"),
        ("", "names nobody"),
        ("a,b\n1,2\n", "not clear which column"),
    ],
)
def test_nobody_is_passed_over_or_taken_for_somebody_else(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=f"(?i){why}"):
        read_list(tmp_path / "list.csv")


def test_originals_with_their_columns_and_other_servers_are_listed_and_left_alone(shop: Shop, tmp_path: Path) -> None:
    import gzip

    folder = tmp_path / "in"
    (folder / "set-aside").mkdir(parents=True)
    files = {
        "monday.csv": f"user_id,item_id,ts\n{LONG},p1,1700000000\nc20050,{LONG},1700000000\n".encode(),
        "tuesday.csv": b"user_id,item_id,ts\nc20050,p1,1700000000\n",
        "set-aside/old.jsonl.gz": gzip.compress((json.dumps({"customer": {"id": 1}, "user_id": LONG}) + "\n").encode()),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    servers = replace(shop.settings.update, servers=("/mnt/second/model_artifacts",))
    settings = replace(shop.settings, ingest=replace(shop.settings.ingest, folder=str(folder)), update=servers)
    done = erase(shop.store, shop.artifacts, settings, [LONG])
    assert {str(o.path.relative_to(folder)): dict(o.columns) for o in done.originals} == {
        "monday.csv": {"user_id": 1},
        "set-aside/old.jsonl.gz": {"user_id": 1},
    }
    assert {name: (folder / name).read_bytes() for name in files} == files
    receipt = done.done[0].receipt.with_suffix(".txt").read_text()
    assert "monday.csv" in receipt
    assert "/mnt/second/model_artifacts" in receipt
