"""Files into the store, once: the plain contract, the real invoices, and what may go wrong on the way."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from recsys_cli.artifacts import suppressed
from recsys_cli.errors import InputError, UsageError
from recsys_cli.identity import load_secret, pseudonym, user_key
from recsys_cli.ingest import FileReport, Request, StrictRefusal, ingest
from recsys_cli.ingest.formats import Hints
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load

INVOICES = Path(__file__).parents[3] / "shared" / "data" / "online_retail_2009_2010.parquet"
needs_invoices = pytest.mark.skipif(not INVOICES.exists(), reason="the real shop's invoices are not beside the repo")
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
EVENTS = "user_id,item_id,ts,qty\nu1,a,1700000000,1\nu1,b,1700000100,2\nu2,a,1700000200,1\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"db": str(tmp_path / "shop.duckdb"), "store.threads": 1}, environ={})


def take(settings: Settings, path: Path, **asked: object) -> FileReport:
    report = ingest(settings, [path], Request(**asked)).files[0]  # type: ignore[arg-type]
    assert report.read == report.new + report.known + report.rejected
    return report


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(settings.db), read_only=True) as con:
        return con.execute(query).fetchall()


def written(tmp_path: Path, text: str, name: str = "f.csv", encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_the_plain_contract_needs_no_flags_and_adds_nothing_twice(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, EVENTS)
    first, again = take(settings, file), take(settings, file)
    assert (first.kind, first.read, first.new) == ("events", 3, 3)
    assert (again.new, again.known, again.already) == (0, 3, True)
    longer = take(settings, written(tmp_path, EVENTS + "u2,b,1700000300,1\n"))
    assert (longer.new, longer.known) == (1, 3)
    assert rows(settings, "SELECT user_id, item_id, ts, qty, event_type FROM events ORDER BY rowid")[-1] == (
        "u2",
        "b",
        1700000300,
        1,
        "purchase",
    )


def test_two_equal_lines_in_a_file_are_two_sales(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, EVENTS + "u1,a,1700000000,1\n")
    assert take(settings, file).new == 4
    assert take(settings, written(tmp_path, EVENTS)).new == 0


def test_a_file_with_items_and_no_customers_is_the_catalogue(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "item_id,category,price,colour\na,tea,3.5,green\nb,,,\n")
    report = take(settings, file)
    assert (report.kind, report.new) == ("items", 2)
    assert rows(settings, "SELECT item_id, category, price, attributes FROM items ORDER BY 1") == [
        ("a", "tea", 3.5, '{"colour":"green"}'),
        ("b", None, None, None),
    ]
    more = take(settings, written(tmp_path, "item_id,price\na,4.0\nb,\n"))
    assert (more.new, more.changed, more.known) == (1, 1, 1)
    assert rows(settings, "SELECT price FROM item_history WHERE item_id = 'a' ORDER BY price") == [(3.5,), (4.0,)]


def test_an_address_that_is_a_script_is_left_out(settings: Settings, tmp_path: Path) -> None:
    """It would run wherever a shop's page links to it unseen."""
    scripts = ["javascript:alert(1)", " JavaScript:x", "data:text/html;x", "vbscript:x", "\x01javascript:x"]
    addresses = [*scripts, "https://shop.example/javascript:a", "/tea", "shop.example:8080/tea", "database/a"]
    lines = "".join(f"i{n},{url}\n" for n, url in enumerate(addresses))
    report = take(settings, written(tmp_path, f"item_id,url\n{lines}"))
    assert report.new == len(addresses)
    kept = [url for (url,) in rows(settings, "SELECT url FROM items WHERE url IS NOT NULL ORDER BY item_id")]
    assert kept == addresses[len(scripts) :]
    assert "5 values of url are scripts or data (javascript:, data:) and no web address: left out." in report.notes


def test_users_are_taken_with_their_attributes(settings: Settings, tmp_path: Path) -> None:
    assert take(settings, written(tmp_path, "user_id,country\nu1,DE\n")).kind == "users"
    assert rows(settings, "SELECT user_id, attributes FROM users") == [("u1", '{"country":"DE"}')]


