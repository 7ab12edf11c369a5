"""The scanner's positive control: what is planted in every kind of file and encoding is found, and nothing else is."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import html
import io
import json
import lzma
import re
import sqlite3
import tarfile
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.gdpr.needles import needles_for
from recsys_cli.gdpr.scanning import Scan, scan
from recsys_cli.identity import user_key

PEOPLE = {
    "number": "13085",
    "e-mail": "anna.müller+shop@example.org",
    "umlauts": "Jörg Müßig",
    "uuid": "0b7f6a52-6ad8-4f0e-9a0c-1c2d3e4f5a6b",
    "quotes": 'O"Neil\\x/y&z',
}
KEY = user_key("5" * 64, "13085")
Writer = Callable[[Path, str], None]


def look(folder: Path, one: str) -> Scan:
    return scan([folder], needles_for([[one]], [[KEY]]))


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue())


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": lambda s: s.encode(),
    "utf-16-le": lambda s: s.encode("utf-16-le"),
    "utf-16-be": lambda s: s.encode("utf-16-be"),
    "utf-32-le": lambda s: s.encode("utf-32-le"),
    "utf-32-be": lambda s: s.encode("utf-32-be"),
    "an e-mail in lower case": lambda s: (s.lower() if "@" in s else s).encode(),
    "an e-mail in upper case": lambda s: (s.upper() if "@" in s else s).encode(),
    "json": lambda s: json.dumps(s).encode(),
    "json escaped throughout": lambda s: "".join(f"\\u{ord(c):04x}" for c in s).encode(),
    "json with slashes escaped": lambda s: json.dumps(s).replace("/", "\\/").encode(),
    "percent": lambda s: urllib.parse.quote(s, safe="").encode(),
    "percent, lower case": lambda s: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(s, safe="")).encode(),
    "form": lambda s: urllib.parse.urlencode({"q": s}).encode(),
    "html": lambda s: html.escape(s).encode(),
    "base64": lambda s: base64.b64encode(s.encode()),
    "base64, second place": lambda s: base64.b64encode(b"x" + s.encode() + b"yz"),
    "base64, third place": lambda s: base64.b64encode(b"xx" + s.encode() + b"yz"),
    "base64url": lambda s: base64.urlsafe_b64encode(s.encode()),
    "hex": lambda s: s.encode().hex().encode(),
    "HEX": lambda s: s.encode().hex().upper().encode(),
    "md5": lambda s: hashlib.md5(s.encode()).hexdigest().encode(),
    "sha1": lambda s: hashlib.sha1(s.encode()).hexdigest().encode(),
    "sha256": lambda s: hashlib.sha256(s.encode()).hexdigest().encode(),
    "SHA256": lambda s: hashlib.sha256(s.encode()).hexdigest().upper().encode(),
    "sha256 raw": lambda s: hashlib.sha256(s.encode()).digest(),
    "sha256 base64": lambda s: base64.b64encode(hashlib.sha256(s.encode()).digest()),
    "keyed hash in text": lambda s: f"{KEY[0]:016x}{KEY[1]:016x}".encode(),
    "keyed hash in an array": lambda s: np.array([KEY], dtype=np.uint64).tobytes(),
}


@pytest.mark.parametrize("one", PEOPLE.values(), ids=PEOPLE.keys())
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_every_encoding_is_found(tmp_path: Path, one: str, encode: Callable[[str], bytes]) -> None:
    (tmp_path / "a.log").write_bytes(b"GET / 200 " + encode(one) + b" end\n")
    assert look(tmp_path, one).findings


def _duckdb(path: Path, one: str) -> None:
    con = duckdb.connect(str(path))
    con.execute("CREATE TABLE visits AS SELECT 'guest' || i AS visitor FROM range(5000) t(i)")
    con.execute("INSERT INTO visits VALUES (?)", [one])
    con.close()


def _sqlite(path: Path, one: str) -> None:
    con = sqlite3.connect(path)
    con.execute("CREATE TABLE study (name TEXT, user_attrs TEXT)")
    con.execute("INSERT INTO study VALUES ('x', ?)", [json.dumps({"who": one})])
    con.commit()
    con.close()


def _tar(path: Path, one: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("orders/today.csv")
        data = f"user,item\n{one},p1\n".encode()
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))


def _zip(path: Path, one: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.json.gz", gzip.compress(json.dumps({"user": one}).encode()))


def _saved(path: Path, save: Callable[[io.BufferedWriter], None]) -> None:
    with path.open("wb") as f:
        save(f)


def _arrow(path: Path, one: str) -> None:
    table = pa.table({"customer": [one, "x"] * 500})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table)


CONTAINERS: dict[str, Writer] = {
    "text": lambda p, s: p.write_text(f"a,b\n{s},1\n", encoding="utf-8") and None,
    "file name": lambda p, s: (p.parent / f"report {s.replace('/', ' ')}.txt").write_bytes(b"") and None,
    "gzip": lambda p, s: p.write_bytes(gzip.compress(s.encode())) and None,
    "zstd": lambda p, s: p.write_bytes(zstd(s.encode())) and None,
    "bzip2": lambda p, s: p.write_bytes(bz2.compress(s.encode())) and None,
    "xz": lambda p, s: p.write_bytes(lzma.compress(s.encode())) and None,
    "gzip of utf-16": lambda p, s: p.write_bytes(gzip.compress(s.encode("utf-16"))) and None,
    "gzip in gzip": lambda p, s: p.write_bytes(gzip.compress(gzip.compress(s.encode()))) and None,
    "npz": lambda p, s: _saved(p, lambda f: np.savez_compressed(f, users=np.array(["a", s]))),
    "npy": lambda p, s: _saved(p, lambda f: np.save(f, np.array(["a", s]))),
    "parquet, zstd": lambda p, s: pq.write_table(pa.table({"user": [s] * 9}), p, compression="zstd"),
    "parquet, dictionary": lambda p, s: pq.write_table(pa.table({"user": pa.array([s] * 9).dictionary_encode()}), p),
    "arrow, compressed": _arrow,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
    "tar.gz": _tar,
    "gzip in zip": _zip,
    "json lines": lambda p, s: p.write_text(json.dumps({"user_id": s}) + "\n" + json.dumps({"user_id": "x"})) and None,
}


@pytest.mark.parametrize("one", PEOPLE.values(), ids=PEOPLE.keys())
@pytest.mark.parametrize("write", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_every_kind_of_file_is_looked_into(tmp_path: Path, one: str, write: Writer) -> None:
    if write is CONTAINERS["file name"] and "/" in one:
        pytest.skip("no file name has a slash")
    write(tmp_path / "planted", "nobody at all")
    assert look(tmp_path, one).clean
    write(tmp_path / "planted2", one)
    assert look(tmp_path, one).findings


def test_customer_numbers_as_numbers_are_found_where_people_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"Customer ID": [1.0, 13085.0]}), tmp_path / "a.parquet")
    (tmp_path / "b.json").write_text('{"customer_id": 13085}')
    assert {Path(f.path).name for f in look(tmp_path, "13085").findings} == {"a.parquet", "b.json"}


def test_the_same_digits_of_somebody_else_are_no_alarm(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("order 513085, 130851, x13085, 1_13085\n")
    (tmp_path / "m.json").write_text(json.dumps({"bytes": 13085, "ndcg": 0.13085, "item_id": "13085"}))
    pq.write_table(pa.table({"item_id": ["13085"], "price": [13085.0], "qty": [13085]}), tmp_path / "i.parquet")
    np.save(tmp_path / "n.npy", np.array([13085, 0x3830333135], dtype=np.int64))
    found = look(tmp_path, "13085")
    assert found.clean
    assert found.coincidences


def test_how_many_customers_there_are_is_no_customer(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"data": {"users": 300, "customers": 300.0}}))
    assert look(tmp_path, "300").clean
    (tmp_path / "b.json").write_text(json.dumps({"users": [299, 300]}))
    (tmp_path / "c.json").write_text(json.dumps({"users": "300"}))
    assert {Path(f.path).name for f in look(tmp_path, "300").findings} == {"b.json", "c.json"}


def test_the_number_of_a_process_of_ours_is_no_customers(tmp_path: Path) -> None:
    """It stands in names of the log's segments, in versions that say how far they have read, and in lock files."""
    segment = "001795192362458-13085-6f25a9e7.jsonl"
    (tmp_path / segment).write_text('{"user_id":"c2"}\n')
    (tmp_path / "manifest.json").write_text(json.dumps({"spool": {segment: 81}}))
    (tmp_path / "notes.txt").write_text(f"read {segment} to its end")
    (tmp_path / ".worker.lock").write_text("13085\n")
    found = look(tmp_path, "13085")
    assert found.clean, found.findings
    assert len(found.coincidences) >= 4
    for name, content in (
        (segment, '{"user_id":"13085"}\n'), ("notes.txt", f"13085 {segment}"), (".worker.lock", "13085 called\n"),
        ("manifest.json", json.dumps({"spool": {segment: 81}, "user_id": "13085"})), ("13085.lock", ""),
    ):  # fmt: skip
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_text(content)
        assert look(tmp_path / "theirs", "13085").findings, name
        (tmp_path / "theirs" / name).unlink()


def test_a_telling_name_counts_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"title": "for anna@example.org"}))
    assert look(tmp_path, "anna@example.org").findings
    (tmp_path / "m.json").write_text(json.dumps({"title": "for johanna@example.org"}))
    assert look(tmp_path, "anna@example.org").clean


def test_what_cannot_be_unpacked_is_said(tmp_path: Path) -> None:
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"x" * 5000)[:30])
    found = look(tmp_path, "13085")
    assert len(found.unread) == 1
    assert "half.gz" in found.unread[0]


def test_a_needle_across_the_edge_of_a_chunk_is_found(tmp_path: Path) -> None:
    from recsys_cli.gdpr import matching

    name = b"customer-0000815"
    for at in (matching._CHUNK - 7, matching._CHUNK, 2 * matching._CHUNK - 1):
        data = bytearray(2 * matching._CHUNK + 100)
        data[at : at + len(name)] = name
        hits = list(matching.Matcher(needles_for([[name.decode()]])).find(bytes(data)))
        assert [h.offset for h in hits if h.needle.encoding == "plain"] == [at]
