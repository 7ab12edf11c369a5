"""Fifty points of an erasure, each killed by SIGKILL there and finished by the next run; a few minutes."""

from __future__ import annotations

from pathlib import Path

from tests.gdpr.conftest import Shop, full, shop
from tests.gdpr.test_killed import check_killed_at, copy_of, points

__all__ = ["full", "shop"]


def test_killed_at_fifty_points(shop: Shop, tmp_path: Path) -> None:
    chosen = points(shop, tmp_path / "whole", 50)
    for point in chosen:
        check_killed_at(copy_of(shop, tmp_path / f"killed-{point}"), point)
    print(f"{len(chosen)} kills between operations 1 and {chosen[-1]}: all finished by the next run")
