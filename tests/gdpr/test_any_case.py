"""An e-mail address is the same person in any case, wherever it is written."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from recsys_cli.gdpr import erase, exporting, journal, suppression, verify
from recsys_cli.gdpr.deciding import decide
from recsys_cli.gdpr.matching import Matcher
from recsys_cli.gdpr.needles import needles_for
from recsys_cli.gdpr.scanning import scan
from recsys_cli.ingest import Request, ingest
from recsys_cli.settings import Settings

from .conftest import Shop

ASKED, WRITTEN, SAME_NAME = "erin.smith@example.org", "Erin.Smith@Example.org", "erin.smith@example.com"
HEADER = "user_id,item_id,event_type,timestamp\n"
ROWS = f"{WRITTEN},p1,purchase,2026-02-01T00:00:00\ndave,p2,purchase,2026-02-04T00:00:00\n"


@pytest.mark.parametrize(
    "content",
    [
        WRITTEN.encode(),
        WRITTEN.encode("utf-16-le"),
        WRITTEN.encode("utf-16-be"),
        WRITTEN.encode("utf-32-le"),
        WRITTEN.encode("utf-32-be"),
        json.dumps({"note": f"from {WRITTEN}"}).encode(),
        f"?u={quote(WRITTEN, safe='')}&".encode(),
        f"?u={WRITTEN.replace('@', '%40')}&".encode(),
    ],
)
def test_it_is_found_in_any_case(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0\xff" * 8 + content + b"\0\xff" * 8)
    assert not scan([tmp_path], needles_for([[ASKED]])).clean
    assert not scan([tmp_path], needles_for([[WRITTEN.swapcase()]])).clean
    assert scan([tmp_path], needles_for([[SAME_NAME]])).clean


def test_letters_with_accents(tmp_path: Path) -> None:
    for n, encoding in enumerate(("utf-8", "latin-1", "utf-16-le")):
        (tmp_path / f"{n}.txt").write_bytes(b"x, " * 2 + " JÖrg.Éloïse@Example.org ".encode(encoding))
    assert len(scan([tmp_path], needles_for([["jörg.éloïse@example.org"]])).findings) >= 3
    assert scan([tmp_path], needles_for([["jorg.eloise@example.org"]])).clean


def test_ids_keep_their_case_though_an_address_is_searched_for_with_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"C100094-X, {WRITTEN}")
    (found,) = scan([tmp_path], needles_for([["c100094-x"], [ASKED]])).findings
    assert found.who == 1


def test_the_search_for_an_address_is_hardly_slower() -> None:
    data = np.random.default_rng(1).integers(0, 256, 32 << 20, np.uint8).tobytes()

    def seconds(one: str) -> float:
        matcher, best = Matcher(needles_for([[one]])), 9.0
        for _ in range(3):
            started = time.process_time()
            assert not list(matcher.find(data))
            best = min(best, time.process_time() - started)
        return best

    assert seconds(ASKED) < 2 * seconds("customer-0000815-abc")


def with_folder(shop: Shop, originals: str) -> tuple[Settings, Path]:
    folder = shop.root.parent / "in"
    folder.mkdir()
    rules = replace(shop.settings.gdpr, originals=originals)
    return replace(shop.settings, ingest=replace(shop.settings.ingest, folder=str(folder)), gdpr=rules), folder


@pytest.mark.parametrize("asked", [ASKED, WRITTEN, ASKED.upper()])
def test_rows_of_the_watched_folder_go(empty: Shop, asked: str) -> None:
    settings, folder = with_folder(empty, "rewrite")
    path = folder / "b.csv"
    path.write_text(HEADER + ROWS)
    ingest(settings, [path], Request())
    done = erase(empty.store, empty.artifacts, settings, [asked])
    assert (done.erased, done.removed["rows_of_originals"], done.originals) == (1, 1, ())
    assert path.read_text() == HEADER + ROWS.splitlines(keepends=True)[1]


def test_originals_are_listed(empty: Shop) -> None:
    settings, folder = with_folder(empty, "list")
    (folder / "b.csv").write_text(HEADER + ROWS)
    (folder / "note.csv").write_text(HEADER + f"dave,for {WRITTEN},purchase,2026-02-04T00:00:00\n")
    ingest(settings, [folder / "b.csv"], Request())
    done = erase(empty.store, empty.artifacts, settings, [ASKED])
    assert [(o.path.name, o.why[:12]) for o in done.originals] == [("b.csv", ""), ("note.csv", "mentions the")]


def test_lines_that_were_received_go(empty: Shop) -> None:
    path = empty.root.parent / "a.csv"
    path.write_text(HEADER + ROWS)
    ingest(empty.settings, [path], Request())
    empty.receive({"user_id": WRITTEN, "item_id": "p1", "ts": 1_700_000_000, "session_id": "s1"})
    empty.receive({"session_id": "s1", "item_id": "p1", "ts": 1_700_000_000})
    assert erase(empty.store, empty.artifacts, empty.settings, [ASKED]).removed["spool_lines"] == 2


def keeping(shop: Shop) -> Settings:
    """A shop that keeps addresses, with one person under two ids."""
    settings = replace(shop.settings, ingest=replace(shop.settings.ingest, emails="keep"))
    path = shop.root.parent / "kept.csv"
    path.write_text(HEADER + ROWS + ROWS.replace(WRITTEN, ASKED).replace("-02-01", "-02-02"))
    ingest(settings, [path], Request())
    return settings


def test_where_addresses_are_kept_all_spellings_are_one_person(empty: Shop) -> None:
    settings = keeping(empty)
    assert empty.count("events", f"user_id IN ('{ASKED}', '{WRITTEN}')") == 2
    document = exporting.export(empty.store, empty.artifacts, settings, [ASKED])
    assert {e["user_id"] for e in document["events"]} == {ASKED, WRITTEN}
    assert not verify(empty.store, empty.artifacts, settings, [ASKED.upper()]).clean
    done = erase(empty.store, empty.artifacts, settings, [ASKED])
    assert (done.erased, done.spelled, done.removed["events"]) == (1, (WRITTEN,), 2)
    assert verify(empty.store, empty.artifacts, settings, [ASKED, WRITTEN]).clean
    assert WRITTEN not in done.receipt.read_text()
    # An old export with yet another spelling is an old export of the same person.
    path = empty.root.parent / "old.csv"
    path.write_text(HEADER + ROWS.replace(WRITTEN, "ERIN.Smith@example.org"))
    ingest(settings, [path], Request())
    assert empty.count("events", "user_id LIKE '%@%'") == 0


def test_an_erasure_that_was_killed_remembers_the_spelling(empty: Shop) -> None:
    settings = keeping(empty)
    plan = journal.Journal("ab" * 8, (ASKED,), int(time.time()), begun=True, spelled=(WRITTEN,))
    journal.keep(settings.db, plan)
    with empty.store.writing() as con:
        con.execute(f"DELETE FROM events WHERE user_id IN ('{ASKED}', '{WRITTEN}')")
    erase(empty.store, empty.artifacts, settings, [ASKED])
    assert len([e for e in suppression.entries(settings.db) if e.keeps_out]) >= 4


def test_a_decision_holds_for_all_spellings(empty: Shop) -> None:
    settings = keeping(empty)
    empty.publish()
    done = decide(empty.store, empty.artifacts, settings, [ASKED.upper()], "objected")
    assert (done.unknown, done.versions) == ((), 1)
    assert empty.artifacts.current().manifest["data"]["users"] == 1


def test_the_command_tells_the_other_spelling(empty: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    keeping(empty)
    done = recsys("gdpr", "delete", ASKED, "--yes", *empty.flags())
    assert f"{WRITTEN} is the same address in another case, and was erased as well." in done.stdout
