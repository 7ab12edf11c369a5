"""An erasure that cannot be finished keeps nobody else from being erased; what never could be is not begun."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from recsys_cli.artifacts import orders
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import ErasureIncomplete, NotFound, UsageError
from recsys_cli.gdpr import erase, exporting, journal, passes, requests, resume
from recsys_cli.gdpr.needles import needles_for
from recsys_cli.gdpr.scanning import scan
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.schema import guest_id
from recsys_cli.status import status
from recsys_cli.updates.drain import drain

from .conftest import LONG, NUMBER, UMLAUT, UUID, Shop
from .test_erasing import places

GUEST = "GUESTDEL-1"


def stuck(shop: Shop, one: str) -> Path:
    """An erasure that fails its proof, and the file that it fails of."""
    note = shop.artifacts.root / f"notes {len(list(shop.artifacts.root.glob('notes*')))}.txt"
    note.write_text(f"customer {one} called")
    with pytest.raises(ErasureIncomplete):
        erase(shop.store, shop.artifacts, shop.settings, [one])
    return note


def test_others_are_erased_while_one_is_stuck(shop: Shop) -> None:
    note = stuck(shop, UMLAUT)
    assert erase(shop.store, shop.artifacts, shop.settings, [LONG]).erased == 1
    assert places(shop, LONG) == []
    (left,) = journal.unfinished(shop.settings.db)
    assert left.asked == (UMLAUT,)
    note.unlink()
    later = left.next_at  # which is further away when erasing the others took so long that it was tried again
    done = erase(shop.store, shop.artifacts, shop.settings, [NUMBER], clock=lambda: later)
    assert done.erased == 1  # and goes on with the other
    assert journal.unfinished(shop.settings.db) == []
    assert places(shop, UMLAUT) == []


def test_resuming_tries_each_and_reports_each(shop: Shop) -> None:
    first, second = stuck(shop, UMLAUT), stuck(shop, LONG)
    second.unlink()
    done = resume(shop.store, shop.artifacts, shop.settings)
    assert (len(done.finished), len(done.failed)) == (1, 1)
    assert first.name in str(done.failed[0])
    assert [j.asked for j in journal.unfinished(shop.settings.db)] == [(UMLAUT,)]


def test_what_fails_again_and_again_is_tried_less_and_less(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    now, tried = 1_800_000_000.0, []
    note = shop.artifacts.root / "notes.txt"
    note.write_text(f"customer {UMLAUT} called")
    with pytest.raises(ErasureIncomplete):
        erase(shop.store, shop.artifacts, shop.settings, [UMLAUT], clock=lambda: now)
    for minute in range(1, 24 * 60):  # a day of passes
        at = now + 60 * minute
        if journal.unfinished(shop.settings.db)[0].next_at <= at or minute % 240 == 0:
            done = passes.run(shop.store, shop.artifacts, shop.settings, {}, clock=lambda at=at: at)
            tried += [minute] if done.failed else []
    assert tried == [1, 6, 36, 396, 756, 1116]
    said = status(shop.store, shop.artifacts).as_dict()["erasure"]
    assert "after 7 failed tries; the worker tries again 2027-01-16 08:36:00 UTC" in said
    # Whoever asks for it does not wait, be it by name or for all.
    assert len(resume(shop.store, shop.artifacts, shop.settings, clock=lambda: now).failed) == 1
    note.unlink()
    assert "Finished." in recsys("gdpr", "resume", *shop.flags()).stdout
    assert status(shop.store, shop.artifacts).as_dict().get("erasure") is None


def test_the_command_finishes_what_it_can_and_fails_for_the_rest(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    first, second = stuck(shop, UMLAUT), stuck(shop, LONG)
    second.unlink()
    done = recsys("gdpr", "resume", *shop.flags())
    assert (done.returncode, done.stdout.count("Finished.")) == (10, 1)
    assert first.name in done.stderr
    first.unlink()
    done = recsys("gdpr", "resume", *shop.flags())
    assert (done.returncode, done.stdout.count("Finished.")) == (0, 1)


def test_the_journal_of_an_older_version_and_a_blanked_one_are_taken(shop: Shop) -> None:
    stuck(shop, UMLAUT).unlink()
    state = journal.state_dir(shop.settings.db)
    (path,) = journal.paths(shop.settings.db)
    path.rename(state / "erasing.json")
    (state / "erasing-0.json").write_bytes(b"   ")
    assert len(resume(shop.store, shop.artifacts, shop.settings).finished) == 1
    assert journal.paths(shop.settings.db) == []


def test_whoever_has_no_name_leaves_no_journal(shop: Shop) -> None:
    with pytest.raises(UsageError):
        erase(shop.store, shop.artifacts, shop.settings, [LONG, "  "])
    assert journal.paths(shop.settings.db) == []


def test_an_id_in_another_case_is_not_the_customer(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    other, rows = LONG.upper(), shop.count("events")
    done = recsys("gdpr", "delete", other, "--yes", *shop.flags())
    assert done.returncode == 0, done.stderr
    assert f"Nothing is held about {other}. Did you mean {LONG}?" in done.stdout
    assert (shop.count("events"), shop.count("rejected", f"raw LIKE '%{LONG}%'")) == (rows, 1)
    assert journal.paths(shop.settings.db) == []
    with pytest.raises(NotFound, match=f"Did you mean {LONG}"):
        exporting.export(shop.store, shop.artifacts, shop.settings, [other])


def test_an_id_is_searched_for_in_its_own_case_and_an_email_in_any(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("C100094-X and ANNA@EXAMPLE.ORG")
    assert scan([tmp_path], needles_for([["c100094-x"]])).clean
    assert not scan([tmp_path], needles_for([["C100094-X"]])).clean
    assert not scan([tmp_path], needles_for([["Anna@example.org"]])).clean


def test_an_email_that_stands_there_in_lower_case_is_removed(shop: Shop) -> None:
    shop.receive({"user_id": "anna@example.org", "item_id": "p1", "ts": 1_710_000_005})
    assert erase(shop.store, shop.artifacts, shop.settings, ["Anna@Example.org"]).erased == 1
    assert places(shop, "anna@example.org") == []


def test_a_name_composed_otherwise_is_removed(shop: Shop) -> None:
    import unicodedata

    apart = unicodedata.normalize("NFD", "Zoë-Müller")
    shop.receive({"user_id": apart, "item_id": "p1", "ts": 1_710_000_005})
    drain(shop.store, shop.spool)
    assert erase(shop.store, shop.artifacts, shop.settings, ["Zoë-Müller"]).erased == 1
    assert shop.count("events", f"user_id = '{apart}'") == 0


def guest(shop: Shop) -> tuple[int, int]:
    """A guest's session in the store, in a version, and in a line that waits."""
    shop.receive(*({"session_id": GUEST, "item_id": f"p{i}", "ts": 1_710_000_005 + i} for i in range(3)))
    drain(shop.store, shop.spool)
    shop.publish()
    shop.receive({"session_id": GUEST, "item_id": "p9", "ts": 1_710_000_050})
    key = user_key(load_secret(shop.settings.db), guest_id(GUEST))
    assert find_key(read_bundle(shop.artifacts.current().path).keys, key) >= 0
    return key


