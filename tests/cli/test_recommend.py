"""What recommend and similar say where there is nothing to list."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Recsys = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shop(recsys: Recsys, tmp_path: Path) -> Callable[..., None]:
    def make(items: int, guests: bool = False) -> None:
        rows = [f"c{user},,p{n},{1_700_000_000 + user * 9000 + n}" for user in range(9) for n in range(items)]
        rows += [f",g{n},p{n % items},{1_700_000_000 + n}" for n in range(9 if guests else 0)]
        (tmp_path / "orders.csv").write_text("\n".join(["user_id,session_id,item_id,ts", *rows]))
        assert recsys("ingest", "orders.csv").returncode == 0
        assert recsys("train").returncode == 0

    return make


def test_whoever_bought_everything_is_told_of_repeat(recsys: Recsys, shop: Callable[..., None]) -> None:
    shop(1)
    done = recsys("recommend", "c1")
    assert (done.returncode, done.stdout) == (
        0,
        "c1 has bought all there is to show. With --repeat, what was bought is shown too.\n",
    )
    assert "p0" in recsys("recommend", "c1", "--repeat").stdout
    assert json.loads(recsys("recommend", "c1", "--json").stdout)["items"] == []
    assert recsys("similar", "p0").stdout == "There is no other item to show beside p0.\n"


def test_a_shop_whose_rules_leave_nothing_says_so(recsys: Recsys, shop: Callable[..., None]) -> None:
    shop(3)
    done = recsys("recommend", "c1", "--repeat", RECSYS_RULES_MIN_MARGIN="0.5")
    assert done.stdout.startswith("No item can be shown: ")


def test_a_guest_is_not_said_to_be_unknown(recsys: Recsys, shop: Callable[..., None]) -> None:
    shop(3, guests=True)
    done = recsys("recommend", "g5")
    assert "GET /session/g5" in done.stdout
    assert "not known" not in done.stdout
    assert "nobody is not known" in recsys("recommend", "nobody").stdout
