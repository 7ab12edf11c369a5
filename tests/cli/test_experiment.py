"""Experiments from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Recsys
from tests.serving.shop import make_shop


def test_nothing_is_promoted_without_a_winner_or_a_word(tmp_path: Path, recsys: Recsys) -> None:
    settings = make_shop(tmp_path).settings
    state = "--db", str(settings.db), "--artifacts", str(settings.artifacts)
    arms = "--ab", "served", "rules:diversity=0.4"
    assert recsys("experiment", "start", "div", *arms, *state).returncode == 0
    early = recsys("experiment", "promote", "div", *state)
    assert early.returncode == 2
    assert "'div' has no winner yet: Too few visitors yet. Give --arm a or --arm b" in early.stderr
    assert '"running"' in recsys("experiment", "status", "div", "--json", *state).stdout
    assert "diversity = 0.4" in recsys("experiment", "promote", "div", "--arm", "b", *state).stdout
    again = recsys("experiment", "stop", "div", *state)
    assert "It was promoted: b (rules:diversity=0.4)." in again.stderr
    assert "has ended. It was promoted" in recsys("experiment", "promote", "div", *state).stderr
