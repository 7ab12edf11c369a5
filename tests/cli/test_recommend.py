"""What recommend and similar say where there is nothing to list."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter

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
    assert recsys("similar", "p0").stdout == "There is no other item to show with p0.\n"


@pytest.mark.parametrize("rules", [{}, {"RECSYS_RULES_MAX_PER_CATEGORY": "9"}], ids=["fast lists", "lists one by one"])
def test_what_was_shown_in_vain_is_left_out_also_when_the_worker_has_taken_it(
    recsys: Recsys, tmp_path: Path, rules: dict[str, str]
) -> None:
    rows = [f"c{u},p{n},{1_700_000_000 + u * 9000 + n}" for u in range(9) for n in range(12) if (u + n) % 3]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,ts", *rows, "c9,p1,1700090000"]))
    assert recsys("ingest", "orders.csv").returncode == 0
    assert recsys("train", "--model", "popular").returncode == 0

    def lists(**environment: str) -> dict[str, list[str]]:
        assert recsys("recommend", "--all", "-k", "3", "--out", "l.csv", **rules, **environment).returncode == 0
        found: dict[str, list[str]] = {}
        for row in csv.DictReader((tmp_path / "l.csv").read_text().splitlines()):
            found.setdefault(row["user_id"], []).append(row["item_id"])
        one = json.loads(recsys("recommend", "c9", "-k", "3", "--json", **rules, **environment).stdout)
        assert [item["item_id"] for item in one["items"]] == found["c9"]
        return found

    before = lists(RECSYS_RULES_SHOWN_LIMIT="2")
    seen = [{"item_id": item, "event_type": "impression"} for item in before["c9"][:2]] * 2
    clicked = {"item_id": before["c9"][1], "event_type": "click"}
    lines = [{"t": "event", "user_id": "c9", "ts": 1_700_090_000, "qty": 1} | event for event in (*seen, clicked)]
    writer = SpoolWriter(Artifacts(tmp_path / "model_artifacts").spool_dir)
    writer.append([json.dumps(line).encode() for line in lines])
    writer.close()
    assert recsys("update-worker", "--once").returncode == 0
    after = lists(RECSYS_RULES_SHOWN_LIMIT="2")
    assert before["c9"][0] not in after["c9"]
    assert len(after["c9"]) == 3
    without = lists()
    assert before["c9"][0] in without["c9"]
    assert {u: items for u, items in after.items() if u != "c9"} == {u: i for u, i in without.items() if u != "c9"}


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


def test_a_restricted_customer_is_not_said_to_be_unknown(recsys: Recsys, shop: Callable[..., None]) -> None:
    shop(3)
    assert "For c1" in recsys("recommend", "c1", "--repeat").stdout
    assert recsys("gdpr", "restrict", "c1").returncode == 0
    assert recsys("recommend", "c1", "--repeat").stdout.startswith("c1 is not to be profiled: popular items")


def test_a_newsletter_gets_the_shops_ids_and_what_is_known_of_the_items(recsys: Recsys, tmp_path: Path) -> None:
    rows = [f"c{u}@example.com,p{n},{1_700_000_000 + u * 9000 + n}" for u in range(9) for n in range(8) if (u + n) % 3]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,ts", *rows, "c-9,p1,1700090000"]))
    items = [f"p{n},Tea {n},https://shop.example/p{n},/p{n}.jpg,{n}.5" for n in range(8)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title,url,img_url,price", *items]))
    assert recsys("ingest", "items.csv", "orders.csv").returncode == 0
    assert recsys("train", "--model", "popular").returncode == 0
    done = recsys("recommend", "--all", "-k", "2", "--ids", "plain", "--out", "l.csv")
    assert "9 customers are known by the keyed hash of their e-mail address" in done.stdout
    listed = [r for r in csv.DictReader((tmp_path / "l.csv").read_text().splitlines()) if r["user_id"] == "c-9"]
    assert len(listed) == 2
    for row in listed:
        n = row["item_id"][1:]
        told = [row[name] for name in ("title", "url", "img_url", "price")]
        assert told == [f"Tea {n}", f"https://shop.example/p{n}", f"/p{n}.jpg", f"{n}.5"]
    assert recsys("recommend", "--all", "--ids", "hashed", "--out", "l.csv").returncode == 2
    assert recsys("recommend", "c-9", "--ids", "plain").returncode == 2


@pytest.mark.parametrize("name", ["l.csv", "l.parquet"])
def test_a_list_runs_nothing_in_a_spreadsheet(recsys: Recsys, tmp_path: Path, name: str) -> None:
    rows = [f"@c{u},=p{n},{1_700_000_000 + u * 9000 + n}" for u in range(4) for n in range(4) if (u + n) % 3]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,ts", *rows]))
    assert recsys("ingest", "orders.csv").returncode == 0
    assert recsys("train", "--model", "popular").returncode == 0
    assert recsys("recommend", "--all", "--out", name, "--repeat").returncode == 0
    before = "'" if name.endswith(".csv") else ""
    read = pq.read_table if name.endswith(".parquet") else pacsv.read_csv
    found = read(str(tmp_path / name))
    assert {user[: 2 + len(before)] for user in found["user_id"].to_pylist()} == {f"{before}@c"}
    assert {item[: 2 + len(before)] for item in found["item_id"].to_pylist()} == {f"{before}=p"}