def test_the_whole_catalogue_retires_what_is_missing(settings: Settings, tmp_path: Path) -> None:
    take(settings, written(tmp_path, "item_id,title\na,A\nb,B\n"))
    assert take(settings, written(tmp_path, "item_id,title\na,A\n"), replace=True).retired == 1
    assert rows(settings, "SELECT item_id FROM items WHERE retired_at IS NULL") == [("a",)]


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t"), ("utf-16-le", "|"), ("cp1252", ";"), ("utf-16-be", ",")],
)
def test_encodings_and_delimiters_are_found_out(
    settings: Settings, tmp_path: Path, encoding: str, delimiter: str
) -> None:
    text = "Kundennummer,Artikelnummer,Datum,Menge\r\nMüller,Ä1,31.12.2024 18:30,1\r\nSøren,a,01.02.2025 09:00,2\r\n"
    report = take(settings, written(tmp_path, text.replace(",", delimiter), encoding=encoding))
    assert report.new == 2
    assert rows(settings, "SELECT user_id, item_id, ts FROM events ORDER BY ts")[0] == ("Müller", "Ä1", 1735669800)


def test_compressed_json_and_parquet_say_the_same(settings: Settings, tmp_path: Path) -> None:
    table = pacsv.read_csv(pa.BufferReader(EVENTS.encode()))
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(EVENTS.encode()))
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as out:
        out.write(lines.encode())
    written(tmp_path, json.dumps({"events": table.to_pylist()}, indent=1), "a.json")
    pq.write_table(table, tmp_path / "a.parquet")
    new = [take(settings, tmp_path / n).new for n in ("a.csv.gz", "a.jsonl.zst", "a.json", "a.parquet")]
    assert new == [3, 0, 0, 0]


@pytest.mark.parametrize(
    "value",
    ["1735689600", "1735689600000", "1735689600000000", "2025-01-01", "2025-01-01T00:00:00Z", "2025-01-01 01:00+01:00",
     "2025-01-01 01:00:00 +0100", "01.01.2025", "1/1/2025 0:00", "01/01/25", "Jan 1, 2025 12:00:00 AM", "20250101",
     "1 January 2025", "2025/01/01 00:00", "45658"],
)  # fmt: skip
def test_times_are_read_as_people_write_them(settings: Settings, tmp_path: Path, value: str) -> None:
    assert take(settings, written(tmp_path, f'user_id,item_id,ts\nu,a,"{value}"\n')).new == 1
    assert rows(settings, "SELECT ts FROM events") == [(1735689600,)]


def test_the_shops_clock_is_a_setting_and_hours_that_never_were_are_refused(settings: Settings, tmp_path: Path) -> None:
    berlin = load({"db": settings.db, "ingest.timezone": "Europe/Berlin"}, environ={})
    text = "user_id,item_id,ts\nu,a,2025-07-01 12:00:00\nu,b,2025-03-30 02:30:00\nu,c,2025-01-01 12:00:00Z\n"
    report = take(berlin, written(tmp_path, text))
    assert [(r.name, r.examples[0].row) for r in report.reasons] == [("bad_time", 3)]
    assert rows(settings, "SELECT item_id, ts FROM events ORDER BY 1") == [("a", 1751364000), ("c", 1735732800)]


def test_dates_that_can_be_read_two_ways_stop_with_the_line_to_type(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "user_id,item_id,date\nu,a,03/04/2025\nu,b,05/06/2025\n")
    with pytest.raises(InputError, match="--date-order dmy or --date-order mdy"):
        take(settings, file)
    us = load({"db": settings.db, "ingest.date_order": "mdy"}, environ={})
    assert take(us, file).new == 2
    assert rows(settings, "SELECT min(ts) FROM events") == [(1741046400,)]


def test_numbers_are_read_with_the_sign_the_column_shows(settings: Settings, tmp_path: Path) -> None:
    text = 'item_id;price\na;"1.234,56 €"\nb;"EUR 12,5"\nc;1.234\nd;7\ne;abc\nf;3 Taler\n'
    report = take(settings, written(tmp_path, text))
    assert rows(settings, "SELECT item_id, price FROM items ORDER BY 1") == [
        ("a", 1234.56), ("b", 12.5), ("c", 1234.0), ("d", 7.0), ("e", None), ("f", None)
    ]  # fmt: skip
    # No product is lost for its price; one in a currency that is not known is not taken for ours.
    assert "2 prices cannot be read ('3 Taler', 'abc'): those items have none." in report.notes


