"""The fault harness at length: 200 kills, 30 full disks and 300 damages; some ten minutes each.

Run by name: pytest tests/benchmarks/bench_faults.py -s
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import test_damaged_live, test_full_disk, test_killed
from tests.faults.harness import Shop
from tests.faults.test_full_disk import disk
from tests.faults.test_killed import shop

__all__ = ["disk", "shop"]


def test_two_hundred_kills(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_killed, "KILLS", 200)
    test_killed.test_killed_anywhere_nothing_is_lost_or_doubled(shop)


def test_a_full_disk_at_thirty_points(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_full_disk, "POINTS", 30)
    test_full_disk.test_full_at_any_point_it_says_so_and_goes_on_later(disk)


def test_three_hundred_damages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_damaged_live, "DAMAGES", 300)
    shop = test_damaged_live.two_versions(tmp_path)
    test_damaged_live.test_a_running_server_refuses_damage_and_goes_on_with_the_version_before(shop)
