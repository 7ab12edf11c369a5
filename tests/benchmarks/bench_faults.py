"""The fault harness at length: 200 kills; some ten minutes. Run by name: pytest tests/benchmarks/bench_faults.py -s"""

from __future__ import annotations

import pytest

from tests.faults import test_killed
from tests.faults.harness import Shop
from tests.faults.test_killed import shop

__all__ = ["shop"]


def test_two_hundred_kills(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_killed, "KILLS", 200)
    test_killed.test_killed_anywhere_nothing_is_lost_or_doubled(shop)
