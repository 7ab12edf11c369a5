"""Rules and placements, checked from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Recsys
from tests.serving.shop import make_shop


def test_a_campaign_about_nothing_is_told(tmp_path: Path, recsys: Recsys) -> None:
    settings = make_shop(tmp_path).settings
    toml = tmp_path / "recsys.toml"
    toml.write_text('[[rules.campaigns]]\naction = "ban"\ncategory = "Nothing"\n', encoding="utf-8")
    state = "--db", str(settings.db), "--artifacts", str(settings.artifacts), "--config", str(toml)
    plain, told = recsys("placements", "check", *state), recsys("placements", "check", "--json", *state)
    assert plain.returncode == told.returncode == 0
    (sentence,) = json.loads(told.stdout)["warnings"]
    assert "Nothing" in sentence
    assert sentence in plain.stdout
