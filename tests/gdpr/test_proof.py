"""The scanner's positive control: what is planted in every kind of file that we write is found, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_cli.gdpr.person import Person
from recsys_cli.gdpr.proof.scan import Scan, Search
from recsys_cli.identity import user_key

SECRET = "5" * 64
PEOPLE = (
    "13085",
    "anna.müller+shop@example.org",
    "Jörg Müßig",
    "0b7f6a52-6ad8-4f0e-9a0c-1c2d3e4f5a6b",
    'O"Neil\\x/y&z',
)


def look(folder: Path, one: str, session: str = "") -> Scan:
    person = Person((one,), (one,), (session,) if session else ())
    return Search([person], SECRET).files([folder]).sifted()


def arrow(path: Path, one: str) -> None:
    table = pa.table({"user_id": ["c1", "c2", one], "item_id": ["p1", "p2", "p3"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def parquet(path: Path, one: str) -> None:
    column = pa.array(["c1", one] * 500).dictionary_encode()
    pq.write_table(pa.table({"Customer ID": column}), path, compression="zstd", row_group_size=400)


def keys(path: Path, one: str) -> None:
    np.save(path.with_suffix(".npy"), np.array([[1, 2], user_key(SECRET, one)], dtype=np.uint64))


def hexadecimal(path: Path, one: str) -> None:
    high, low = user_key(SECRET, one)
    path.write_text(json.dumps({"who": f"{high:016x}{low:016x}"}))


PLANTED: dict[str, Callable[[Path, str], object]] = {
    "text": lambda p, one: p.write_text(f"GET / 200 {one} end\n"),
    "binary": lambda p, one: p.write_bytes(b"\0\xff" * 8 + one.encode() + b"\0\xff" * 8),
    "an address in capitals": lambda p, one: p.write_text(f"to <{one.upper() if '@' in one else one}>"),
    "json": lambda p, one: p.write_text(json.dumps({"asked": [one]}, indent=1)),
    "json lines": lambda p, one: p.write_text(json.dumps({"t": "x"}) + "\n" + json.dumps({"user_id": one}) + "\n"),
    "escaped": lambda p, one: p.write_bytes(b"\0x " + json.dumps(one)[1:-1].encode() + b" y\0"),
    "arrow": arrow,
    "parquet": parquet,
    "an array of texts": lambda p, one: np.save(p.with_suffix(".npy"), np.array(["", f"{one}"])),
    "an array of keys": keys,
    "a key in text": hexadecimal,
}


@pytest.mark.parametrize("one", PEOPLE)
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
def test_what_is_planted_is_found(tmp_path: Path, one: str, plant: Callable[[Path, str], object]) -> None:
    plant(tmp_path / "a.bin", one)
    found = look(tmp_path, one)
    assert found.findings or found.mentions
    assert look(tmp_path, "somebody-else").findings == []
    assert not look(tmp_path, "somebody-else").mentions


def test_a_person_is_a_whole_cell_where_people_are_named(tmp_path: Path) -> None:
    lines = [{"user_id": "13085-2"}, {"order_id": "13085"}, {"user_id": "c1", "session_id": "s13085"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = look(tmp_path, "13085")
    assert found.findings == []
    assert {"a.jsonl, order_id", "a.jsonl, user_id"} <= {*found.mentions}
    (tmp_path / "b.jsonl").write_text(json.dumps({"user_id": "13085", "order_id": "13085"}) + "\n")
    assert [f.inside for f in look(tmp_path, "13085").findings] == ["user_id"]


def test_a_session_names_its_guest_only_where_no_customer_is(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"user_id": "c1", "session_id": "visit-77"}\n')
    assert look(tmp_path, "visit-77", "visit-77").findings == []
    (tmp_path / "b.jsonl").write_text('{"session_id": "visit-77"}\n')
    assert len(look(tmp_path, "visit-77", "visit-77").findings) == 1


def test_bytes_that_a_cell_of_somebody_else_explains_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"\0 13085 \0")
    assert len(look(tmp_path, "13085").findings) == 1
    (tmp_path / "b.jsonl").write_text('{"user_id": "13085-2"}\n')
    assert look(tmp_path, "13085").findings == []


def test_a_damaged_file_is_told_and_searched_as_bytes(tmp_path: Path) -> None:
    arrow(tmp_path / "a.arrow", "customer-0000815")
    content = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(content[:-200] + b" customer-0000815 ")
    found = look(tmp_path, "customer-0000815")
    assert found.unread
    assert found.findings


def test_the_number_of_a_process_is_nobody(tmp_path: Path) -> None:
    (tmp_path / "shop.duckdb.lock").write_text("13085\n")
    assert look(tmp_path, "13085").clean
