"""Learning an order from what was seen, in a shop of few orders whose visitors look at prices and at stock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from known import dataset
from position_bias import PLACES, curve

from recsys_cli.features import ItemTable
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.ranking import learning
from recsys_cli.ranking.learning import learn
from recsys_cli.ranking.outcome import NEW, Outcome, clicks_told
from recsys_cli.ranking.past import Block, blocks
from recsys_cli.ranking.proposals import FirstStage
from recsys_cli.ranking.seen import Seen, before, looked_at
from recsys_cli.schema import DAY, Dataset
from recsys_cli.settings import RankingSettings
from recsys_cli.splitting.holdout import Split, holdout

pytest.importorskip("lightgbm")
CUSTOMERS, ITEMS, DAYS = 220, 150, 120


class Shop:
    """Whoever comes sees ten items, most of them popular; what is dear to them, or sold out, is clicked less."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.price = np.exp(rng.uniform(0, 4, ITEMS))
        self.level = rng.uniform(0.5, 3.5, CUSTOMERS)
        self.stock = rng.random(ITEMS) < 0.7
        fits = np.exp(-np.square(np.log(self.price)[None, :] - self.level[:, None]) / 0.5)
        self.liked = 0.02 + 0.9 * fits * np.where(self.stock, 1.0, 0.1)
        rows = []
        for user in range(CUSTOMERS):
            days = np.sort(rng.choice(DAYS, 8, replace=False))
            chance = fits[user] / fits[user].sum()  # stock was another then
            rows.append([(int(rng.choice(ITEMS, p=chance)), int(day) * DAY + 60) for day in days])
        self.data = dataset(rows, ITEMS, price=self.price.tolist(), availability=self.stock.tolist())

    def seen(self, visits: int = 30) -> Seen:
        """Clicks fall off as one over the place."""
        rng, n = self.rng, CUSTOMERS * visits
        user = np.repeat(np.arange(CUSTOMERS), visits)
        ts = np.sort(rng.integers(20 * DAY, DAYS * DAY, (CUSTOMERS, visits)), axis=1).ravel()
        popular = rng.normal(size=ITEMS)
        items = np.argsort(-(popular + rng.normal(size=(n, ITEMS))), axis=1)[:, :PLACES]
        clicked = rng.random((n, PLACES)) < curve(1.0) * self.liked[user[:, None], items]
        owners = self.data.interactions.users.ids.to_pylist()
        table = pa.table(
            {
                "owner": [owners[u] for u in user for _ in range(PLACES)],
                "visitor": np.repeat(user, PLACES),
                "listed": np.repeat(np.arange(n), PLACES),
                "item_id": [f"i{i}" for i in items.ravel()],
                "ts": np.repeat(ts, PLACES),
                "placement": ["home"] * (n * PLACES),
                "place": np.tile(np.arange(1, PLACES + 1), n).astype(np.int32),
                "swap": np.zeros(n * PLACES, np.int32),
                "clicked": clicked.ravel(),
                "outcome": clicked.ravel().astype(np.int8),
            }
        )
        return Seen.of(table, self.data)


def first_stage(split: Split) -> Model:
    cls = registry.get("item-knn")
    return cls.fit(split.train, cls.Config.from_values({"neighbours": 10}), threads=1)


def learned(shop: Shop, seen: Seen | None, *, ipw: bool = True) -> tuple[Split, Model, Outcome]:
    split = holdout(shop.data, 25)
    assert split is not None
    model = first_stage(split)
    return split, model, learn(split, model, model, seen=seen, ranking=RankingSettings(ipw=ipw), seed=1)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@pytest.fixture(scope="module")
def found(shop: Shop) -> tuple[Split, Model, Outcome]:
    return learned(shop, shop.seen())