def test_a_guest_is_exported_and_erased_by_the_session(shop: Shop) -> None:
    key, named = guest(shop), shop.count("events", "user_id IS NOT NULL")
    document = exporting.export(shop.store, shop.artifacts, shop.settings, [GUEST])
    assert (len(document["events"]), len(document["received"]), len(document["versions"])) == (3, 4, 1)
    done = erase(shop.store, shop.artifacts, shop.settings, [GUEST])
    assert (done.erased, done.removed["guest_events"]) == (1, 3)
    assert places(shop, GUEST) == []
    assert find_key(read_bundle(shop.artifacts.current().path).keys, key) == -1
    assert shop.count("events", "user_id IS NOT NULL") == named


def test_a_guests_erasure_that_an_older_version_could_not_finish_is_finished(shop: Shop) -> None:
    guest(shop)
    old = journal.Journal("0" * 16, (GUEST, NUMBER), 1_710_000_100, unknown=(0,), begun=True)
    shop.receive({"session_id": NUMBER, "item_id": "p1", "ts": 1_710_000_005})
    drain(shop.store, shop.spool)
    journal.keep(shop.settings.db, old)
    assert len(resume(shop.store, shop.artifacts, shop.settings).finished) == 1
    assert places(shop, GUEST) == []
    assert shop.count("events", f"session_id = '{NUMBER}'") == 1  # a short number: not unmistakably theirs