def test_a_number_that_can_be_read_two_ways_is_not_guessed(settings: Settings, tmp_path: Path) -> None:
    report = take(settings, written(tmp_path, "item_id;price\na;12,50\nb;12.50\nc;1.234\n"))
    assert rows(settings, "SELECT item_id, price FROM items ORDER BY 1") == [("a", 12.5), ("b", 12.5), ("c", None)]
    assert "1 price cannot be read ('1.234'): that item has none." in report.notes


def test_what_is_wrong_with_a_row_is_said_with_its_number_and_value(settings: Settings, tmp_path: Path) -> None:
    text = (
        "user_id,item_id,ts,qty,price\n,a,1700000000,1,1\nu,,1700000000,1,1\nu,a,,1,1\nu,a,soon,1,1\nu,a,1,1,1\n"
        "u,a,9999999999,1,1\nu,a,1700000000,x,1\nu,a,1700000000,0,1\nu,a,1700000000,1e12,1\nu,a,1700000000,1,inf\n"
        f"{'x' * 300},a,1700000000,1,1\nu\x07,a,1700000000,1,1\nu,POST,1700000000,1,1\nu,a,1700000000\n"
        "u,ok,1700000000,-2,1\n"
    )
    report = take(settings, written(tmp_path, text))
    assert {r.name: (r.rows, r.examples[0].row) for r in report.reasons} == {
        "no_user": (1, 2), "no_item": (1, 3), "no_time": (1, 4), "bad_time": (1, 5), "old_time": (1, 6),
        "future_time": (1, 7), "bad_qty": (1, 8), "no_qty": (1, 9), "huge_qty": (1, 10), "bad_price": (1, 11),
        "long_id": (1, 12), "odd_id": (1, 13), "non_product": (1, 14), "broken_line": (1, 15),
    }  # fmt: skip
    assert rows(settings, "SELECT item_id, qty, event_type FROM events") == [("ok", 2, "refund")]
    assert rows(settings, "SELECT count(*) FROM rejected") == [(14,)]


def test_strict_refuses_the_file_whole_and_a_dry_run_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    good, bad = written(tmp_path, EVENTS), written(tmp_path, EVENTS + "u,a,never,1\n", "bad.csv")
    assert take(settings, bad, dry_run=True).new == 3
    with pytest.raises(StrictRefusal, match=r"bad\.csv was refused: 1 of 4 rows are wrong.*row 5"):
        take(settings, bad, strict=True)
    for table in ("events", "rejected", "batches"):
        assert rows(settings, f"SELECT count(*) FROM {table}") == [(0,)]
    assert take(settings, good, strict=True).new == 3


def test_email_addresses_are_kept_as_keyed_hashes(settings: Settings, tmp_path: Path) -> None:
    text = "email,item_id,ts\nAnna@Example.org,a,1700000000\nanna@example.org ,b,1700000000\nanna@example.org,,1\n"
    take(settings, written(tmp_path, text))
    known = pseudonym(load_secret(settings.db), "anna@example.ORG")
    assert rows(settings, "SELECT DISTINCT user_id FROM events") == [(known,)]
    assert b"example.org" not in settings.db.read_bytes().lower()
    plain = load({"db": str(tmp_path / "plain.duckdb"), "ingest.emails": "keep"}, environ={})
    take(plain, written(tmp_path, text))
    assert ("anna@example.org",) in rows(plain, "SELECT DISTINCT user_id FROM events")


def test_the_shops_own_words_for_events_are_of_any_script(settings: Settings, tmp_path: Path) -> None:
    """What is not in the settings is never taken for what is: to a filter for a-z, all of these were the same word."""
    own = {"貸出": "purchase", "Rück-Gabe": "refund"}
    shop = dataclasses.replace(settings, ingest=dataclasses.replace(settings.ingest, event_types=own))
    text = "user_id,item_id,ts,event_type\nu,a,1700000000,貸出\nu,b,1700000000,予約\nu,c,1700000000,rück gabe\n"
    take(shop, written(tmp_path, text))
    kinds = dict(rows(settings, "SELECT item_id, event_type FROM events"))
    assert (kinds["a"], kinds["c"]) == ("purchase", "refund")
    assert kinds["b"] != "purchase"


