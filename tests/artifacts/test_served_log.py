"""The log of answers: what waits is written, and what cannot be written stops nothing."""

from __future__ import annotations

import json
from pathlib import Path

from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.artifacts.served_log import Answered, ServedLog, Trial


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for chunk in Spool(folder).read({}) for line in chunk.lines()]


def note(log: ServedLog, request_id: str, *, placement: str = "", **trial: str) -> None:
    answered = Answered("/recommend", "v000001", ["p", "q"], ["als", "popular"], 1)
    log.note(request_id, answered, placement=placement, trial=Trial(**trial) if trial else None)


def test_what_was_answered_is_on_disk_after_a_flush(tmp_path: Path) -> None:
    log = ServedLog(SpoolWriter(tmp_path / "served"))
    note(log, "r1")
    note(log, "r2", placement="cart", experiment="t", arm="b", teams="ab")
    assert lines(tmp_path / "served") == []
    log.flush()
    first, second = lines(tmp_path / "served")
    assert first["items"] == ["p", "q"]
    assert "experiment" not in first
    assert (second["placement"], second["arm"], second["teams"]) == ("cart", "b", "ab")
    assert not log.waiting
    log.close()


def test_a_sample_is_logged_and_experiments_always(tmp_path: Path) -> None:
    log = ServedLog(SpoolWriter(tmp_path / "served"), share=0.1)
    for n in range(2_000):
        note(log, f"r{n}")
    note(log, "e", experiment="t", arm="a")
    log.close()
    found = lines(tmp_path / "served")
    assert 100 < len(found) < 320
    assert {line["share"] for line in found[:-1]} == {0.1}
    assert found[-1]["share"] == 1.0


def test_a_folder_that_cannot_be_written_drops_and_counts(tmp_path: Path) -> None:
    (tmp_path / "served").write_text("in the way")
    log = ServedLog(SpoolWriter(tmp_path / "served"))
    note(log, "r1")
    log.flush()
    assert log.dropped == 1
    assert not log.waiting
