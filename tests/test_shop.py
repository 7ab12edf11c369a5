"""The public face: what a program does with a shop, without the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import recsys_cli
from recsys_cli import RecsysError, Shop


def test_from_files_to_recommendations(tmp_path: Path) -> None:
    lines = [f"u{n % 30},i{(n * 7 + n // 30) % 20},{1_700_000_000 + n * 50_000},1" for n in range(500)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,ts,qty", *lines]) + "\n")
    shop = Shop.open(tmp_path / "shop.duckdb", tmp_path / "model_artifacts")
    assert shop.ingest(tmp_path / "events.csv").total("new") == 500
    assert shop.train("popular").version.name == "v000001"
    found = shop.recommend("u3", k=3, repeat=True)
    assert len(found) == 3
    assert {"item_id", "score", "source", "fallback"} <= set(found[0])
    assert found[0]["item_id"] not in {row["item_id"] for row in shop.similar(found[0]["item_id"], k=3)}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    shop = Shop.open(tmp_path / "shop.duckdb", tmp_path / "model_artifacts")
    with pytest.raises(RecsysError, match="recsys train"):
        shop.recommend("u3")


def test_the_face_is_small_and_true() -> None:
    assert [name for name in recsys_cli.__all__ if not hasattr(recsys_cli, name)] == []
