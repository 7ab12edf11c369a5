"""A ranker alone, for the model that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_cli.artifacts import Artifacts
from recsys_cli.evaluation.bench import Recipe
from recsys_cli.publishing.ranker_training import judge_ranker, train_ranker
from recsys_cli.publishing.train import train
from recsys_cli.ranking import learning
from recsys_cli.ranking.outcome import RANKER
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store

pytest.importorskip("lightgbm")
DAY = 86_400


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """80 customers who come back to their own three things, one after the other, among things bought once."""
    monkeypatch.setattr(learning, "LEAST_BUYERS", 30)
    settings = load(
        {"db": tmp_path / "shop.duckdb", "artifacts": tmp_path / "model_artifacts", "train.threads": 1}, environ={}
    )
    with Store(settings.db, settings.store).writing() as con:
        con.execute(
            """INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id)
               SELECT format('u{}', u),
                      CASE WHEN n % 2 = 0 THEN format('i{}', (u * 7 + n // 2 % 3) % 40)
                           ELSE format('i{}', hash(u * 100 + n) % 40) END,
                      1700000000 + (n * 8 + u % 5) * $day, 1, 'purchase', format('o{}-{}', u, n)
               FROM range(80) AS a(u), range(24) AS b(n)""",
            {"day": DAY},
        )
    return settings


def test_it_comes_with_a_training_and_alone(shop: Settings) -> None:
    store, artifacts = Store(shop.db, shop.store), Artifacts(shop.artifacts)
    first = train(store, artifacts, shop, Recipe.of("item-knn", {}))
    assert first.second.verdicts["repeat"].users >= 30
    assert first.version.manifest[RANKER]["until"] == first.version.manifest["data"]["last_ts"]
    judged = judge_ranker(store, artifacts, shop)
    assert judged.verdicts["repeat"] == first.second.verdicts["repeat"]
    assert artifacts.current_name() == first.version.name  # nothing was published

    again = train_ranker(store, artifacts, shop)
    manifest: dict[str, Any] = again.version.manifest
    assert artifacts.current_name() == again.version.name
    assert manifest["trained"]["version"] == first.version.name
    assert manifest["kind"] == "ranker"
    assert manifest[RANKER]["verdicts"] == first.version.manifest[RANKER]["verdicts"]
    assert again.version.intact(RANKER) == bool(manifest[RANKER]["on"])


def test_it_can_be_turned_off(shop: Settings) -> None:
    off = load({"db": shop.db, "artifacts": shop.artifacts, "train.threads": 1, "train.ranker": False}, environ={})
    done = train(Store(off.db, off.store), Artifacts(off.artifacts), off, Recipe.of("item-knn", {}))
    assert done.second.ranker is None
    assert "train.ranker" in done.version.manifest[RANKER]["reason"]
