"""JSON that is printed cannot speak to a terminal either, and says the same all the same."""

from __future__ import annotations

import json
from pathlib import Path

import orjson

from recsys_cli.cli.plain import plain_json

SPEAKING = {chr(n) for n in (*range(32), *range(0x7F, 0xA0))} - {"\n"}
NASTY = "a\x9b31mred\x7f\x85\x1b]0;owned\x07 é\U0001f600"


def test_every_control_character_is_escaped_and_nothing_else_changes() -> None:
    document = {"".join(map(chr, range(0x250))): [NASTY, "\\u009b", 'quote " and \\']}
    text = plain_json(orjson.dumps(document))
    assert not SPEAKING & set(text)
    assert json.loads(text) == document
    assert "é\U0001f600" in text


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
