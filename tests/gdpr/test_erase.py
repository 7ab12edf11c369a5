"""A person erased is in no byte, no version and no list; what cannot be finished stops nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys_cli.artifacts import orders, suppressed
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import UsageError
from recsys_cli.gdpr import carry_out, erase, verify
from recsys_cli.gdpr.records import journal
from recsys_cli.gdpr.records.request_log import requests, with_waiting
from recsys_cli.gdpr.rights.consent import decide
from recsys_cli.gdpr.rights.erase import accept
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.models import registry
from recsys_cli.models.session_knn import SessionKNN
from recsys_cli.status import status
from recsys_cli.store.personal_data import note_change
from recsys_cli.updates.drain import drain

from .conftest import LONG, NUMBER, PEOPLE, REJECTED, UMLAUT, UUID, Shop, fill, places


@pytest.mark.parametrize("one", PEOPLE)
def test_nothing_is_left_in_any_file(shop: Shop, one: str) -> None:
    key = user_key(load_secret(shop.settings.db), one)
    assert places(shop, one)
    done = erase(shop.store, shop.artifacts, shop.settings, [one])
    assert places(shop, one) == []
    assert (done.erased, done.failed, done.scanned.clean) == (1, (), True)
    for name in shop.artifacts.names():
        assert find_key(read_bundle(shop.artifacts.open(name).path).keys, key) == -1
    assert journal.unfinished(shop.settings.db) == []


def test_versions_keep_everything_but_the_person_and_what_counted_them(shop: Shop) -> None:
    before = read_bundle(shop.artifacts.current().path)
    name = shop.artifacts.current_name()
    row = find_key(before.keys, user_key(load_secret(shop.settings.db), LONG))
    bought = before.histories.item[before.histories.indptr[row] : before.histories.indptr[row + 1]]
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    version = shop.artifacts.current()
    after = read_bundle(version.path)
    assert version.name == f"{name}-r1"
    assert (version.manifest["kind"], version.manifest["forgotten"]["people"]) == ("forget", 1)
    assert version.manifest["data"]["users"] == len(after.keys) == len(before.keys) - 1
    assert version.manifest["data"]["events"] == after.histories.n_events
    kept = np.delete(np.arange(len(before.keys)), row)
    assert np.array_equal(after.keys, before.keys[kept])
    assert np.array_equal(after.histories.item, before.histories.rows(kept).item)
    for array in before.model_arrays:
        assert np.array_equal(before.model_arrays[array], after.model_arrays[array])
    assert before.shelves["popular"][bought].sum() != after.shelves["popular"][bought].sum()
    # The same counts as of a shop that never knew them, in every version: an older one may be promoted again.
    again = read_bundle(shop.publish().path)
    for name in shop.artifacts.names():
        held = read_bundle(shop.artifacts.open(name).path)
        for shelf in ("popular", "sold_usual", "together_count", "trending"):
            assert np.array_equal(held.shelves[shelf], again.shelves[shelf]), (name, shelf)


@pytest.mark.parametrize("extreme", ["min", "max"])
def test_what_a_version_says_of_its_time_is_not_theirs(shop: Shop, extreme: str) -> None:
    """The shop's first or newest event may be of the person who goes; its time stays nowhere."""
    with shop.store.reading() as con:
        ((one, ts),) = con.execute(
            f"SELECT user_id, ts FROM events WHERE ts = (SELECT {extreme}(ts) FROM events) LIMIT 1"
        ).fetchall()
    erase(shop.store, shop.artifacts, shop.settings, [one])
    version = shop.artifacts.current()
    left = read_bundle(version.path).histories.ts
    assert (version.manifest["data"]["first_ts"], version.newest_ts) == (left.min(), left.max())
    assert ts not in left


