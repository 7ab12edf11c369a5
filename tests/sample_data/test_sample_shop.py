"""The sample shop is what its script makes, is a shop, and has something in it to learn."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from pyarrow import csv

FOLDER = Path(__file__).resolve().parents[2] / "sample_data"
DAY = 86_400
TAIL_DAYS = 45


@cache
def _table(name: str) -> pa.Table:
    return csv.read_csv(FOLDER / name)


def _events(kind: str) -> pa.Table:
    events = _table("events.csv")
    return events.filter(pc.equal(events["event_type"], kind))


def _lines_with_type() -> pa.Table:
    types = _table("items.csv").select(["item_id", "product_type"])
    return _events("purchase").join(types, "item_id")


def _column(table: pa.Table, name: str) -> NDArray[np.object_]:
    return np.asarray(table[name].to_numpy(zero_copy_only=False))


def _files(folder: Path) -> dict[str, bytes]:
    made = [folder / name for name in ("items.csv", "events.csv", "users.csv")]
    made += sorted((folder / "images").iterdir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in made}


def test_script_makes_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    script = FOLDER / "make_sample_shop.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=600)
    made, kept = _files(tmp_path), _files(FOLDER)
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("purchase", 20_000, 25_000), ("view", 12_000, 17_000), ("cart", 3_500, 5_000), ("refund", 150, 400)],
)
def test_event_counts(kind: str, least: int, most: int) -> None:
    assert least <= len(_events(kind)) <= most


def test_sizes() -> None:
    items, users = _table("items.csv"), _table("users.csv")
    assert 380 <= len(items) <= 420
    assert len(pc.unique(items["category"])) == 12
    assert len(users) == len(pc.unique(users["user_id"])) == 3_000
    assert (FOLDER / "events.csv").stat().st_size < 3_000_000
    assert sum(path.stat().st_size for path in (FOLDER / "images").iterdir()) < 1_000_000


def test_items_are_complete_and_distinct() -> None:
    items = _table("items.csv")
    for name in ("item_id", "title"):
        assert len(pc.unique(items[name])) == len(items)
    for name in ("category", "brand", "title", "description", "tags"):
        assert pc.min(pc.utf8_length(pc.fill_null(items[name], ""))).as_py() > 2, name
    assert pc.min(items["price"]).as_py() > 0
    assert 0 < pc.sum(pc.invert(items["availability"])).as_py() < 60


def test_every_item_has_a_local_picture_that_links_nowhere() -> None:
    prefix = "/sample-images/"
    urls = _table("items.csv")["img_url"].to_pylist()
    assert all(url.startswith(prefix) for url in urls)
    names = {path.name for path in (FOLDER / "images").iterdir()}
    assert {url.removeprefix(prefix) for url in urls} == names
    for name in names:
        text = (FOLDER / "images" / name).read_text(encoding="utf-8")
        tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
        assert tags <= {"svg", "g", "rect", "circle", "ellipse", "path"}
        assert "href" not in text
        assert "url(" not in text


def test_events_are_in_time_and_refer_to_known_ids() -> None:
    events, items, users = (_table(f"{name}.csv") for name in ("events", "items", "users"))
    ts = _column(events, "ts").astype(np.int64)
    assert (np.diff(ts) >= 0).all()
    assert 540 <= (ts[-1] - ts[0]) / DAY <= 550
    assert set(events["item_id"].to_pylist()) <= set(items["item_id"].to_pylist())
    assert set(events["user_id"].to_pylist()) == set(users["user_id"].to_pylist())
    assert pc.min(events["qty"]).as_py() >= 1
    created = dict(zip(items["item_id"].to_pylist(), items["created_at"].to_pylist(), strict=True))
    first_day = np.array([created[item] for item in events["item_id"].to_pylist()]) // DAY
    assert (first_day <= ts // DAY).all()


def test_a_refund_gives_back_a_line_of_its_order() -> None:
    key = ("user_id", "order_id", "item_id", "qty", "price")
    lines, refunds = (
        list(zip(*(_events(kind)[name].to_pylist() for name in key), strict=True)) for kind in ("purchase", "refund")
    )
    assert set(refunds) <= set(lines)
    assert all(line[1] for line in lines)


def test_a_tracked_purchase_was_viewed_in_its_session() -> None:
    def touched(kind: str) -> set[tuple[str, str]]:
        table = _events(kind)
        pairs = zip(table["session_id"].to_pylist(), table["item_id"].to_pylist(), strict=True)
        return {pair for pair in pairs if pair[0]}

    viewed, carted, bought = touched("view"), touched("cart"), touched("purchase")
    assert len(bought & viewed) > 0.9 * len(bought)
    assert len(viewed) > 2.5 * len(carted) > 2.5 * len(bought)


def test_few_products_and_few_customers_make_most_of_the_business() -> None:
    for name, least, most in (("item_id", 0.45, 0.75), ("user_id", 0.5, 0.8)):
        counts = np.sort(np.unique(_column(_events("purchase"), name).astype(str), return_counts=True)[1])
        share = counts[-len(counts) // 5 :].sum() / counts.sum()
        assert least < share < most, name


def test_seeds_are_bought_in_spring_and_candles_in_winter() -> None:
    lines = _lines_with_type()
    first_year = _column(lines, "ts") < pc.min(lines["ts"]).as_py() + 365 * DAY  # each month once
    lines = lines.filter(pa.array(first_year))
    month = _column(lines, "ts").astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    kind = _column(lines, "product_type").astype(str)
    for name, high, low in (
        ("Vegetable Seeds", (3, 4, 5), (9, 10, 11)),
        ("Pillar Candle", (11, 12, 1), (5, 6, 7)),
    ):
        in_high, in_low = (np.isin(month[kind == name], months).sum() for months in (high, low))
        assert in_high > 1.8 * in_low, name


def test_coffee_is_bought_again_and_grinders_are_not() -> None:
    lines = _lines_with_type()
    kind = _column(lines, "product_type").astype(str)
    pair = np.char.add(_column(lines, "user_id").astype(str), _column(lines, "item_id").astype(str))
    again = {
        name: 1 - len(np.unique(pair[kind == name])) / (kind == name).sum()
        for name in ("Coffee Beans 500 g", "Burr Coffee Grinder", "Cat Litter 10 l", "Dog Bed")
    }
    assert again["Coffee Beans 500 g"] > 0.3
    assert again["Cat Litter 10 l"] > 0.3
    assert again["Burr Coffee Grinder"] < 0.1
    assert again["Dog Bed"] < 0.1


def test_what_customers_have_in_common_beats_popularity() -> None:
    """The simplest personal score there is, cosine of co-occurrence, on new products of the last weeks."""
    lines = _events("purchase")
    users, user = np.unique(_column(lines, "user_id").astype(str), return_inverse=True)
    items, item = np.unique(_column(lines, "item_id").astype(str), return_inverse=True)
    ts = _column(lines, "ts").astype(np.int64)
    cut = ts.max() - TAIL_DAYS * DAY

    def matrix(keep: NDArray[np.bool_]) -> sp.csr_matrix:
        cells = sp.csr_matrix((np.ones(keep.sum()), (user[keep], item[keep])), shape=(len(users), len(items)))
        cells.data[:] = 1.0
        return cells

    past, lately, future = (matrix(keep) for keep in (ts < cut, (ts < cut) & (ts >= cut - 30 * DAY), ts >= cut))
    new = future - future.multiply(past)
    judged = np.flatnonzero((past.getnnz(axis=1) > 0) & (np.asarray(new.sum(axis=1)).ravel() > 0))
    together = (past.T @ past).toarray()
    size = np.sqrt(np.maximum(np.diag(together), 1.0))
    cosine = together / np.outer(size, size)
    np.fill_diagonal(cosine, 0.0)
    owned, wanted = past[judged].toarray() > 0, new[judged].toarray() > 0
    personal = _ndcg(past[judged] @ cosine, owned, wanted)
    popular = max(_ndcg(np.tile(counts.sum(axis=0), (len(judged), 1)), owned, wanted) for counts in (past, lately))
    assert len(judged) > 300
    assert personal > 1.4 * popular


def _ndcg(score: NDArray[np.float64], owned: NDArray[np.bool_], wanted: NDArray[np.bool_], k: int = 10) -> float:
    ranked = np.argsort(-np.where(owned, -np.inf, np.asarray(score)), axis=1, kind="stable")[:, :k]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    best = np.cumsum(discount)[np.minimum(wanted.sum(axis=1), k) - 1]
    return float((np.take_along_axis(wanted, ranked, axis=1) @ discount / best).mean())
