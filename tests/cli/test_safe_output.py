"""JSON that is printed cannot speak to a terminal either, and says the same all the same."""

from __future__ import annotations

import json
from pathlib import Path

import orjson

from recsys_cli.cli.safe_output import plain_json, printable_json

SPEAKING = {chr(n) for n in (*range(32), *range(0x7F, 0xA0))} - {"\n"}
NASTY = "a\x9b31mred\x7f\x85\x1b]0;owned\x07 é\U0001f600"


def test_every_control_character_is_escaped_and_nothing_else_changes() -> None:
    document = {"".join(map(chr, range(0x250))): [NASTY, "\\u009b", 'quote " and \\']}
    text = plain_json(orjson.dumps(document))
    assert not SPEAKING & set(text)
    assert json.loads(text) == document
    assert "é\U0001f600" in text


def test_json_says_the_same_in_letters_that_the_output_has() -> None:
    text = plain_json(orjson.dumps({"title": NASTY}))
    for encoding in ("ascii", "latin-1", "utf-8"):
        assert json.loads(printable_json(text, encoding).encode(encoding).decode(encoding)) == {"title": NASTY}
    assert printable_json(text, "utf-8") == text


def test_letters_that_the_output_lacks_end_no_command(recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    items = list(enumerate(("日本茶", "mug", "\U0001f375")))
    rows = [f"c{u},{item},{1_700_000_000 + 86400 * n}" for u in range(9) for n, item in items]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,ts", *rows]), encoding="utf-8")
    assert recsys("ingest", "orders.csv").returncode == 0
    assert recsys("train").returncode == 0
    shown = recsys("similar", "日本茶", PYTHONIOENCODING="ascii")
    assert (shown.returncode, "Traceback" in shown.stderr) == (0, False)
    assert "\\u65e5" in shown.stdout
    listed = recsys("similar", "mug", "--json", PYTHONIOENCODING="ascii")
    assert {row["item_id"] for row in json.loads(listed.stdout)["items"]} == {"日本茶", "\U0001f375"}
    unknown = recsys("similar", "kein\U0001f375", "--json", PYTHONIOENCODING="ascii")
    assert "kein\U0001f375" in json.loads(unknown.stderr)["error"]["message"]


def test_a_watched_folder_says_so_line_by_line(recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "in").mkdir()
    for name in ("Aufträge.csv", "\U0001f375.csv"):
        (tmp_path / "in" / name).write_text(f"user_id,item_id,ts\nc1,{name},1700000000\n", encoding="utf-8")
    (tmp_path / "in" / "böse.csv").write_text("ä,ö\n1,2\n", encoding="utf-8")
    flags = ("--once", "--json")
    shown = recsys("ingest", "--watch", "in", *flags, PYTHONIOENCODING="ascii", RECSYS_INGEST_QUIET_SECONDS="0")
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {Path(line["file"]).name for line in lines} == {"Aufträge.csv", "\U0001f375.csv", "böse.csv"}


def test_no_command_prints_them(recsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    quiet = NASTY.replace("\x85", "").replace("\x1b", "").replace("\x07", "")
    rows = [f"{user},p{n},{1_700_000_000 + n}" for n in range(5) for user in ("c1", "x@y.example")]
    (tmp_path / "orders.csv").write_text("\n".join([f"user_id,item_id,ts,{quiet}", *(f"{r},z" for r in rows)]))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"{quiet}.csv").write_text("user_id,item_id,ts\nc1,p1,1700000000\n")
    printed = [
        recsys("ingest", "orders.csv", "--json").stdout,
        recsys("ingest", "--watch", "in", "--once", "--json", RECSYS_INGEST_QUIET_SECONDS="0").stdout,
        recsys("gdpr", "export", f"nobody{quiet}", "--json").stderr,
        recsys("ingest", f"{quiet}.csv", "--json").stderr,
    ]
    for text in printed:
        assert "red" in text
        assert not SPEAKING & set(text), text
