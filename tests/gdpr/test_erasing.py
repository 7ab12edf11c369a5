"""A person erased is in no byte, no version and no list, and nobody else has lost anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import ErasureIncomplete
from recsys_cli.gdpr import erase, journal, resume, suppression, verify
from recsys_cli.gdpr.deciding import decide
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.status import status
from recsys_cli.updates.drain import drain

from .conftest import LONG, NUMBER, PEOPLE, REJECTED, UMLAUT, UUID, Shop, fill


def plain_forms(one: str) -> Iterator[bytes]:
    """What anybody would search the files for, made here without our own encoder."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        yield one.encode(encoding)
    raw = one.encode()
    yield from (json.dumps(one)[1:-1].encode(), base64.b64encode(raw).rstrip(b"="), raw.hex().encode())
    yield from (hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha1", "sha256"))


# Thousands of digits that are random or the time: checksums, keys, epochs, seconds, and names of parts of the log,
# which have the number of a process as well. In one run of a hundred a short number would stand among them.
BY_CHANCE = re.compile(rb"(?<![0-9a-z])(?:(?:[0-9a-f]{16}){1,4}|1\d{9}(?:\.\d+)?)(?![0-9a-z])")
PART_OF_THE_LOG = re.compile(rb"\d{15}-\d+-[0-9a-f]{8}")


def chosen(path: Path) -> bytes:
    """What stands in a file without what stands there by chance; of files that are no text, nearly all."""
    content = PART_OF_THE_LOG.sub(b"", path.read_bytes())
    return content if path.suffix in (".duckdb", ".npy", ".arrow") else BY_CHANCE.sub(b"", content)


def places(shop: Shop, one: str) -> list[Path]:
    forms = list(plain_forms(one))
    found = []
    for path in (p for p in shop.root.rglob("*") if p.is_file()):
        # Hashes of theirs are no chance, and long enough never to be.
        whole, left = path.read_bytes(), chosen(path) if one.isdigit() else path.read_bytes()
        if any(form in (left if form == one.encode() else whole) for form in forms):
            found.append(path)
    return found


def test_a_number_in_a_checksum_is_nobodys_and_beside_it_somebodys(shop: Shop) -> None:
    note = shop.artifacts.root / "note.json"
    others = f'{{"sha256": "{NUMBER + "a" * 59}", "key": "{"ab" * 5 + NUMBER + "c"}", "at": 17{NUMBER}007.25}}'
    note.write_text(others)
    assert note not in places(shop, NUMBER)
    for theirs in (f'"{NUMBER}"', f'"{NUMBER}.0"', f"x{NUMBER}x", hashlib.sha256(NUMBER.encode()).hexdigest()):
        note.write_text(f"{others} {theirs}")
        assert note in places(shop, NUMBER), theirs


@pytest.mark.parametrize("one", PEOPLE)
def test_nothing_is_left_in_any_file_and_nobody_else_is_touched(shop: Shop, one: str) -> None:
    key = user_key(load_secret(shop.settings.db), one)
    others = "user_id <> '" + one.replace("'", "''") + "'"
    before = {table: shop.count(table, others) for table in ("events", "users")}
    rejected, received = shop.count("rejected"), sum(len(c.lines()) for c in shop.spool.read({}))
    assert places(shop, one)

    done = erase(shop.store, shop.artifacts, shop.settings, [one])

    assert places(shop, one) == []
    assert done.erased == 1
    assert not done.unknown
    assert done.scanned.clean
    assert {table: shop.count(table) for table in before} == before
    assert shop.count("rejected") == rejected - 1
    lines = sum(len(c.lines()) for c in shop.spool.read({}))
    assert lines == received - (2 if one == NUMBER else 1)  # the guest's line of session s0 was theirs as well
    for name in shop.artifacts.names():
        held = read_bundle(shop.artifacts.open(name).path)
        assert find_key(held.keys, key) == -1
    assert journal.pending(shop.settings.db) is None


def test_versions_keep_everything_but_the_person(shop: Shop) -> None:
    before = read_bundle(shop.artifacts.current().path)
    name = shop.artifacts.current_name()
    row = find_key(before.keys, user_key(load_secret(shop.settings.db), LONG))
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    version = shop.artifacts.current()
    after = read_bundle(version.path)
    assert version.name == f"{name}-r1"
    assert version.manifest["kind"] == "forget"
    assert version.manifest["forgotten"]["people"] == 1
    assert version.manifest["data"]["users"] == len(after.keys) == len(before.keys) - 1
    assert version.manifest["data"]["events"] == after.histories.n_events
    kept = np.delete(np.arange(len(before.keys)), row)
    assert np.array_equal(after.keys, before.keys[kept])
    assert np.array_equal(after.histories.item, before.histories.rows(kept).item)
    for array in before.model_arrays:
        assert np.array_equal(before.model_arrays[array], after.model_arrays[array])


@pytest.mark.parametrize("extreme", ["min", "max"])
def test_what_a_version_says_of_its_time_is_not_theirs(shop: Shop, extreme: str) -> None:
    """The shop's first or newest event may be of the person who goes; its time stays nowhere."""
    with shop.store.reading() as con:
        ((one, ts),) = con.execute(
            f"SELECT user_id, ts FROM events WHERE ts = (SELECT {extreme}(ts) FROM events) LIMIT 1"
        ).fetchall()
    before = shop.artifacts.current()
    assert ts == (before.manifest["data"]["first_ts"] if extreme == "min" else before.newest_ts)
    erase(shop.store, shop.artifacts, shop.settings, [one])
    version = shop.artifacts.current()
    left = read_bundle(version.path).histories.ts
    assert (version.manifest["data"]["first_ts"], version.newest_ts) == (left.min(), left.max())
    assert ts not in left


def test_several_people_go_together(shop: Shop) -> None:
    done = erase(shop.store, shop.artifacts, shop.settings, [*PEOPLE, "nobody"])
    assert done.erased == len(PEOPLE)
    assert done.unknown == ("nobody",)
    assert not any(places(shop, one) for one in PEOPLE)


def test_a_number_written_as_a_float_is_the_same_customer(shop: Shop) -> None:
    assert erase(shop.store, shop.artifacts, shop.settings, [f"{NUMBER}.0"]).erased == 1
    assert shop.count("events", f"user_id = '{NUMBER}'") == 0


def test_unknown_people_change_nothing(shop: Shop) -> None:
    before = {p: p.read_bytes() for p in shop.root.rglob("*") if p.is_file()}
    done = erase(shop.store, shop.artifacts, shop.settings, ["nobody", "no@body.example"])
    assert done.erased == 0
    assert len(done.unknown) == 2
    assert not done.removed
    after = {p: p.read_bytes() for p in shop.root.rglob("*") if p.is_file()}
    assert {p: b for p, b in after.items() if p in before} == before


def test_order_of_rows_survives_the_rewriting(shop: Shop) -> None:
    query = f"SELECT item_id, ts, order_id FROM events WHERE user_id <> '{UUID}' ORDER BY rowid"
    with shop.store.reading() as con:
        before = con.execute(query).fetchall()
    erase(shop.store, shop.artifacts, shop.settings, [UUID])
    with shop.store.reading() as con:
        assert con.execute(query).fetchall() == before


def test_what_is_left_on_purpose_fails_the_command_and_is_named(shop: Shop) -> None:
    note = shop.artifacts.root / "notes.txt"
    note.write_text(f"customer {UMLAUT} called")
    with pytest.raises(ErasureIncomplete, match=r"notes\.txt"):
        erase(shop.store, shop.artifacts, shop.settings, [UMLAUT])
    assert journal.pending(shop.settings.db) is not None
    assert "unfinished" in status(shop.store, shop.artifacts).as_dict()["erasure"]
    note.unlink()
    (done,) = resume(shop.store, shop.artifacts, shop.settings).finished
    assert done.resumed
    assert done.removed["events"] > 0
    assert journal.pending(shop.settings.db) is None
    assert places(shop, UMLAUT) == []


def test_a_training_that_read_them_before_does_not_bring_them_back(shop: Shop) -> None:
    from recsys_cli.publishing import train

    mark = suppression.mark(shop.settings.db)
    snapshot = train.read_snapshot(shop.store, shop.settings)
    model = train.Recipe.of("popular", {}).fit(snapshot.data, shop.settings, train.SILENT)
    erase(shop.store, shop.artifacts, shop.settings, [LONG])
    version = train.publish_version(
        shop.artifacts, snapshot, model, kind="train", metrics={}, settings=shop.settings, erasures=mark
    )
    held = read_bundle(shop.artifacts.open(version.name).path)
    key = user_key(load_secret(shop.settings.db), LONG)
    assert find_key(held.keys, key) == -1
    assert len(held.keys) == snapshot.data.interactions.n_users - 1


def test_a_damaged_version_is_removed_because_it_cannot_be_shown_clean(shop: Shop) -> None:
    current = shop.artifacts.current()
    damaged = current.path / "histories" / "item.npy"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    done = erase(shop.store, shop.artifacts, shop.settings, [LONG])
    assert done.removed["damaged_versions"] == 1
    assert shop.artifacts.current().name == "v000001-r1"


def test_exports_in_the_watched_folder_are_listed(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "monday.csv").write_text(f"user_id,item_id,ts\n{LONG},p1,1700000000\n")
    (folder / "tuesday.csv").write_text("user_id,item_id,ts\nc20050,p1,1700000000\n")
    settings = replace(shop.settings, ingest=replace(shop.settings.ingest, folder=str(folder)))
    done = erase(shop.store, shop.artifacts, settings, [LONG])
    assert [original.path.name for original in done.originals] == ["monday.csv"]
    assert "the shop's own export files" in done.receipt.with_suffix(".txt").read_text()


def test_customers_with_tiny_numbers(empty: Shop) -> None:
    """A small shop counts its customers from one: days, months and quantities look like them."""
    fill(empty, ("12", "2023", "7"))
    with empty.store.writing() as con:
        rows = ('{"Customer ID": "c20099", "InvoiceDate": "2023-12-07"}', '{"line": "c20099;p1;2023-12-07"}')
        for row, raw in enumerate(rows):
            con.execute(REJECTED, [1, 200 + row, raw])
        con.execute("UPDATE items SET attributes = '{\"supplier\": \"2023\"}' WHERE item_id = 'p1'")
    empty.publish()
    for one in ("12", "2023", "7"):
        assert erase(empty.store, empty.artifacts, empty.settings, [one]).erased == 1
        assert empty.count("events", f"user_id = '{one}'") + empty.count("users", f"user_id = '{one}'") == 0
    assert empty.count("rejected", "row_number >= 200") == 2
    assert empty.count("rejected", "row_number < 3") == 0


def test_a_shop_that_has_trained_nothing_yet_erases_as_well(empty: Shop) -> None:
    fill(empty)
    assert erase(empty.store, empty.artifacts, empty.settings, [LONG]).erased == 1
    assert empty.count("events", f"user_id = '{LONG}'") == 0
    assert places(empty, LONG) == []
    assert decide(empty.store, empty.artifacts, empty.settings, [NUMBER], "objected").people == 1
    empty.publish()
    assert empty.artifacts.current().name == "v000001"


@pytest.mark.parametrize("one", ["@", "a@b", "%", "_", '"', "*", "'; --", "p1"])
def test_an_id_of_a_few_signs_is_no_more_than_that(shop: Shop, one: str) -> None:
    shop.receive(*({"user_id": user, "item_id": "p1", "ts": 1_710_000_100} for user in (one, f"c{one}")))
    drain(shop.store, shop.spool)
    shop.publish()
    before = shop.count("events"), shop.count("items"), shop.count("users"), shop.count("rejected")
    assert erase(shop.store, shop.artifacts, shop.settings, [one]).removed["events"] == 1
    left = shop.count("events"), shop.count("items"), shop.count("users"), shop.count("rejected")
    assert left == (before[0] - 1, *before[1:])
    assert verify(shop.store, shop.artifacts, shop.settings, [one]).clean


def test_a_customer_whose_number_is_how_many_customers_are_left(shop: Shop) -> None:
    drain(shop.store, shop.spool)
    one = str(shop.publish().manifest["data"]["users"])
    shop.receive({"user_id": one, "item_id": "p1", "ts": 1_710_000_100})
    drain(shop.store, shop.spool)
    shop.publish()
    assert erase(shop.store, shop.artifacts, shop.settings, [one]).erased == 1
    assert shop.artifacts.current().manifest["data"]["users"] == int(one)
    assert erase(shop.store, shop.artifacts, shop.settings, ["1"]).unknown == ("1",)  # receipts count people, too
