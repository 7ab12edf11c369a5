"""Rejected rows: listed, exported, fixed, and taken when they come back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from recsys_cli.errors import UsageError
from recsys_cli.ingest import repairs
from recsys_cli.settings import Settings

from .conftest import FIXTURES, Rows, Take

BAD = "user_id,item_id,ts,qty\nu1,a,1700000000,1\nu2,=cmd(),1700000001,two\nu3,'b,soon,1\nu4,c\n"


@pytest.fixture
def bad(tmp_path: Path, take: Take) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(BAD)
    assert take(path).rejected == 3
    return path


def fix(path: Path, **changes: tuple[str, str]) -> None:
    with path.open(newline="") as f:
        table = list(csv.DictReader(f))
    for row in table:
        for column, (old, new) in changes.items():
            row[column] = new if row[column] == old else row[column]
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def test_rejected_rows_are_listed_with_reason_and_content(bad: Path, settings: Settings) -> None:
    found = repairs.listed(settings, reason=None, limit=10)
    assert found.by_reason == {"bad_qty": 1, "bad_time": 1, "broken_line": 1}
    assert [(r.row, r.reason, r.detail) for r in found.rows] == [
        (3, "bad_qty", "two"),
        (4, "bad_time", "soon"),
        (5, "broken_line", "2 columns instead of 4"),
    ]
    with pytest.raises(UsageError, match="Reasons there are"):
        repairs.listed(settings, reason="nonsense", limit=10)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_mended_row_is_taken_and_the_rest_stays(
    bad: Path, take: Take, rows: Rows, settings: Settings, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"fix{suffix}"
    assert repairs.export(settings, out, reason=None) == {out: 2}
    if suffix == ".csv":
        assert ",'=cmd()," in out.read_text()  # a spreadsheet must not run it
        fix(out, qty=("two", "2"))
        report = take(out)
        assert (report.new, report.rejected) == (1, 1)
        assert rows("SELECT item_id, qty FROM events WHERE user_id = 'u2'") == [("=cmd()", 2)]
        assert rows("SELECT reason FROM rejected ORDER BY reason") == [("bad_time",), ("broken_line",)]
        fix(out, ts=("soon", "1700000002"))
        assert take(out).new == 1
        assert rows("SELECT item_id FROM events WHERE user_id = 'u3'") == [("'b",)]
        assert rows("SELECT reason FROM rejected") == [("broken_line",)]
    else:
        assert take(out).rejected == 2
        assert rows("SELECT count(*) FROM rejected") == [(3,)]


def test_what_a_spreadsheet_would_run_comes_back_unchanged(
    take: Take, rows: Rows, settings: Settings, tmp_path: Path
) -> None:
    """In cells and in names of columns; numbers are nothing to run."""
    ids = ("=1+1", "+x", "-5", "-x", "@a", "'b", "''c", "\t'd")
    body = "".join(f"u{n},{item},{1_700_000_000 + n},two,2.50\n" for n, item in enumerate(ids))
    (tmp_path / "bad.csv").write_text("user_id,item_id,ts,=qty(),+49 price\n" + body)
    mapping = {"qty": "=qty()", "price": "+49 price"}
    assert take(tmp_path / "bad.csv", said=mapping).rejected == len(ids)
    out = tmp_path / "fix.csv"
    repairs.export(settings, out, reason=None)
    with out.open(newline="") as f:
        table = list(csv.reader(f))
    assert all(cell[:1] not in ("=", "+", "@", "\t", "\r") for row in table for cell in row)
    assert {cell for row in table for cell in row if cell.startswith("-")} == {"-5"}
    fix(out, **{"'=qty()": ("two", "2")})
    assert take(out, said=mapping).new == len(ids)
    assert {item for (item,) in rows("SELECT item_id FROM events")} == {item.strip() for item in ids}


def test_the_same_rows_in_another_export_are_kept_once(bad: Path, take: Take, rows: Rows, tmp_path: Path) -> None:
    longer = tmp_path / "longer.csv"
    longer.write_text(BAD + "u9,a,never,1\n")
    assert take(longer).rejected == 4
    assert rows("SELECT count(*) FROM rejected") == [(4,)]


def test_rows_of_different_platforms_go_to_files_of_their_own(take: Take, settings: Settings, tmp_path: Path) -> None:
    for name in ("shopify_orders.csv", "magento_products.csv"):
        take(FIXTURES / name)
    out = tmp_path / "m.csv"
    written = repairs.export(settings, out, reason=None)
    assert sorted(written.values()) == [1, 4]
    shopify = next(p for p, n in written.items() if n == 4)
    assert "example.org" not in shopify.read_text()  # addresses are kept as hashes here too
    assert "Beispiel" not in shopify.read_text()
    fix(shopify, **{"Lineitem quantity": ("two", "2")})
    assert take(shopify).new == 1
    magento = next(p for p, n in written.items() if n == 1)
    assert len(magento.read_text().splitlines()) == 2  # its header, and the row of a translation


def test_an_address_in_a_broken_line_is_not_kept(take: Take, rows: Rows, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text('user_id,item_id,ts\nanna@example.org,a\n"Anna <anna@example.org>",a,never\n')
    report = take(file)
    assert "example.org" not in str(report.as_dict())
    assert rows("SELECT raw FROM rejected ORDER BY row_number") == [
        ('{"line":"(e-mail address),a"}',),
        ('{"user_id":"Anna <(e-mail address)>","item_id":"a","ts":"never"}',),
    ]


def test_rejected_rows_can_be_thrown_away(bad: Path, settings: Settings, rows: Rows) -> None:
    assert repairs.clear(settings, reason="bad_qty") == 1
    assert repairs.clear(settings, reason=None) == 2
    assert rows("SELECT count(*) FROM rejected") == [(0,)]


def test_an_export_of_another_kind_is_refused(bad: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl or \.parquet"):
        repairs.export(settings, tmp_path / "x.xlsx", reason=None)


def test_a_last_line_of_nul_bytes_is_one_broken_line(take: Take, tmp_path: Path) -> None:
    """What a crash leaves at the end of a file; looked through for addresses in linear time."""
    file = tmp_path / "torn.csv"
    file.write_bytes(BAD.encode() + b"\0" * 200_000)
    reasons = {reason.name: reason for reason in take(file).reasons}
    assert reasons["broken_line"].rows == 2