def test_guests_are_taken_by_their_session(settings: Settings, tmp_path: Path) -> None:
    text = (
        "session_id,user_id,item_id,ts,event\ns1,,a,1700000000,page-view\n,,a,1700000000,view\ns1,u,b,1700000000,quiz\n"
    )
    report = take(settings, written(tmp_path, text))
    assert [(r.name, r.rows) for r in report.reasons] == [("no_user", 1)]
    assert rows(settings, "SELECT user_id, session_id, event_type FROM events ORDER BY item_id") == [
        (None, "s1", "view"),
        ("u", "s1", "quiz"),
    ]
    only = take(settings, written(tmp_path, "session_id,item_id,ts\ns2,a,1700000000\n"))
    assert (only.kind, only.new) == ("events", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("colour,size\nred,3\n", "no column recognised as a customer or a product.*--map user_id=COLUMN"),
        ("user_id,item_id\nu,a\n", "no column recognised as ts.*--map ts=COLUMN"),
        (
            "user_id,sku,asin,ts\nu,a,b,1700000000\n",
            "2 columns that can be item_id.*--map item_id=sku or --map item_id=asin",
        ),
        ("user_id,item_id,Wann\nu,a,2024-05-01 10:00\n", "--map ts=Wann"),
    ],
)
def test_a_file_that_cannot_be_understood_says_what_to_type(
    settings: Settings, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        take(settings, written(tmp_path, text))


def test_wrong_names_get_the_nearest_right_one(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "Kunde Nr,Artikel,Tag\nu,a,2024-01-01\n")
    with pytest.raises(InputError, match=r"no column 'Kunden Nr'\. Did you mean --map user_id='Kunde Nr'"):
        take(settings, file, said={"user_id": "Kunden Nr"})
    with pytest.raises(UsageError, match=r"'usr_id' is not a field of events\. Did you mean user_id"):
        take(settings, file, said={"usr_id": "Artikel", "user_id": "Kunde Nr", "item_id": "Artikel", "ts": "Tag"})
    with pytest.raises(UsageError, match=r"no preset 'shopfy'\. Did you mean shopify"):
        take(settings, file, preset="shopfy")
    assert take(settings, file, said={"user_id": "Kunde Nr", "item_id": "Artikel", "ts": "Tag"}).new == 1


def test_mappings_may_live_in_the_settings(settings: Settings, tmp_path: Path) -> None:
    mapped = load({"db": settings.db, "ingest.map_events": "user_id=Wer,item_id=Was,ts=Wann"}, environ={})
    assert take(mapped, written(tmp_path, "Wer,Was,Wann\nu,a,2024-01-01\n"), kind="events").new == 1
    assert take(mapped, written(tmp_path, EVENTS)).new == 3


def test_damaged_files_change_nothing(settings: Settings, tmp_path: Path) -> None:
    table = pacsv.read_csv(pa.BufferReader(EVENTS.encode()))
    pq.write_table(table, tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(EVENTS.encode() * 500)[:60])
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    for name, message in (
        ("cut.parquet", "damaged or cut off"),
        ("cut.csv.gz", "damaged or cut off"),
        ("book.xlsx", "damaged or cut off"),
        ("none.csv", "no file"),
    ):
        with pytest.raises(InputError, match=message):
            take(settings, tmp_path / name)
    assert not settings.db.exists()


def test_broken_lines_and_broken_json_are_kept_with_their_text(settings: Settings, tmp_path: Path) -> None:
    take(settings, written(tmp_path, EVENTS + "u3,a\n"))
    lines = (
        '{"user_id":"u","item_id":"a","ts":1700000000}\nnonsense\n[1]\n{"user_id":"u","item_id":"b","ts":1700000001}\n'
    )
    report = take(settings, written(tmp_path, lines, "f.jsonl"))
    assert (report.new, report.rejected) == (2, 2)
    assert rows(settings, "SELECT row_number, reason, raw FROM rejected ORDER BY batch_id, row_number") == [
        (5, "broken_line", '{"line":"u3,a"}'),
        (2, "broken_line", '{"line":"nonsense"}'),
        (3, "broken_line", '{"line":"[1]"}'),
    ]


def test_columns_of_any_name_are_only_names(settings: Settings, tmp_path: Path) -> None:
    names = ['a"; DROP TABLE events; --', "c0", "x'y\\", "row_number", "", "a.b"]
    table = pa.table([pa.array(["u"]), pa.array(["i"]), pa.array([1700000000]), *[pa.array(["z"])] * 6],
                     names=["user_id", "item_id", "ts", *names])  # fmt: skip
    pq.write_table(table, tmp_path / "f.parquet")
    assert take(settings, tmp_path / "f.parquet").new == 1
    pq.write_table(table.drop(["user_id"]), tmp_path / "items.parquet")
    assert take(settings, tmp_path / "items.parquet", kind="items").new == 1
    attributes = json.loads(str(rows(settings, "SELECT attributes FROM items")[0][0]))
    assert attributes['a"; DROP TABLE events; --'] == attributes["x'y\\"] == "z"


def test_hints_say_how_the_file_is_written(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "u~a~2024-01-01\n")
    report = take(
        settings,
        file,
        hints=Hints(delimiter="~", header=False),
        said={"user_id": "column1", "item_id": "column2", "ts": "column3"},
    )
    assert report.new == 1
    with pytest.raises(UsageError, match="not a text encoding"):
        take(settings, file, hints=Hints(encoding="klingon"))


@needs_invoices
def test_the_real_invoices_are_understood_without_a_word(settings: Settings) -> None:
    report = take(settings, INVOICES)
    assert (report.read, report.new, report.rejected) == (525_461, 415_734, 109_727)
    assert report.understood == {
        "user_id": "Customer ID", "item_id": "StockCode", "ts": "InvoiceDate", "qty": "Quantity", "order_id": "Invoice",
        "price": "Price", "title_of_line": "Description",
    }  # fmt: skip
    assert {r.name: r.rows for r in report.reasons} == {"no_user": 107_927, "non_product": 1_800}
    assert rows(settings, "SELECT DISTINCT event_type FROM events WHERE order_id LIKE 'C%'") == [("refund",)]
    assert rows(settings, "SELECT count(*) FROM events WHERE user_id = '13085'")[0][0]
    assert not rows(settings, "SELECT 1 FROM events WHERE user_id LIKE '%.%' OR qty < 1 LIMIT 1")
    again = take(settings, INVOICES)
    assert (again.new, again.known, again.rejected) == (0, 415_734, 109_727)
    items = take(settings, INVOICES, kind="items")
    assert items.new == 4_610
    assert rows(settings, "SELECT title, price FROM items WHERE item_id = '85123A'") == [
        ("WHITE HANGING HEART T-LIGHT HOLDER", 2.95)
    ]


def test_a_whole_catalogue_does_not_retire_what_it_names_in_a_wrong_row(settings: Settings, tmp_path: Path) -> None:
    take(settings, written(tmp_path, "item_id,price\na,1\nb,2\nc,3\n"))
    report = take(settings, written(tmp_path, "item_id,price\na,1\nb,-2\n"), replace=True, yes=True)
    assert (report.retired, report.rejected) == (1, 1)
    assert rows(settings, "SELECT item_id FROM items WHERE retired_at IS NOT NULL") == [("c",)]
    with pytest.raises(InputError, match="not a whole catalogue"):
        take(settings, written(tmp_path, "item_id,price\nb,-2\n"), replace=True)


def test_events_of_unknown_items_are_noted_or_by_setting_rejected(settings: Settings, tmp_path: Path) -> None:
    take(settings, written(tmp_path, "item_id,title\na,A\n"))
    file = written(tmp_path, EVENTS)
    assert any("1 item is not in the catalogue (yet): b" in n for n in take(settings, file, dry_run=True).notes)
    choosy = load({"db": settings.db, "ingest.unknown_items": "reject"}, environ={})
    assert {r.name: r.examples[0].value for r in take(choosy, file).reasons} == {"unknown_item": "b"}


def test_parquet_of_every_type_is_read_or_refused_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    at = datetime(2024, 1, 1, 12, tzinfo=UTC)
    berlin = pa.array([at], pa.timestamp("ns", tz="Europe/Berlin"))
    columns = {
        "user_id": pa.array([b"u1"], pa.binary()),
        "item_id": pa.array(["a"]).dictionary_encode(),
        "ts": berlin,
        "qty": pa.array([2], pa.uint8()),
        "price": pa.array([Decimal("1.25")], pa.decimal128(9, 2)),
        "order_id": pa.array([7.0], pa.float32()),
        "extra": pa.array([[1, 2]]),
        "nothing": pa.nulls(1),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert take(settings, tmp_path / "t.parquet").new == 1
    assert rows(settings, "SELECT user_id, item_id, ts, qty, price, order_id FROM events") == [
        ("u1", "a", int(at.timestamp()), 2, 1.25, "7")
    ]
    naive = {**columns, "ts": pa.array([at.replace(tzinfo=None)], pa.timestamp("s")), "user_id": pa.array([5])}
    pq.write_table(pa.table(naive), tmp_path / "n.parquet")
    berlin_shop = load({"db": settings.db, "ingest.timezone": "Europe/Berlin"}, environ={})
    assert take(berlin_shop, tmp_path / "n.parquet").new == 1
    assert rows(settings, "SELECT ts FROM events WHERE user_id = '5'") == [(int(at.timestamp()) - 3600,)]
    pq.write_table(pa.table({**columns, "user_id": pa.array([b"\xff\xfe"], pa.binary())}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="damaged"):
        take(settings, tmp_path / "b.parquet")


def test_an_erased_person_does_not_come_back_with_an_old_export(settings: Settings, tmp_path: Path) -> None:
    take(settings, written(tmp_path, "user_id,item_id,ts\nu9,a,1600000000\n"))
    secret = load_secret(settings.db)
    suppressed.add(settings.db, secret, [user_key(secret, "u1")], days=10, keeps_out=True)
    report = take(settings, written(tmp_path, EVENTS))
    assert {r.name: (r.rows, r.severity) for r in report.reasons} == {"erased": (2, "left out")}
    assert rows(settings, "SELECT DISTINCT user_id FROM events ORDER BY 1") == [("u2",), ("u9",)]
    assert rows(settings, "SELECT raw, detail FROM rejected") == [(None, None)] * 2


def test_the_example_is_the_id_that_offends(settings: Settings, tmp_path: Path) -> None:
    path = written(tmp_path, "user_id,item_id,ts\nu1,a\x01b,1700000000\nu\x022,c,1700000000\nu3,d,1700000000\n")
    reasons = ingest(settings, [path]).files[0].reasons
    assert {(r.name, r.sentence.split()[0], r.examples[0].value) for r in reasons} == {
        ("odd_id", "item_id", "a\x01b"),
        ("odd_id", "user_id", "u\x022"),
    }


def test_only_what_is_kept_is_called_an_attribute(tmp_path: Path, recsys: Recsys) -> None:
    lines = "".join(f"a,Lamp,{n},k{n % 3}\n" for n in range(9))
    written(tmp_path, f"item_id,title,Invoice,Customer ID\n{lines}", "invoices.csv")
    written(tmp_path, "item_id,title,glaze\nb,Mug,blue\n", "mugs.csv")
    invoices = recsys("ingest", "invoices.csv", "--type", "items").stdout
    assert "not used    Invoice" in invoices
    assert "attributes" not in invoices
    assert "attributes  glaze" in recsys("ingest", "mugs.csv", "--type", "items").stdout


def test_a_file_that_fails_does_not_hide_what_was_taken_before_it(tmp_path: Path, recsys: Recsys) -> None:
    written(tmp_path, EVENTS, "good.csv")
    written(tmp_path, "", "empty.csv")
    done = recsys("ingest", "good.csv", "empty.csv", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["total"]["new"] == 3


def test_what_a_file_tells_of_customers_never_becomes_an_attribute_of_items(settings: Settings, tmp_path: Path) -> None:
    orders = "sku,name,billing_phone,Email,colour\na,A,+49 30 1,x@example.org,red\nb,B,+49 30 2,y@example.org,blue\n"
    assert take(settings, written(tmp_path, orders), kind="items").new == 2
    assert rows(settings, "SELECT DISTINCT attributes FROM items") == [(None,)]
    users = "user_id,newsletter_email,city,city\nu1,Anna@example.org,Ulm,Bonn\n"
    assert take(settings, written(tmp_path, users)).new == 1
    hashed = pseudonym(load_secret(settings.db), "anna@example.org")
    assert rows(settings, "SELECT attributes FROM users") == [(f'{{"newsletter_email":"{hashed}","city":"Ulm"}}',)]


def test_a_quote_that_never_closes_breaks_its_line_and_no_other(settings: Settings, tmp_path: Path) -> None:
    more = "".join(f"v{i},b,{1700000000 + i},1\n" for i in range(50))
    report = take(settings, written(tmp_path, EVENTS + 'u,"open,1700000000,1\n' + more))
    assert (report.new, report.rejected) == (53, 1)
    assert report.reasons[0].examples[0].row == 5
    with pytest.raises(InputError, match="opens a quote in row 5 that never closes"):
        take(settings, written(tmp_path, EVENTS + 'u,a,1700000000,"1\n' + more))
    inches = written(tmp_path, 'item_id,title\na,5" pipe\nb,"two\nlines"\n')
    assert take(settings, inches).new == 2


def test_what_stands_before_the_header_is_passed_over(settings: Settings, tmp_path: Path) -> None:
    assert take(settings, written(tmp_path, "\n\n" + EVENTS)).new == 3
    semicolons = "sep=;\n" + EVENTS.replace(",", ";") + "u;a;never;1\n"
    report = take(settings, written(tmp_path, semicolons, encoding="utf-8-sig"))
    assert (report.known, report.rejected) == (3, 1)


def test_one_json_object_on_one_line_is_a_document(settings: Settings, tmp_path: Path) -> None:
    one = {
        "orders": [
            {"user_id": 1, "item_id": "a", "ts": 1700000000},
            {"user_id": 2.0, "item_id": "b", "ts": "2024-01-01"},
        ]
    }
    assert take(settings, written(tmp_path, json.dumps(one), "o.json")).new == 2
    assert take(settings, written(tmp_path, json.dumps(one["orders"][0]), "single.json")).known == 1


@pytest.mark.parametrize(
    ("text", "place", "kind"),
    [
        ("order_id,product_id,n\n1,a,1\n1,b,2\n2,a,1\n2,b,2\n", "user_id", "items"),
        ("buyer,thing,weight\nu1,a,3\nu1,b,2\nu2,a,1\nu2,b,2\n", "item_id", "users"),
    ],
)
def test_a_list_of_sales_is_not_mistaken_for_a_catalogue_or_for_customers(
    settings: Settings, tmp_path: Path, text: str, place: str, kind: str
) -> None:
    """For want of one known name, half of the rows would be dropped as repetitions without a word."""
    file = written(tmp_path, text)
    with pytest.raises(InputError, match=f"--map {place}=COLUMN.*--type {kind}"):
        take(settings, file)
    if settings.db.exists():  # else it was refused before there was one
        assert rows(settings, "SELECT count(*) FROM items UNION ALL SELECT count(*) FROM users") == [(0,), (0,)]
    assert take(settings, file, kind=kind).new == 2, "unless it is said to be one"


def test_a_catalogue_with_sizes_of_a_product_in_rows_of_their_own_is_taken(settings: Settings, tmp_path: Path) -> None:
    report = take(settings, written(tmp_path, "item_id,size,price\na,S,1\na,M,1\nb,S,2\nb,M,2\n"))
    assert (report.kind, report.new) == ("items", 2)


def test_ratings_are_not_passed_over_in_silence(settings: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "user_id,item_id,ts,rating\nu1,a,1700000000,5\nu2,b,1700000100,1\n")
    report = take(settings, file)
    assert any("poor rating counts as much as a good one" in note for note in report.notes)
    weighed = load({"db": str(tmp_path / "w.duckdb"), "events.weights": {"5": 1.0, "1": -1.0}}, environ={})
    report = take(weighed, file, said={"event_type": "rating"})
    assert not report.notes
    assert rows(weighed, "SELECT item_id, event_type FROM events ORDER BY 1") == [("a", "5"), ("b", "1")]