def test_unknown_people_change_nothing(shop: Shop) -> None:
    before = {p: p.read_bytes() for p in shop.root.rglob("*") if p.is_file()}
    done = erase(shop.store, shop.artifacts, shop.settings, ["nobody", "no@body.example", LONG.upper()])
    assert (done.erased, len(done.unknown), done.removed) == (0, 3, {})
    assert done.done[2].person.meant == (LONG,)
    after = {p: p.read_bytes() for p in shop.root.rglob("*") if p.is_file()}
    assert {p: b for p, b in after.items() if p in before} == before


def test_order_of_rows_survives_the_rewriting(shop: Shop) -> None:
    query = f"SELECT item_id, ts, order_id FROM events WHERE user_id <> '{UUID}' ORDER BY rowid"
    with shop.store.reading() as con:
        before = con.execute(query).fetchall()
    erase(shop.store, shop.artifacts, shop.settings, [UUID])
    with shop.store.reading() as con:
        assert con.execute(query).fetchall() == before


def stuck(shop: Shop, one: str) -> Path:
    """An erasure that cannot be finished, and the file that it finds the person in."""
    note = shop.artifacts.root / f"notes {len(list(shop.artifacts.root.glob('notes*')))}.txt"
    note.write_text(f"customer {one} called")
    (failed,) = erase(shop.store, shop.artifacts, shop.settings, [one]).failed
    assert note.name in failed.message
    assert one not in failed.message
    return note


