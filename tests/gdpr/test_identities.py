"""Odd identities side by side: every export and erasure against a ledger of whose each row is. Nothing of anybody else
is shown, changed or lost, and every erasure ends."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.gdpr import erase, export, verify
from recsys_cli.gdpr.records import journal
from recsys_cli.ingest import ingest

from .conftest import Shop, shop_at

# Who is asked for, and whose rows that is.
PEOPLE = {
    "13085": "13085",
    "13085-2": "13085-2",
    "40123456": "40123456",  # also somebody's order number, a product, and the begin of an EAN
    "10012345": "10012345",
    "mueller@web.de": "mueller",
    "ANNA@b.de": "anna",
    "view": "view",
    "Berlin": "Berlin",
    "purchase": "purchase",
    "7": "7",
    "55555": "55555",  # whom a mixed column calls 55555.0 as well
    "77001": "77001",  # also the session of a guest
    "sess-9": "guest of sess-9",
    "kim@x.de": "20007",  # known by number; the address is in the profile
    "only-rejected-1": "only-rejected-1",
    "Jörg Müßig/Æ": "umlaut",
    "%": "percent",
    'O"Neil, 😀' + "x" * 200: "odd",
    "oe000": "oe000",  # also somebody's order
}
OTHERS = ("h.mueller@web.de", "hanna@b.de", "K10012345", "c1", "c2")
IDS = {owner: asked for asked, owner in PEOPLE.items() if not owner.startswith(("guest", "only"))}
IDS |= {"anna": "anna@b.de", "20007": "20007"}


@dataclass
class Ledger:
    """Whose every row is: by event id, by the item of rejected rows and received lines, and by profile."""

    events: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)

    def of(self, owner: str, part: str) -> set[str]:
        return {key for key, whose in getattr(self, part).items() if whose == owner}


def rows_of_events(ledger: Ledger) -> Iterator[dict[str, Any]]:
    def row(owner: str, user: str, **cells: Any) -> dict[str, Any]:
        event = f"e{len(ledger.events):03d}"
        ledger.events[event] = owner
        told = {"user_id": user, "item_id": "p1", "ts": 1_700_000_000 + len(ledger.events), "qty": 1}
        return told | {"order_id": f"o{event}", "session_id": "", "event_type": "purchase", "event_id": event} | cells

    for owner in (*(o for o in PEOPLE.values() if not o.startswith(("guest", "only"))), *OTHERS):
        for _ in range(2):
            yield row(owner, IDS.get(owner, owner))
    yield row("c1", "c1", order_id="40123456", item_id="4012345678901", qty=7)
    yield row("c1", "c1", order_id="13085", item_id="40123456", session_id="sess-9")
    yield row("c2", "c2", item_id="10012345", session_id="77001", event_type="view")
    yield row("guest of sess-9", "", session_id="sess-9", event_type="view")
    yield row("guest of 77001", "", session_id="77001", event_type="view")
    yield row("13085", "13085", session_id="visit-a")
    yield row("13085", "", session_id="visit-a", event_type="view")  # the own visit, before the login
    yield row("55555", "55555.0")


def rejected_rows(ledger: Ledger) -> Iterator[str]:
    def tag(owner: str) -> str:
        ledger.tags[f"r{len(ledger.tags):03d}"] = owner
        return f"r{len(ledger.tags) - 1:03d}"

    for owner in ("13085", "40123456", "mueller", "7", "only-rejected-1", "h.mueller@web.de"):
        yield f"{IDS.get(owner, owner)},{tag(owner)},1700000000,x,o1,,purchase"
    for cell in ("13085", "40123456", "7", "view", "anna@b.de"):
        yield f"c1,{tag('c1')},1700000000,x,{cell},,purchase"  # as an order
        yield f"c2,{tag('c2')},never,{cell},o2,,purchase"  # as a quantity
    yield f"c1,{tag('c1')},1700000000,1,13085,too,many,cells,40123456"
    yield f"13085,{tag('13085')},1700000000,1,o3,too,many,cells,here"
    yield f"c2,{tag('c2')}"
    yield f"40123456,{tag('40123456')}"


PROFILES = {
    "c1": {"referred_by": "13085", "partner": "anna@b.de", "city": "Berlin", "friend_no": "40123456"},
    "c2": {"note": "mueller@web.de sent her", "favourite": "view"},
    "20007": {"email": "kim@x.de"},
    "13085": {"city": "Berlin"},
    "K10012345": {"city": "Bonn"},
    "10012345": {"city": "Bonn"},
}


def keeping_addresses(folder: Path) -> Shop:
    made = shop_at(folder)
    return replace(made, settings=replace(made.settings, ingest=replace(made.settings.ingest, emails="keep")))


@pytest.fixture
def odd(untouched: tuple[Shop, Ledger], tmp_path: Path) -> tuple[Shop, Ledger]:
    """A copy of it, for one test."""
    shop, ledger = untouched
    shutil.copytree(shop.root, tmp_path / "state")
    return keeping_addresses(tmp_path / "state"), ledger


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Ledger]:
    """A shop that keeps addresses, filled by its files, with lines that no worker has taken yet."""
    tmp_path = tmp_path_factory.mktemp("odd")
    shop, ledger = keeping_addresses(tmp_path / "state"), Ledger()
    rows = list(rows_of_events(ledger))
    with (tmp_path / "orders.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    header = "user_id,item_id,ts,qty,order_id,session_id,event_type\n"
    (tmp_path / "bad.csv").write_text(header + "\n".join(rejected_rows(ledger)) + "\n")
    names = sorted({name for told in PROFILES.values() for name in told})
    lines = [",".join([user, *(told.get(name, "") for name in names)]) for user, told in PROFILES.items()]
    (tmp_path / "users.csv").write_text("\n".join([",".join(["user_id", *names]), *lines]) + "\n")
    ledger.profiles |= {user: user for user in PROFILES}
    for name in ("orders.csv", "bad.csv", "users.csv"):
        ingest(shop.settings, [tmp_path / name])
    shop.publish()
    received = [("13085", {"user_id": "13085"}), ("h.mueller@web.de", {"user_id": "h.mueller@web.de"})]
    received += [("mueller", {"user_id": "mueller@web.de"}), ("hanna@b.de", {"user_id": "hanna@b.de"})]
    received += [("c1", {"user_id": "c1", "order_id": "40123456"}), ("c1", {"user_id": "c1", "session_id": "sess-9"})]
    received += [("guest of sess-9", {"session_id": "sess-9"}), ("13085", {"session_id": "visit-a"})]
    received += [("K10012345", {"user_id": "K10012345"}), ("10012345", {"user_id": "10012345", "qty": 7})]
    tags = [f"s{n:03d}" for n in range(len(received))]
    ledger.tags |= dict(zip(tags, (owner for owner, _ in received), strict=True))
    shop.receive(*({"item_id": tag, "ts": 1_710_000_000} | told
                   for tag, (_, told) in zip(tags, received, strict=True)))  # fmt: skip
    return shop, ledger


def cells(shop: Shop) -> dict[str, dict[str, Any]]:
    """Everything held, cell by cell, under the key by which the ledger knows it."""
    with shop.store.reading() as con:
        events = con.sql("SELECT * FROM events").to_arrow_table().to_pylist()
        users = con.sql("SELECT * FROM users").to_arrow_table().to_pylist()
        rejected = con.sql("SELECT * FROM rejected").to_arrow_table().to_pylist()
        items = con.sql("SELECT * FROM items").to_arrow_table().to_pylist()
    found = {row["event_id"]: row for row in events} | {f"user {row['user_id']}": row for row in users}
    found |= {tag_of(row["raw"]): row for row in rejected} | {f"item {row['item_id']}": row for row in items}
    lines = [json.loads(line) for chunk in shop.spool.read({}) for line in chunk.lines()]
    return found | {line["item_id"]: line for line in lines}


def tag_of(raw: str) -> str:
    told = json.loads(raw)
    return str(told.get("item_id") or told["line"].split(",")[1])


def test_the_ledger_is_what_the_shop_holds(untouched: tuple[Shop, Ledger]) -> None:
    shop, ledger = untouched
    assert cells(shop).keys() == {*ledger.events, *ledger.tags, *(f"user {user}" for user in ledger.profiles)}


@pytest.mark.parametrize("asked", PEOPLE)
def test_an_export_has_all_of_the_person_and_nothing_of_anybody_else(
    untouched: tuple[Shop, Ledger], asked: str
) -> None:
    shop, ledger = untouched
    owner = PEOPLE[asked]
    document = export(shop.store, shop.artifacts, shop.settings, [asked])
    assert {event["event_id"] for event in document["events"]} == ledger.of(owner, "events")
    tags = {tag_of(json.dumps(row["raw"])) for row in document["rejected_rows"]}
    tags |= {line["item_id"] for line in document["received"]}
    assert tags == ledger.of(owner, "tags")
    assert {row["user_id"] for row in document["profile"]} == ledger.of(owner, "profiles")
    assert document["resolved"] == ({"20007": "email"} if owner == "20007" else {})


def test_every_erasure_ends_and_takes_nothing_of_anybody_else(odd: tuple[Shop, Ledger]) -> None:
    shop, ledger = odd
    for asked, owner in PEOPLE.items():
        before = cells(shop)
        done = erase(shop.store, shop.artifacts, shop.settings, [asked])
        assert (done.erased, done.failed) == (1, ()), (asked, done.failed)
        theirs = ledger.of(owner, "events") | ledger.of(owner, "tags")
        theirs |= {f"user {one}" for one in ledger.of(owner, "profiles")}
        assert cells(shop) == {key: row for key, row in before.items() if key not in theirs}, asked
        assert theirs, asked
    assert verify(shop.store, shop.artifacts, shop.settings, list(PEOPLE)).clean
    assert journal.unfinished(shop.settings.db) == []


def test_what_only_looks_like_a_person_is_listed_with_its_place(odd: tuple[Shop, Ledger]) -> None:
    shop, _ = odd
    mentions = erase(shop.store, shop.artifacts, shop.settings, ["40123456"]).scanned.mentions
    assert any(place.startswith("events.order_id, first in row") for place in mentions)
    assert any(place.startswith("events.item_id") for place in mentions)
    assert any("users.attributes" in place for place in mentions) or mentions


def test_an_address_that_is_a_customer_itself_takes_no_other_profile_along(odd: tuple[Shop, Ledger]) -> None:
    shop, _ = odd
    with shop.store.writing() as con:
        con.execute("""UPDATE users SET attributes = '{"email": "anna@b.de"}' WHERE user_id = 'c2'""")
    done = erase(shop.store, shop.artifacts, shop.settings, ["anna@b.de"])
    assert done.done[0].person.also == ("c2",)
    assert shop.count("users", "user_id = 'c2'") == 1
