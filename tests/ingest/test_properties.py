"""Any table of hostile values either lands exactly or is rejected with a reason; the counts always add up."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_cli.errors import RecsysError
from recsys_cli.identity import load_secret, pseudonym
from recsys_cli.ingest import FileReport, Request, ingest
from recsys_cli.ingest.nobody import is_nobody
from recsys_cli.ingest.value_parsing import INVISIBLE, MISSING
from recsys_cli.settings_sources import load

NASTY = [
    "\0", "a\0b", '"', "'", "a'; DROP TABLE events; --", "line\nbreak", "cr\r\nlf", "\u202eRTL",
    "=cmd()", "\u0645\u0631",
    "../../etc/passwd", "🛒",
    "👩‍👩‍👧", "e\u0301", "é",
    "NULL", "nan", " padded ", "\u00a0nbsp\u00a0", "x" * 300, ",", ";", "\\",
    "\\n", "%s", "{}", "c0", "1.0", "007", "1e5", "a@b.co", "\ufeffbom", "\ufffd", "\x1b[31m", "#", "-", "\t", "#REF!",
]  # fmt: skip
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))
odd = re.compile("[\x00-\x1f\x7f-\x9f\ufffd\u202a-\u202e]")
FORMATS = ("csv", "jsonl", "parquet")
EXAMPLES = 300 if os.environ.get("RECSYS_HYPOTHESIS") == "search" else 6


def write(path: Path, table: list[dict[str, str]], form: str) -> Path:
    names = list(table[0])
    file = path / f"f.{form}"
    if form == "csv":
        with file.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, names, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(table)
    elif form == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    else:
        pq.write_table(pa.table({n: pa.array([r[n] for r in table], pa.string()) for n in names}), file)
    return file


def said(text: str) -> str | None:
    """What a text says, as the documentation has it."""
    trimmed = text.strip(INVISIBLE)
    return None if trimmed.lower() in MISSING else trimmed


def taken(folder: Path, file: Path, query: str, **asked: object) -> tuple[FileReport, list[tuple[object, ...]], str]:
    values = load({"db": str(folder / "p.duckdb"), "store.threads": 1}, environ={})
    report = ingest(values, [file], Request(**asked)).files[0]  # type: ignore[arg-type]
    assert report.read == report.new + report.known + report.rejected
    assert report.rejected == sum(r.rows for r in report.reasons)
    with duckdb.connect(str(values.db), read_only=True) as con:
        return report, con.execute(query).fetchall(), load_secret(values.db)


@pytest.mark.parametrize("form", FORMATS)
@given(table=st.lists(st.tuples(texts, texts), min_size=1, max_size=12))
@example(table=[(a, b) for a, b in zip(NASTY, reversed(NASTY), strict=True)])
@settings(max_examples=EXAMPLES)
def test_ids_land_exactly_or_are_rejected(
    tmp_path_factory: pytest.TempPathFactory, form: str, table: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    named = [{"user_id": u, "item_id": i, "ts": "1700000000"} for u, i in table]
    # A column in which every id has become 13085.0 is read as whole numbers; one other id keeps it as it is.
    named.append({"user_id": "someone", "item_id": "something", "ts": "1700000000"})
    file = write(folder, named, form)
    report, stored, secret = taken(folder, file, "SELECT user_id, item_id FROM events")
    expected: Counter[tuple[str, str]] = Counter()
    for row in named:
        user, item = said(row["user_id"]), said(row["item_id"])
        if user is None or item is None or is_nobody(user):
            continue
        item = unicodedata.normalize("NFC", item)
        user = pseudonym(secret, user)
        if max(len(user), len(item)) > 256 or odd.search(user) or odd.search(item):
            continue
        if item.lower() in ("post", "dot", "cruk", "postage", "shipping", "carriage"):
            continue
        expected[user, item] += 1
    assert Counter(stored) == expected
    assert report.new == sum(expected.values())


@pytest.mark.parametrize("form", FORMATS)
@given(titles=st.lists(texts, min_size=1, max_size=12))
@example(titles=[*NASTY, "y" * 1_000_000])
@settings(max_examples=EXAMPLES)
def test_titles_land_exactly(tmp_path_factory: pytest.TempPathFactory, form: str, titles: list[str]) -> None:
    folder = tmp_path_factory.mktemp("titles")
    file = write(folder, [{"item_id": f"item {n:04}", "title": t} for n, t in enumerate(titles)], form)
    report, stored, _ = taken(folder, file, "SELECT title FROM items ORDER BY item_id")
    assert report.new == len(titles)
    assert [t for (t,) in stored] == [said(t) for t in titles]


@given(
    numbers=st.lists(
        st.one_of(
            st.floats(0, 1e7).map(lambda x: f"{x:.2f}"),
            st.sampled_from(
                ["NaN", "inf", "-inf", "1e400", "1_000", "0x10", "twelve", "", "1e2", ".5", "5.", "--1", "1.2.3"]
            ),
            st.floats(allow_nan=True, allow_infinity=True).map(repr),
        ),
        min_size=1,
        max_size=15,
    )
)
@settings(max_examples=EXAMPLES)
def test_numbers_land_exactly_or_are_rejected(tmp_path_factory: pytest.TempPathFactory, numbers: list[str]) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    table = [{"item_id": f"i{n}", "price": p} for n, p in enumerate(numbers)]
    report, stored, _ = taken(folder, write(folder, table, "csv"), "SELECT item_id, price FROM items")
    prices = dict(stored)
    for row in table:
        text = said(row["price"])
        if text is None or prices.get(row["item_id"], 0.0) is None:  # an item is kept without a price nobody can read
            assert prices[row["item_id"]] is None
            assert text is None or not _plain(text)
        elif row["item_id"] in prices:
            assert math.isclose(float(text), prices[row["item_id"]], rel_tol=1e-12, abs_tol=1e-300)
            assert math.isfinite(float(text))
            assert float(text) >= 0
        else:
            assert not _plain(text)
    assert report.read == len(numbers)


def _plain(text: str) -> bool:
    """A number that every reader takes: digits, one point, at least zero, and not three places that may be groups."""
    return re.fullmatch(r"\d+(\.\d{1,2}|\.\d{4,})?", text) is not None


GERMAN = [
    ("1,50", 1.5),
    ("1.234,56", 1234.56),
    ("1.234.567,8", 1234567.8),
    ("12", 12.0),
    ("1.000", 1000.0),
    ("0,5 €", 0.5),
]
ENGLISH = [
    ("1.50", 1.5),
    ("1,234.56", 1234.56),
    ("1,234,567.8", 1234567.8),
    ("12", 12.0),
    ("1,000", 1000.0),
    ("$0.5", 0.5),
]


@pytest.mark.parametrize("written", [GERMAN, ENGLISH])
def test_a_columns_decimal_sign_is_the_one_its_values_show(tmp_path: Path, written: list[tuple[str, float]]) -> None:
    table = [{"item_id": f"i{n}", "price": text} for n, (text, _) in enumerate(written)]
    _, stored, _ = taken(tmp_path, write(tmp_path, table, "csv"), "SELECT price FROM items ORDER BY item_id")
    assert [p for (p,) in stored] == [value for _, value in written]


DATES = {
    "2024-02-29": 1709164800, "2023-02-29": None, "2024-13-01": None, "1970-01-01": None, "2100-01-01": None,
    "2024-12-31T23:59:60Z": None,
    "2024-06-01 00:00:00": 1717200000, "0000-00-00": None, "2024-06-01T12:00:00-07:00": 1717268400,
    "2024-06-01T12:00:00.123456789Z": 1717243200, "yesterday": None, "99999-01-01": None, "2024-06-01 25:00": None,
}  # fmt: skip


@given(chosen=st.lists(st.sampled_from(sorted(DATES)), min_size=1, max_size=10, unique=True))
@settings(max_examples=EXAMPLES)
def test_dates_land_exactly_or_are_rejected(tmp_path_factory: pytest.TempPathFactory, chosen: list[str]) -> None:
    folder = tmp_path_factory.mktemp("dates")
    table = [{"user_id": "u", "item_id": text, "ts": text} for text in chosen]
    report, stored, _ = taken(folder, write(folder, table, "csv"), "SELECT item_id, ts FROM events")
    assert dict(stored) == {text: DATES[text] for text in chosen if DATES[text] is not None}
    assert report.rejected == sum(DATES[text] is None for text in chosen)


@given(
    lines=st.lists(
        st.text(st.sampled_from('ab,;"\n\r\t |{}[]:\\1é\0'), max_size=20),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=EXAMPLES)
def test_broken_text_never_breaks_the_counts(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.mktemp("broken")
    file = folder / "f.csv"
    file.write_text("user_id,item_id,ts\nu,i,1700000000\n" + "\n".join(lines), encoding="utf-8", newline="")
    try:
        taken(folder, file, "SELECT 1")
    except RecsysError:
        return  # said in a sentence; the file as a whole could not be read