def test_prices_and_stock_are_learned_from_clicks(shop: Shop, found: tuple[Split, Model, Outcome]) -> None:
    """At least a tenth above the first stage, by what visitors truly like of the candidates."""
    split, model, outcome = found
    assert outcome.ranker is not None
    ranker, values = outcome.ranker, []

    def take(block: Block, some: np.ndarray, few: np.ndarray) -> None:
        block = block.only(few)
        orders = ranker.order(block)[0], np.lexsort((block.item, -block.first, block.row))
        values.append([_ndcg(shop.liked[some[block.row], block.item][order], block.row[order]) for order in orders])

    blocks(FirstStage.of(model), split, np.arange(CUSTOMERS), ItemTable.of(split.train), take)
    ranked, first = np.array(values).mean(axis=0)
    assert ranked > 1.1 * first


def _ndcg(gain: np.ndarray, row: np.ndarray) -> float:
    lists = np.split(gain, np.flatnonzero(np.diff(row)) + 1)
    discount = 1 / np.log2(np.arange(2, 12))
    return float(np.mean([x[:10] @ discount[: len(x)] / (np.sort(x)[::-1][:10] @ discount[: len(x)]) for x in lists]))


def test_what_it_was_learned_from_is_told(found: tuple[Split, Model, Outcome]) -> None:
    outcome = found[2]
    told = outcome.as_dict()["clicks"]
    assert told["clicks"] > learning.LEAST_CLICKS
    assert 0 < told["effective_clicks"] < told["clicks"]
    assert told["propensities"]["home"]["way"] == "harvest"
    assert "Places 1 to 10 of home are looked at 1.00 0." in clicks_told(told)
    assert outcome.verdicts[NEW].on


def test_clicks_as_they_are_have_no_places(shop: Shop) -> None:
    told = learned(shop, shop.seen(visits=12), ipw=False)[2].as_dict()["clicks"]
    assert told["propensities"] == {}
    assert "(--no-ipw)" in clicks_told(told)


def test_clicks_of_the_newest_days_alone_are_learned_from(shop: Shop, found: tuple[Split, Model, Outcome]) -> None:
    """As in a shop that began to log last week."""
    seen = shop.seen(90)
    split, _, outcome = learned(shop, seen.between(found[0].cut, DAYS * DAY))
    assert seen.between(0, split.cut).clicked_lists() > 500  # else the log of before would not have counted anyway
    assert outcome.ranker is not None
    assert outcome.ranker.on(NEW)
    told = outcome.clicks["verdict"]
    assert told["low"] > 0
    assert told["users"] < CUSTOMERS  # the last third judges
    assert outcome.ranker.notes["clicks"] > 500  # and all are learned from in the end


def test_few_orders_and_few_clicks_are_too_little(shop: Shop) -> None:
    reason = learned(shop, shop.seen(visits=1))[2].reason
    assert f"a ranker needs {learning.LEAST_BUYERS}" in reason


def test_what_was_done_after_a_list_was_seen_moves_no_feature(shop: Shop) -> None:
    split = holdout(shop.data, 25)
    assert split is not None
    model, table, names = first_stage(split), ItemTable.of(split.train), ("score:first", "own_days", "orders")
    seen = shop.seen(visits=4).between(split.cut, split.cut + 10 * DAY)
    a = looked_at(FirstStage.of(model), table, seen, names, most=500, seed=1)
    later = seen.histories.ts >= split.cut + 10 * DAY
    other = replace(seen.histories, item=np.where(later, 0, seen.histories.item).astype(np.int32))
    b = looked_at(FirstStage.of(model), table, replace(seen, histories=other), names, most=500, seed=1)
    assert len(a.values)
    assert np.array_equal(a.values, b.values, equal_nan=True)


def test_a_history_ends_where_a_list_was_seen() -> None:
    data: Dataset = dataset([[(0, 10), (1, 20), (2, 30)], [(3, 5)]], 4)
    past = before(data.interactions.histories, np.array([0, 1, 0], np.int32), np.array([20, 5, 31]))
    assert past.indptr.tolist() == [0, 1, 1, 4]
    assert past.item.tolist() == [0, 0, 1, 2]
