"""Exports in the watched folder: the person's rows are cut out, every other byte stays, and nothing comes in twice."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.gdpr import erase, journal, originals, requests, resume
from recsys_cli.ingest.pipeline import Request, ingest
from recsys_cli.ingest.watch import Folder, SetAside, take_ready

from .conftest import LONG, NUMBER, UMLAUT, Shop
from .test_erasing import places

TINY = "12"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def rewriting(shop: Shop, folder: Path) -> Shop:
    """The shop with a watched folder whose files are to be rewritten."""
    settings = replace(
        shop.settings,
        ingest=replace(shop.settings.ingest, folder=str(folder), quiet_seconds=0),
        gdpr=replace(shop.settings.gdpr, originals="rewrite"),
    )
    return replace(shop, settings=settings)


def delete(shop: Shop, *people: str):  # type: ignore[no-untyped-def]
    return erase(shop.store, shop.artifacts, shop.settings, people)


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return bytes(out.getvalue())


def unzstd(data: bytes) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())


def same(data: bytes) -> bytes:
    return data


def utf16(data: bytes) -> bytes:
    return data.decode().encode("utf-16")


# Name -> rows before the person's, those that are theirs (with {} for the id), rows after; and how they are packed.
KINDS: dict[str, tuple[str, str, str]] = {
    "comma.csv": ("user_id,item_id,ts\nc1,p1,1700000000\n", "{},p1,1700000000\n", "c2,{},1700000001\n"),
    "spreadsheet.csv": (
        'sep=;\r\nOrder;Customer ID;Note\r\n1;c1;"a ""quoted""\r\nnote; of two lines"\r\n',
        '2;{};"theirs\r\nin\r\nthree"\r\n3;"{}";\r\n',
        '4;c2;"5"" pipe, {} m"\r\n',
    ),
    "tab.tsv": ("order\tcustomer\n{}\tc1\n", "7\t{}\n", "8\tc2"),
    "lines.jsonl": (
        '{"user_id": "c1", "n": {}}\n',
        '{"user_id":"{}"}\n{"customer": {"id": "{}"}}\n',
        '{"user_id":"c2" }\n\n',
    ),
    "list.json": ('[\n  {"user_id": "c1"}', ',\n  {"user_id": "{}"}', ',\n  {"user_id" : "c2", "qty": 1.50}\n]\n'),
    "export.json": (
        '{"total": 2, "orders": [{"user_id": "c1", "qty": "{}"}',
        ', {"user_id": "{}"}',
        ',\n{"user_id":"c2"}], "made": "now"}',
    ),
}
PACKED: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "": (same, same),
    ".gz": (gzip.compress, gzip.decompress),
    ".zst": (zstd, unzstd),
    ".utf16": (utf16, same),
}


def parts(kind: str, one: str) -> tuple[bytes, bytes]:
    """A file with and without the person. Where a short id can be something else, it is."""
    elsewhere = one if len(one.encode()) < 8 else "99999"
    before, theirs, after = KINDS[kind]
    kept = (before.replace("{}", elsewhere), after.replace("{}", elsewhere))
    return (kept[0] + theirs.replace("{}", one) + kept[1]).encode(), (kept[0] + kept[1]).encode()


@pytest.mark.parametrize("one", [LONG, NUMBER, TINY, "Ünal Öz"])
def test_their_rows_are_cut_out_and_every_other_byte_stays(rewriting: Shop, folder: Path, one: str) -> None:
    expected: dict[str, bytes] = {}
    for kind in KINDS:
        for packing, (pack, _) in PACKED.items():
            whole, without = parts(kind, one)
            path = folder / f"{kind}{packing}"
            expected[path.name] = utf16(without) if packing == ".utf16" else without
            path.write_bytes(pack(whole))
            path.chmod(0o640)
            os.utime(path, (1_700_000_000, 1_700_000_000))
    (folder / "other.csv").write_text("user_id,item_id,ts\nc1,p1,1700000000\n")
    kept = (folder / "other.csv").stat()

    done = delete(rewriting, one)

    assert done.originals == ()
    for name, without in expected.items():
        path = folder / name
        _, unpack = PACKED.get(path.suffix, PACKED[""])
        assert unpack(path.read_bytes()) == without, name
        assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o640, 1_700_000_000)
    assert done.removed["originals_rewritten"] == len(expected)
    assert done.removed["rows_of_originals"] == 4 * (len(KINDS) + 2)
    left = (folder / "other.csv").stat()
    assert (left.st_ino, left.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*expected, "other.csv"])


@pytest.mark.parametrize("one", [LONG, NUMBER, 13085])
def test_parquet_keeps_schema_groups_and_compression(rewriting: Shop, folder: Path, one: str | int) -> None:
    users = [7, 13085, 9] if isinstance(one, int) else ["c1", one, "c2"]
    table = pa.table(
        {
            "customer_id": users * 3,
            "price": pa.array([13085.0, 1.5, None] * 3, pa.float64()),
            "tags": pa.array([["a"], [], None] * 3, pa.list_(pa.string())),
            "when": pa.array([1, 2, 3] * 3, pa.timestamp("ms", tz="Europe/Berlin")),
            "note": pa.array(["x", "y", "z"] * 3).dictionary_encode(),
        }
    ).replace_schema_metadata({"made by": "the shop"})
    path = folder / "export.parquet"
    pq.write_table(table, path, row_group_size=3, compression="zstd", use_dictionary=["note"])
    before = pq.read_table(path)
    done = delete(rewriting, str(one))
    assert done.removed["rows_of_originals"] == 3
    with pq.ParquetFile(path) as file:
        assert file.read().equals(before.take([0, 2, 3, 5, 6, 8]), check_metadata=True)
        assert file.num_row_groups == 3
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_what_was_taken_is_not_taken_again(rewriting: Shop, folder: Path) -> None:
    rows = [f"{one},p{n},{1_600_000_000 + n}" for n in range(30) for one in ("c20050", "c20051", UMLAUT)]
    (folder / "orders.csv").write_text("\n".join(["Kunde,item_id,ts", *rows]) + "\n", encoding="cp1252")
    (report,) = list(take_ready(rewriting.settings, Folder(folder)))
    assert report.as_dict()["new"] == 90
    with rewriting.store.writing() as con:  # as retention does; taken in anew, they would be back
        con.execute("DELETE FROM events WHERE ts < 1600000010")
    before = rewriting.count("events", "user_id <> 'Jörg Müßig/Æ'")
    delete(rewriting, UMLAUT)
    assert "Jörg".encode("cp1252") not in (folder / "orders.csv").read_bytes()
    assert list(take_ready(rewriting.settings, Folder(folder))) == []
    assert ingest(rewriting.settings, [folder / "orders.csv"]).files[0].already
    assert rewriting.count("events") == before
    assert places(rewriting, UMLAUT) == []


def test_columns_are_known_as_ingest_understood_them(rewriting: Shop, folder: Path) -> None:
    path = folder / "orders.csv"
    path.write_text(f"Nr,Art,ts\nc1,{NUMBER},1700000000\n{NUMBER},p1,1700000000\n")
    ingest(rewriting.settings, [path], Request(said={"user_id": "Nr", "item_id": "Art", "ts": "ts"}))
    delete(rewriting, NUMBER)
    assert path.read_text() == f"Nr,Art,ts\nc1,{NUMBER},1700000000\n"


def packed_in_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("orders.csv", f"user_id\n{LONG}\n")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("book.xlsx", packed_in_zip(), "is packed in a way that is not written again"),
        (f"orders of {LONG}.csv", b"user_id\nc1\n", "has one of them in its name"),
        ("matrix.csv", f"item,c1,{LONG}\np1,x,y\n".encode(), "names them in its first row"),
        ("open.csv", f'user_id,note\n{LONG},"open\nc1,x,"y"\n'.encode(), "quote that opens and never closes"),
        ("about.json", f'{{"customer": "{LONG}", "orders": [{{"id": 1}}]}}'.encode(), "outside of its list"),
        ("cut.csv.gz", gzip.compress(f"user_id\n{LONG}\n".encode())[:-4] + LONG.encode(), "is damaged"),
    ],
)
def test_what_cannot_be_cut_is_left_alone_and_named(
    rewriting: Shop, folder: Path, name: str, content: bytes, why: str
) -> None:
    (folder / name).write_bytes(content)
    done = delete(rewriting, LONG)
    (left,) = done.originals
    assert left.path == folder / name
    assert why in left.why
    assert (folder / name).read_bytes() == content
    assert "originals_rewritten" not in done.removed
    assert "no rows can be cut out of them" in done.receipt.with_suffix(".txt").read_text()


def test_links_and_files_that_are_being_written_are_left_alone(rewriting: Shop, folder: Path, tmp_path: Path) -> None:
    content = f"user_id,item_id,ts\nc1,p1,1\n{LONG},p1,1\n"
    for name in ("elsewhere.csv", "twice.csv"):
        (tmp_path / name).write_text(content)
    (folder / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    (folder / "hard.csv").hardlink_to(tmp_path / "twice.csv")
    (folder / "open.csv").write_text(content)
    with (folder / "open.csv").open("a"):
        done = delete(rewriting, LONG)
    assert {o.path.name: o.why.split()[-1] for o in done.originals} == {
        "link.csv": "elsewhere", "hard.csv": "stay", "open.csv": "written",
    }  # fmt: skip
    assert {p.read_text() for p in folder.iterdir()} == {content}


def test_a_column_of_numbers_without_a_name_is_not_guessed_at(rewriting: Shop, folder: Path) -> None:
    (folder / "numbers.csv").write_text(f"1700000000,{NUMBER},5\n")
    (original,) = delete(rewriting, NUMBER).originals
    assert "does not say which of its columns" in original.why


def test_a_file_with_nobody_else_in_it_goes(rewriting: Shop, folder: Path) -> None:
    (folder / "order.json").write_text(json.dumps({"customer_id": LONG, "item": "p1"}))
    (folder / "lines.jsonl").write_text(f'{{"user_id": "{LONG}"}}\n{{"user_id": "{LONG}", "qty": 2}}\n')
    done = delete(rewriting, LONG)
    assert list(folder.iterdir()) == []
    assert (done.removed["originals_removed"], done.removed["rows_of_originals"]) == (2, 3)
    assert "originals_rewritten" not in done.removed
    assert [path.name for path in done.emptied] == ["lines.jsonl", "order.json"]
    assert "  the file order.json: nothing was left in it" in done.receipt.with_suffix(".txt").read_text()


def test_the_names_of_columns_stay_when_no_row_is_left(rewriting: Shop, folder: Path) -> None:
    (folder / "day.csv").write_text(f"user_id,item_id,ts\n{LONG},p1,1700000000\n")
    pq.write_table(pa.table({"user_id": [LONG], "qty": [1]}), folder / "day.parquet")
    list(take_ready(rewriting.settings, Folder(folder)))
    done = delete(rewriting, LONG)
    assert (folder / "day.csv").read_text() == "user_id,item_id,ts\n"
    assert pq.read_table(folder / "day.parquet").schema.names == ["user_id", "qty"]
    assert pq.read_table(folder / "day.parquet").num_rows == 0
    assert (done.removed["originals_rewritten"], done.emptied, done.originals) == (2, (), ())
    taken = list(take_ready(rewriting.settings, Folder(folder)))
    assert [outcome.file for outcome in taken if getattr(outcome, "moved_to", None)] == []


MAIL = "bob@example.org"
GIFTS = {
    "gift.csv": (
        "user_id,item_id,ts,Customer Note\n{},p1,1700000000,\nc1,p1,1700000000,gift for {} please\n",
        "user_id,item_id,ts,Customer Note\nc1,p1,1700000000,gift for {} please\n",
        "line 2",
    ),
    "gift.jsonl": (
        '{"user_id": "c2"}\n{"user_id": "c1", "note": "gift for {}, please"}\n{"customer": {"email": "{}"}}\n',
        '{"user_id": "c2"}\n{"user_id": "c1", "note": "gift for {}, please"}\n',
        "line 2",
    ),
    "gift.json": (
        '{"orders": [\n{"user_id": "c1", "gift": "{}"},\n{"user_id": "{}"}]}',
        '{"orders": [\n{"user_id": "c1", "gift": "{}"}]}',
        "line 2",
    ),
    "plain.txt": ("all well\n\n{} asked\n", "all well\n\n{} asked\n", "line 3"),
    "q.csv": (
        'user_id,item_id,note\nc1,p1,"also for\n{}, same house"\n',
        'user_id,item_id,note\nc1,p1,"also for\n{}, same house"\n',
        "line 3",
    ),
}


@pytest.mark.parametrize("one", [MAIL, LONG, "cust11"])
def test_rows_of_others_that_mention_them_stay_and_are_told(rewriting: Shop, folder: Path, one: str) -> None:
    for name, (before, _, _) in GIFTS.items():
        (folder / name).write_text(before.replace("{}", one))
    done = delete(rewriting, one)
    for name, (_, after, _) in GIFTS.items():
        assert (folder / name).read_text() == after.replace("{}", one)
    whys = {original.path.name: original.why for original in done.originals}
    stand = {name: place for name, (_, _, place) in GIFTS.items()}
    assert whys == {name: f"mentions them in {place}, which is no row of theirs" for name, place in stand.items()}
    assert (done.removed["rows_of_originals"], done.removed["originals_rewritten"]) == (3, 3)
    receipt = done.receipt.with_suffix(".txt").read_text()
    assert "    q.csv: it mentions them in line 3, which is no row of theirs" in receipt
    assert one not in receipt
    again = delete(rewriting, one)
    assert [original.why for original in again.originals] == [original.why for original in done.originals]
    assert "originals_rewritten" not in again.removed


def test_parquet_rows_of_others_that_mention_them_stay(rewriting: Shop, folder: Path) -> None:
    note = ["", "gift for customer-0000815", "x", "customer-0000815"]
    table = pa.table({"user_id": [LONG, "c1", "c2", None], "note": note})
    pq.write_table(table, folder / "gift.parquet")
    (original,) = delete(rewriting, LONG).originals
    assert pq.read_table(folder / "gift.parquet").equals(table.slice(1, 2))
    assert original.why == "mentions them in row 1, which is no row of theirs"


def test_numbers_of_theirs_elsewhere_are_coincidences_that_are_shown(rewriting: Shop, folder: Path) -> None:
    (folder / "prices.csv").write_text(f"user_id,item_id,price\nc1,p1,{NUMBER}\n")
    (folder / "note.csv").write_text("user_id,note\nc1,for c12\n")
    done = delete(rewriting, NUMBER, "c12")
    assert done.originals == ()
    found = {Path(f.path).name for f in done.scanned.coincidences}
    assert {"prices.csv", "note.csv"} <= found


def test_a_file_that_is_named_after_them_is_not_named_in_the_receipt(rewriting: Shop, folder: Path) -> None:
    (folder / "orders-cust11.csv").write_text("user_id,item_id\nc1,p1\n")
    done = delete(rewriting, "cust11")
    assert [original.why for original in done.originals] == ["has one of them in its name"]
    assert "a file whose name is left out here: it has one" in done.receipt.with_suffix(".txt").read_text()


def test_a_file_of_many_mentions_tells_the_first_ones(rewriting: Shop, folder: Path) -> None:
    rows = [f"c{n},for cust11" for n in range(2000)]
    (folder / "many.csv").write_text("\n".join(["user_id,note", *rows]) + "\n")
    (original,) = delete(rewriting, "cust11").originals
    assert original.why == "mentions them in lines 2, 3, 4, 5, 6 and 1,995 more, which are no rows of theirs"


def test_somebody_who_is_only_in_a_file_is_cut_out_as_well(rewriting: Shop, folder: Path) -> None:
    (folder / "new.csv").write_text("user_id,item_id,ts\nstranger-77,p1,1\nc1,p1,1\n")
    done = delete(rewriting, "stranger-77")
    assert (folder / "new.csv").read_text() == "user_id,item_id,ts\nc1,p1,1\n"
    assert done.removed["rows_of_originals"] == 1


def test_set_aside_files_and_what_is_said_of_them(rewriting: Shop, folder: Path) -> None:
    aside = folder / "set-aside"
    aside.mkdir()
    (aside / "bad.csv").write_text(f"user_id,item_id,ts\n{LONG},,x\nc1,,x\n")
    said = {"file": "bad.csv", "report": {"reasons": [{"examples": [{"row": 2, "value": LONG}]}]}}
    (aside / "bad.csv.report.json").write_text(json.dumps(said))
    done = delete(rewriting, LONG)
    assert done.originals == ()
    assert (done.removed["originals_rewritten"], done.removed["quotes_in_reports"]) == (1, 1)
    assert (aside / "bad.csv").read_text() == "user_id,item_id,ts\nc1,,x\n"
    said["report"] = {"reasons": [{"examples": [{"row": 2, "value": "[erased]"}]}]}
    assert json.loads((aside / "bad.csv.report.json").read_bytes()) == said


@pytest.mark.parametrize("rule", ["list", "rewrite"])
@pytest.mark.parametrize("one", ["cust8", MAIL, NUMBER])
def test_our_own_report_quotes_them_no_more(rewriting: Shop, folder: Path, rule: str, one: str) -> None:
    rules = replace(rewriting.settings.gdpr, originals=rule)
    shop = replace(rewriting, settings=replace(rewriting.settings, gdpr=rules))
    (folder / "readme.txt").write_text(f"# note: {one} asked\n# nothing else\n")
    (aside,) = list(take_ready(shop.settings, Folder(folder)))
    assert isinstance(aside, SetAside)
    report = folder / "set-aside" / "readme.txt.report.json"
    assert one in report.read_text()
    done = delete(shop, one)
    said = json.loads(report.read_bytes())
    assert one not in report.read_text()
    assert (said["file"], said["moved_to"], said["error"]["code"]) == ("readme.txt", str(aside.moved_to), "bad_input")
    assert done.removed["quotes_in_reports"] == 1
    assert "originals_rewritten" not in done.removed
    listed = [(original.path.name, original.why) for original in done.originals]
    mentions = [("readme.txt", "mentions them in line 1, which is no row of theirs")]
    assert listed == ([] if one == NUMBER else mentions)
    before = report.read_bytes()
    again = delete(shop, one)
    assert (report.read_bytes(), again.removed) == (before, {})


def test_verify_searches_the_watched_folder(rewriting: Shop, folder: Path, recsys) -> None:  # type: ignore[no-untyped-def]
    (folder / "plain2.txt").write_text("cust20 asked\n")
    flags = {"RECSYS_INGEST_FOLDER": str(folder), "RECSYS_GDPR_ORIGINALS": "rewrite"}
    found = recsys("gdpr", "verify", "cust20", *rewriting.flags(), **flags)
    assert found.returncode == 0, found.stderr
    assert "plain2.txt in the watched folder names them: it mentions them in line 1" in found.stdout
    assert "nobody found in what is ours; 1 original that names them" in found.stdout
    told = json.loads(recsys("gdpr", "verify", "cust20", "--json", *rewriting.flags(), **flags).stdout)
    assert [Path(one["path"]).name for one in told["originals"]] == ["plain2.txt"]
    assert told["clean"] is True
    assert requests.requests(rewriting.settings.db)[-1].outcome == "originals name them"


@pytest.mark.parametrize("swapped", [False, True])
def test_interrupted_half_way_the_next_run_finishes(
    rewriting: Shop, folder: Path, swapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended as if killed, before or after the second file took its place; what a kill leaves behind is there."""
    for name in ("a.csv", "b.csv", "c.csv"):
        rows = [f"c2005{n},p1,{1_600_000_000 + n}" for n in range(5)]
        (folder / name).write_text("\n".join(["user_id,item_id,ts", *rows, f"{LONG},{name},1600000000"]) + "\n")
    list(take_ready(rewriting.settings, Folder(folder)))
    calls = []
    swap, drop = originals.Draft.swap, originals.Draft.drop

    def interrupted(draft: originals.Draft) -> None:
        calls.append(draft.path.name)
        if len(calls) == 2:
            if swapped:
                swap(draft)
            raise KeyboardInterrupt
        swap(draft)

    monkeypatch.setattr(originals.Draft, "swap", interrupted)
    monkeypatch.setattr(originals.Draft, "drop", lambda draft: None)
    with pytest.raises(KeyboardInterrupt):
        delete(rewriting, LONG)
    assert calls == ["a.csv", "b.csv"]
    assert journal.pending(rewriting.settings.db) is not None
    monkeypatch.setattr(originals.Draft, "swap", swap)
    monkeypatch.setattr(originals.Draft, "drop", drop)
    (done,) = resume(rewriting.store, rewriting.artifacts, rewriting.settings).finished
    assert (done.removed["rows_of_originals"], done.removed["originals_rewritten"]) == (3, 3)
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    assert not any(LONG in p.read_text() for p in folder.iterdir())
    with rewriting.store.writing() as con:
        con.execute("DELETE FROM events WHERE ts < 1650000000")
    assert list(take_ready(rewriting.settings, Folder(folder))) == []
    assert journal.pending(rewriting.settings.db) is None


def test_the_command_says_what_it_did(rewriting: Shop, folder: Path, recsys) -> None:  # type: ignore[no-untyped-def]
    (folder / "new.csv").write_text(f"user_id,item_id,ts\n{LONG},p1,1\nc1,p1,1\n")
    (folder / "book.xlsx").write_bytes(packed_in_zip())
    (folder / "one.jsonl").write_text(f'{{"user_id": "{LONG}"}}\n{{"user_id": "{LONG}"}}\n')
    flags = {"RECSYS_INGEST_FOLDER": str(folder), "RECSYS_GDPR_ORIGINALS": "rewrite"}
    done = recsys("gdpr", "delete", LONG, "--yes", *rewriting.flags(), **flags)
    assert done.returncode == 0, done.stderr
    assert "3 rows of originals, 1 originals rewritten, 1 originals removed" in done.stdout
    assert f"Removed {folder / 'one.jsonl'}: nothing was left in it." in done.stdout
    assert "book.xlsx in the watched folder still names them: it is packed" in done.stdout
