"""The audit log: what was written is found again, and every other byte is found out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from recsys_cli.artifacts import audit_log
from recsys_cli.artifacts.audit_log import CHAIN, PREDICTIONS, AuditLog, Entry, hash_of
from recsys_cli.schema import DAY

SECRET = "ab" * 32
NOW = 1_750_000_000.0
ANNA, BERT = hash_of(SECRET, "anna@shop.example"), hash_of(SECRET, "bert")


def filled(root: Path, days: float = 0.0) -> AuditLog:
    """Five entries, the second and fourth of which are about people; `days` apart."""
    log = AuditLog(root)
    for n in range(5):
        people = {1: (ANNA,), 3: (ANNA, BERT)}.get(n, ())
        entry = Entry({"os": "kim"}, f"action {n}", facts={"n": n, "text": "Käse"}, people=people)
        log.append([entry], now=NOW + n * days * DAY)
    return log


def segment(log: AuditLog) -> Path:
    return next(p for p in log.path.iterdir() if p.suffix == ".jsonl")


def test_it_tells_what_was_written(tmp_path: Path) -> None:
    log = filled(tmp_path)
    held = list(log.entries())
    assert [e["seq"] for e in held] == [1, 2, 3, 4, 5]
    assert [e["action"] for e in held] == [f"action {n}" for n in range(5)]
    assert [e["people"] for e in held] == [[], [ANNA], [], [ANNA, BERT], []]
    assert all(e["by"] == {"os": "kim"} and e["outcome"] == "done" for e in held)
    verdict = log.verify()
    assert (verdict.findings, verdict.entries, verdict.first, verdict.head) == ([], 5, 1, 5)
    assert log.has(5, verdict.head_hash)
    assert not log.has(4, verdict.head_hash)
    for path in (log.path.parent, log.path, *log.path.iterdir()):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_one_flipped_byte_is_found_and_located(tmp_path: Path) -> None:
    log = filled(tmp_path)
    path = segment(log)
    data = path.read_bytes()
    for at in {*range(0, len(data), 3), *(n for n, byte in enumerate(data) if byte == ord("\n"))}:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        line = data[:at].count(b"\n") + 1
        found = log.verify().findings
        assert found, f"byte {at}"
        # An end of line that is none glues two lines together, or takes the last one away.
        assert found[0].entry == line, f"byte {at}: {[str(f) for f in found]}"
        assert found[0].line in (line, 0)
        if data[at] != ord("\n"):
            assert len(found) == 1
    path.write_bytes(data)
    assert log.verify().findings == []


def test_lines_taken_out_put_in_or_exchanged_are_found(tmp_path: Path) -> None:
    log = filled(tmp_path)
    path = segment(log)
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong, entry in (
        (lines[:4], 5),  # the end was cut off
        (lines[1:], 1),  # the beginning was
        (lines[:2] + lines[3:], 3),
        ([lines[0], *lines], 2),
        ([lines[1], lines[0], *lines[2:]], 1),
        ([], 1),
    ):
        path.write_bytes(b"".join(wrong))
        found = log.verify().findings
        assert found
        assert found[0].entry == entry, [str(f) for f in found]
    path.write_bytes(b"".join(lines))
    (log.path / CHAIN).write_bytes(b"{}")
    assert [f.file for f in log.verify().findings] == [CHAIN]
    (log.path / CHAIN).unlink()
    assert [f.what for f in log.verify().findings] == ["it is missing"]


def test_what_a_killed_writer_left_is_cut_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    log = filled(tmp_path)
    chain = (log.path / CHAIN).read_bytes()
    log.append([Entry({"os": "kim"}, "before its end was noted")], now=NOW)
    (log.path / CHAIN).write_bytes(chain)  # killed between the line and the note of the end
    with segment(log).open("ab") as f:
        f.write(b'{"entry":{"seq":7,"pr')
    assert log.verify().findings == []
    log.append([Entry({"os": "kim"}, "after")], now=NOW)
    assert log.verify().findings == []
    assert [e["seq"] for e in log.entries()] == [1, 2, 3, 4, 5, 6, 7]


def test_people_are_erased_without_breaking_the_chain(tmp_path: Path) -> None:
    log = filled(tmp_path)
    assert log.forget([ANNA]) == 2
    everything = b"".join(p.read_bytes() for p in log.path.iterdir())
    assert ANNA.encode() not in everything
    verdict = log.verify()
    assert (verdict.findings, verdict.entries, verdict.erased) == ([], 5, 2)
    assert log.forget([ANNA]) == 0
    log.append([Entry({"os": "kim"}, "after", people=(BERT,))], now=NOW)
    assert log.verify().findings == []


def test_inputs_can_be_checked_only_while_the_person_is_not_erased(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, PREDICTIONS)
    asked = {"user_id": "anna", "k": 10}
    for _ in range(2):
        log.append([Entry({"key": "page"}, "GET /recommend", people=(ANNA,), hidden=asked)], now=NOW)
    first, second = log.entries()
    assert first["inputs"] != second["inputs"], "nobody can tell the same request by its hash"
    assert b"anna" not in segment(log).read_bytes()


def test_old_files_go_whole_and_the_chain_holds(tmp_path: Path) -> None:
    log = filled(tmp_path, days=20)
    months = sorted(p.name for p in log.path.glob("*.jsonl"))
    assert months == ["2025-06.jsonl", "2025-07.jsonl", "2025-08.jsonl", "2025-09.jsonl"]
    assert log.drop_before(NOW) == 0
    assert log.drop_before(NOW + 41 * DAY) == 2
    left = [e["seq"] for e in log.entries()]
    assert left == [4, 5]
    verdict = log.verify()
    assert (verdict.findings, verdict.first, verdict.head) == ([], left[0], 5)
    assert log.has(left[0] - 1, "")
    # The rest can go as well, and the numbers go on.
    log.drop_before(NOW + 400 * DAY)
    assert log.verify().findings == []
    log.append([Entry({"os": "kim"}, "after")], now=NOW + 400 * DAY)
    assert [e["seq"] for e in log.entries()] == [6]
    assert log.verify().findings == []


def test_a_clock_that_went_back_breaks_nothing(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.append([Entry({"os": "kim"}, "before")], now=NOW - 90 * DAY)
    assert log.verify().findings == []
    assert [e["seq"] for e in log.entries()][-1] == 6


def test_many_write_at_once(tmp_path: Path) -> None:
    def write(n: int) -> None:
        AuditLog(tmp_path).append([Entry({"os": str(n)}, "a"), Entry({"os": str(n)}, "b")])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert AuditLog(tmp_path).verify().findings == []
    assert len(list(AuditLog(tmp_path).entries())) == 80


@pytest.mark.parametrize("place", ["append_lines", "StateFile.write"])
def test_killed_at_any_place_it_is_whole(tmp_path: Path, place: str) -> None:
    filled(tmp_path)
    code = (
        "import os, sys\n"
        "from recsys_cli.artifacts import audit_log\n"
        "from recsys_cli.artifacts.audit_log import AuditLog, Entry\n"
        "place = sys.argv[2].split('.')\n"
        "target = audit_log if len(place) == 1 else getattr(audit_log, place[0])\n"
        "setattr(target, place[-1], lambda *_: os._exit(9))\n"
        "AuditLog(__import__('pathlib').Path(sys.argv[1])).append([Entry({'os': 'kim'}, 'killed')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), place], check=False)
    assert done.returncode == 9
    log = AuditLog(tmp_path)
    assert log.verify().findings == []
    log.append([Entry({"os": "kim"}, "after")])
    assert log.verify().findings == []


def test_a_line_put_in_before_the_beginning_is_found(tmp_path: Path) -> None:
    log = filled(tmp_path, days=20)
    log.drop_before(NOW + 41 * DAY)  # the chain begins after entry 3
    path = sorted(log.path.glob("*.jsonl"))[0]
    data = path.read_bytes()
    other = filled(tmp_path / "other")
    for number, forged in enumerate(segment(other).read_bytes().splitlines(keepends=True)[:3], 1):
        path.write_bytes(forged + data)
        assert log.verify().findings, f"entry {number} of another log"
    for seq in (0, -1):
        body = orjson.loads(data.split(b"\n")[0])["entry"] | {"seq": seq}
        digest = hashlib.sha256(orjson.dumps(body)).hexdigest()
        path.write_bytes(orjson.dumps({"entry": body, "about": None, "hash": digest}) + b"\n" + data)
        assert log.verify().findings, f"entry {seq}"
    path.write_bytes(data)
    assert log.verify().findings == []


def test_files_that_retention_was_killed_before_removing_are_sound(tmp_path: Path) -> None:
    log = filled(tmp_path, days=20)
    oldest = sorted(log.path.glob("*.jsonl"))[0]
    data = oldest.read_bytes()
    assert log.drop_before(NOW + 41 * DAY) == 2
    second = tmp_path / "again"
    whole = filled(second, days=20)
    chain = whole.path / CHAIN
    held = {p: p.read_bytes() for p in whole.path.glob("*.jsonl")}
    whole.drop_before(NOW + 41 * DAY)
    after = chain.read_bytes()
    for path, content in held.items():
        path.write_bytes(content)
    chain.write_bytes(after)
    verdict = whole.verify()
    assert (verdict.findings, verdict.first, verdict.entries) == ([], 4, 2)
    oldest.write_bytes(data)  # of two files, one is left that does not lead to the beginning
    assert log.verify().findings


def test_facts_that_a_line_cannot_hold_are_noted_as_text(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    deep: object = "end"
    for _ in range(300):
        deep = [deep]
    log.append([Entry({"os": "\udcff"}, "one", facts={"big": 2**70, "small": -(2**63), "deep": deep, "k": [1, True]})])
    (entry,) = log.entries()
    assert entry["facts"]["big"] == hex(2**70)
    assert entry["facts"]["k"] == [1, True]
    assert "nested too deep" in str(entry["facts"]["deep"])
    assert log.verify().findings == []


def test_lines_of_another_form_are_passed_over_and_found(tmp_path: Path) -> None:
    log = filled(tmp_path)
    with segment(log).open("ab") as f:
        for about in (b"7", b'"x"', b"[]"):
            f.write(b'{"entry":{"seq":6},"about":%b,"hash":"x"}\n' % about)
    assert len(list(log.entries())) == 5
    assert [f.entry for f in log.verify().findings] == [6, 7, 8]


def test_a_log_that_is_written_while_it_is_verified_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, days=20)
    walk = audit_log._walk

    def meanwhile(*given: Any) -> None:  # nothing waits for the check, and the check sees nothing of it
        log.append([Entry({"os": "kim"}, "meanwhile")], now=NOW + 81 * DAY)
        assert log.forget([BERT]) == 1
        assert log.drop_before(NOW + 41 * DAY) == 2
        walk(*given)

    monkeypatch.setattr(audit_log, "_walk", meanwhile)
    verdict = log.verify()
    assert (verdict.findings, verdict.first, verdict.head, verdict.erased) == ([], 1, 5, 0)
    monkeypatch.undo()
    verdict = log.verify()
    assert (verdict.findings, verdict.first, verdict.head, verdict.erased) == ([], 4, 6, 1)