def test_a_session_that_became_a_customers_loses_its_number_only(shop: Shop) -> None:
    shop.receive({"session_id": GUEST, "user_id": "c20050", "item_id": "p1", "ts": 1_710_000_005})
    drain(shop.store, shop.spool)
    rows = shop.count("events", "user_id = 'c20050'")
    erase(shop.store, shop.artifacts, shop.settings, [GUEST])
    assert shop.count("events", "user_id = 'c20050'") == rows
    assert places(shop, GUEST) == []


def test_a_customers_short_number_is_not_somebody_elses_session(shop: Shop) -> None:
    shop.receive({"session_id": NUMBER, "item_id": "p1", "ts": 1_710_000_005})
    drain(shop.store, shop.spool)
    erase(shop.store, shop.artifacts, shop.settings, [NUMBER])
    assert shop.count("events", f"session_id = '{NUMBER}'") == 1


def passed(shop: Shop, hours: float = 0) -> passes.Done:
    return passes.run(shop.store, shop.artifacts, shop.settings, {}, clock=lambda: time.time() + hours * 3600)


def test_two_orders_about_one_person_are_carried_out_together(shop: Shop) -> None:
    root = shop.artifacts.root
    orders.put(root, orders.ERASE, [LONG, "anna@example.org"], "shopify")
    orders.put(root, orders.ERASE, ["anna@example.org"], "shopify")
    orders.put(root, orders.ERASE, [UUID], "wordpress")
    done = passed(shop)
    assert (done.counts["requests"], done.failed, orders.waiting(root)) == (3, (), [])
    for one in (LONG, UUID, "anna@example.org"):
        assert places(shop, one) == []
    assert len(requests.requests(shop.settings.db)) == 3
    assert all(r.closed_at for r in requests.requests(shop.settings.db))


def test_orders_that_come_and_go_while_they_are_listed_stop_nobody(shop: Shop) -> None:
    root = shop.artifacts.root
    kept, done = (orders.put(root, orders.EXPORT, [one], "shopify") for one in (LONG, UUID))
    for name in ("0.json", ".0.tmp"):  # listed like any other, and gone when it is looked at
        (root / orders.FOLDER / name).symlink_to("nowhere")
    orders.drop(root, done)
    assert orders.waiting(root) == [kept]


def test_an_order_that_waits_goes_with_a_delete_by_hand(shop: Shop) -> None:
    orders.put(shop.artifacts.root, orders.ERASE, [LONG, "anna@example.org"], "shopify")
    orders.put(shop.artifacts.root, orders.EXPORT, [LONG], "shopify")
    kept = orders.put(shop.artifacts.root, orders.ERASE, [UUID], "shopify")
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert orders.waiting(shop.artifacts.root) == [kept]
    assert places(shop, LONG) == []
    held = [(r.kind, bool(r.closed_at)) for r in requests.requests(shop.settings.db)]
    assert sorted(held) == [("erasure", True), ("erasure", True), ("export", True)]


def test_an_order_that_fails_does_not_keep_the_others_waiting(shop: Shop) -> None:
    note = stuck(shop, UMLAUT)
    (shop.artifacts.root / "more.txt").write_text(UUID)
    orders.put(shop.artifacts.root, orders.ERASE, [UUID], "shopify")
    orders.put(shop.artifacts.root, orders.ERASE, [LONG], "shopify")
    done = passed(shop, hours=1)
    assert len(done.failed) == 2
    assert orders.waiting(shop.artifacts.root) == []
    assert places(shop, LONG) == []
    note.unlink()
    assert passed(shop, hours=2).counts["erasures_finished"] == 1
    assert json.loads(journal.paths(shop.settings.db)[0].read_bytes())["asked"] == [UUID]