def test_one_who_is_stuck_in_a_list_of_twelve_keeps_nobody_else(shop: Shop, recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    people = [*PEOPLE, *(f"c{n}" for n in range(20_040, 20_048))]
    note = shop.artifacts.root / "notes.txt"
    note.write_text(f"customer {UMLAUT} called")
    (tmp_path / "list.txt").write_text("\n".join(people) + "\n")
    done = recsys("gdpr", "delete", "--file", str(tmp_path / "list.txt"), "--yes", "--json", *shop.flags())
    assert done.returncode == 10
    assert "notes.txt" in done.stderr
    told = json.loads(done.stdout)
    assert (told["erased"], len(told["unfinished"]), len({one["receipt"] for one in told["requests"]})) == (11, 1, 11)
    (left,) = journal.unfinished(shop.settings.db)
    assert left.asked == (UMLAUT,)
    assert "unfinished" in status(shop.store, shop.artifacts).as_dict()["erasure"]
    assert not any(places(shop, one) for one in people if one != UMLAUT)
    note.unlink()
    done = recsys("gdpr", "resume", *shop.flags())
    assert (done.returncode, done.stdout.count("Finished.")) == (0, 1)
    assert places(shop, UMLAUT) == []


def test_what_a_human_has_looked_at_is_closed_and_the_receipt_says_so(shop: Shop, recsys) -> None:  # type: ignore[no-untyped-def]
    stuck(shop, UMLAUT)
    (plan,) = journal.unfinished(shop.settings.db)
    for note, why in ((f"it is {UMLAUT}", "names the person"), (" ", "is empty")):
        with pytest.raises(UsageError, match=why):
            accept(shop.artifacts, shop.settings, plan.request, note)
    with pytest.raises(UsageError, match="no unfinished erasure"):
        accept(shop.artifacts, shop.settings, "nothing", "seen")
    done = recsys(
        "gdpr", "accept", plan.request, "--note", "a note of ours, kept for a claim", "--by", "kb", *shop.flags()
    )
    assert done.returncode == 0, done.stderr
    receipt = Path(done.stdout.split("Receipt: ")[1].strip().replace("\n", ""))
    assert "Looked at by kb and accepted: a note of ours, kept for a claim" in receipt.read_text()
    assert "Found: 1." in receipt.read_text()
    assert UMLAUT not in receipt.read_text()
    assert journal.unfinished(shop.settings.db) == []
    assert [r.outcome for r in requests(shop.settings.db)] == ["accepted"]


def test_what_fails_again_and_again_is_tried_less_and_less(shop: Shop) -> None:
    stuck(shop, UMLAUT)
    (plan,) = journal.unfinished(shop.settings.db)
    pauses, now = [], float(plan.next_at)
    for _ in range(5):
        assert not carry_out.run(shop.store, shop.artifacts, shop.settings, {}, clock=lambda at=now: at - 1).failed
        assert len(carry_out.run(shop.store, shop.artifacts, shop.settings, {}, clock=lambda at=now: at).failed) == 1
        (plan,) = journal.unfinished(shop.settings.db)
        pauses.append(plan.next_at - int(now))
        now = float(plan.next_at)
    assert pauses == [300, 1800, 21_600, 21_600, 21_600]


def test_nobody_without_a_name_is_erased_and_nobody_with_one_beside_them(shop: Shop) -> None:
    with pytest.raises(UsageError):
        erase(shop.store, shop.artifacts, shop.settings, [LONG, "  "])
    assert journal.unfinished(shop.settings.db) == []
    assert shop.count("events", f"user_id = '{LONG}'") > 0


def test_orders_of_servers_keep_their_id_and_go_with_an_erasure_of_the_same_person(shop: Shop) -> None:
    erasing = orders.put(shop.artifacts.root, orders.ERASE, [LONG, "erin@example.org"], "shopify")
    exporting = orders.put(shop.artifacts.root, orders.EXPORT, [LONG], "wordpress")
    other = orders.put(shop.artifacts.root, orders.EXPORT, [NUMBER], "wordpress")
    waiting = with_waiting(shop.settings.db, shop.artifacts.root)
    assert {r.id for r in waiting} == {erasing.id, exporting.id, other.id}
    done = erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert {one.request for one in done.done} >= {erasing.id}
    assert [order.id for order in orders.waiting(shop.artifacts.root)] == [other.id]
    assert places(shop, LONG) == []
    orders.put(shop.artifacts.root, orders.ERASE, [UUID], "shopify")
    orders.put(shop.artifacts.root, orders.ERASE_SHOP, [], "shopify")
    assert carry_out.answer_all(shop.store, shop.artifacts, shop.settings) == (2, [])
    held = {r.id: (r.kind, r.outcome) for r in requests(shop.settings.db)}
    assert held[erasing.id] == ("erasure", "done")
    assert held[exporting.id] == ("export", "erased meanwhile")
    assert held[other.id] == ("export", "done")
    assert [r.kind for r in requests(shop.settings.db) if not r.closed_at] == ["erase the shop"]


def test_an_address_is_the_same_in_any_case_and_known_by_its_hash(empty: Shop, tmp_path: Path) -> None:
    from recsys_cli.ingest import ingest

    for emails in ("keep", "hash"):
        settings = replace(empty.settings, ingest=replace(empty.settings.ingest, emails=emails))
        path = tmp_path / f"{emails}.csv"
        path.write_text(
            f"user_id,item_id,ts\nErin.{emails}@Example.org,p1,1700000000\nerin.{emails}@e.com,p2,1700000000\n"
        )
        ingest(settings, [path])
        assert erase(empty.store, empty.artifacts, settings, [f"erin.{emails}@example.ORG"]).removed["events"] == 1
        assert empty.count("events", "item_id = 'p1'") == 0
    assert empty.count("events", "item_id = 'p2'") == 2


def test_a_number_that_says_how_many_customers_are_left(shop: Shop) -> None:
    drain(shop.store, shop.spool)
    one = str(shop.publish().manifest["data"]["users"])
    shop.receive({"user_id": one, "item_id": "p1", "ts": 1_710_000_100})
    drain(shop.store, shop.spool)
    shop.publish()
    assert erase(shop.store, shop.artifacts, shop.settings, [one]).erased == 1
    assert shop.artifacts.current().manifest["data"]["users"] == int(one)


def test_a_training_that_read_them_before_does_not_bring_them_back(shop: Shop) -> None:
    from recsys_cli.publishing import train
    from recsys_cli.publishing import version as published

    mark = suppressed.mark(shop.settings.db)
    snapshot = train.read_snapshot(shop.store, shop.settings)
    model = train.Recipe.of("popular", {}).fit(snapshot.data, shop.settings, train.SILENT)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    version = published.publish_version(
        shop.artifacts, shop.settings, published.Release(snapshot, model, kind="train", erasures=mark)
    )
    held = read_bundle(shop.artifacts.open(version.name).path)
    assert find_key(held.keys, user_key(load_secret(shop.settings.db), LONG)) == -1
    assert len(held.keys) == snapshot.data.interactions.n_users - 1


def test_a_damaged_version_is_removed_because_it_cannot_be_shown_clean(shop: Shop) -> None:
    damaged = shop.artifacts.current().path / "histories" / "item.npy"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    assert erase(shop.store, shop.artifacts, shop.settings, [LONG]).removed["damaged_versions"] == 1
    assert shop.artifacts.current().name == "v000001-r1"


def test_a_shop_that_has_trained_nothing_yet_erases_as_well(empty: Shop) -> None:
    fill(empty)
    assert erase(empty.store, empty.artifacts, empty.settings, [LONG]).erased == 1
    assert places(empty, LONG) == []
    assert decide(empty.store, empty.artifacts, empty.settings, [NUMBER], "objected").people == 1
    empty.publish()
    assert empty.artifacts.current().name == "v000001"


def test_the_command(shop: Shop, recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = recsys("gdpr", "delete", LONG, *shop.flags())
    assert (done.returncode, done.stderr.count("\n")) == (11, 1)
    assert "--yes" in done.stderr
    lists = tmp_path / "all lists.csv"
    assert recsys("recommend", "--all", "--out", str(lists), *shop.flags()).returncode == 0
    done = recsys("gdpr", "delete", LONG, "stranger-77", "--yes", "--reference", "T-17", "--by", "kb", *shop.flags())
    assert done.returncode == 0, done.stderr
    assert "Nothing is held about stranger-77." in done.stdout
    assert f"The list {lists} was written before" in done.stdout.replace("\n", " ")
    assert [(r.reference, r.by) for r in requests(shop.settings.db)] == [("T-17", "kb")] * 2
    folder = journal.state_dir(shop.settings.db) / "receipts"
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert LONG not in path.read_text()
        assert "stranger-77" not in path.read_text()
    (shop.artifacts.root / "left.txt").write_text(LONG)
    done = recsys("gdpr", "verify", LONG, *shop.flags())
    assert done.returncode == 10
    assert "left.txt" in done.stdout


def test_customers_with_tiny_numbers(empty: Shop) -> None:
    """A small shop counts its customers from one: days, months and quantities look like them."""
    fill(empty, ("12", "2023", "7"))
    with empty.store.writing() as con:
        rows = ('{"Customer ID": "c20099", "InvoiceDate": "2023-12-07"}', '{"Customer ID": "c20099", "Quantity": 7}')
        for row, raw in enumerate(rows):
            con.execute(REJECTED, [1, 200 + row, raw])
        con.execute("UPDATE items SET attributes = '{\"supplier\": \"2023\"}' WHERE item_id = 'p1'")
        note_change(con, "test")
    empty.publish()
    assert erase(empty.store, empty.artifacts, empty.settings, ["12", "2023", "7"]).erased == 3
    assert empty.count("events", "user_id IN ('12', '2023', '7')") == 0
    assert empty.count("rejected", "row_number >= 200") == 2
    assert empty.count("rejected", "row_number < 3") == 0
    assert verify(empty.store, empty.artifacts, empty.settings, ["12", "2023", "7"]).clean


def test_the_visits_that_a_model_asks_go_with_the_person(shop: Shop) -> None:
    """It holds none: what it then says is, array for array, what it says of a shop that never knew them."""
    shop.publish("session-knn")
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    bundle = read_bundle(shop.artifacts.current().path)
    model, again = registry.load(bundle), read_bundle(shop.publish("session-knn").path)
    histories = bundle.histories
    assert isinstance(model, SessionKNN)
    never = SessionKNN(model.config, model.said).bound(again.histories)
    np.testing.assert_array_equal(model.score(histories, bundle.now), never.score(histories, bundle.now))
    assert model.score(histories, bundle.now).any()
