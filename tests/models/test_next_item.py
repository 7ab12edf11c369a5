"""`next-item` against its formula written out, and on histories whose order is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from known import Row, dataset

from recsys_cli.models import next_item
from recsys_cli.models.next_item import NextItem, NextItemConfig
from recsys_cli.models.next_ridge import NextRidge, NextRidgeConfig
from recsys_cli.models.support.item_matrix import largest_of_rows
from recsys_cli.schema import DAY, Dataset, Histories


def histories(items: list[list[int]], n_items: int) -> Dataset:
    return dataset(
        [[(item, (day + 1) * DAY + 7 * n) for day, item in enumerate(row)] for n, row in enumerate(items)], n_items
    )


def chain(users: int = 60, n_items: int = 30, seed: int = 0) -> Dataset:
    """After item i comes i + 1, from a random start."""
    starts = np.random.default_rng(seed).integers(0, n_items - 5, users)
    return histories([[int(s) + n for n in range(5)] for s in starts], n_items)


def crowd(users: int = 400, n_items: int = 90, seed: int = 0) -> Dataset:
    """Everybody mostly buys from one of three tastes, in no order."""
    rng = np.random.default_rng(seed)
    taste = [(rng.permutation(30)[:6] + 30 * (u % 3)).tolist() for u in range(users)]
    other = rng.integers(0, n_items, (users, 2))
    mixed = [[*row, *(int(i) for i in two if i not in row)] for row, two in zip(taste, other, strict=True)]
    return histories([[row[n] for n in rng.permutation(len(row))] for row in mixed], n_items)


def written_out(rows: list[Row], n_items: int, c: NextItemConfig) -> np.ndarray:
    """B by loops over pairs of events."""
    said = np.zeros((n_items, n_items))
    sold = np.zeros(n_items)
    for row in rows:
        times = sorted({t for _, t in row})
        for s, at in row:
            sold[s] += 1
            for t, later in row:
                lag = times.index(later) - times.index(at)
                far = math.exp(-(abs(lag) - 1) / c.lag) * (1 if lag > 0 else c.backward) if lag else c.together
                said[s, t] += far * len(row) ** -c.length
    said[np.diag_indices(n_items)] *= c.own
    with np.errstate(divide="ignore", invalid="ignore"):
        b = said * said.sum(axis=1, keepdims=True) ** -c.source * sold[None, :] ** -c.popular
    return np.nan_to_num(b, nan=0, posinf=0)


@pytest.mark.parametrize("own", [0.0, 1.0])
@pytest.mark.parametrize("pairs", [10**7, 40])
def test_is_the_formula(own: float, pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one block or in many, and an item that has more pairs than a block."""
    monkeypatch.setattr(next_item, "_PAIRS", pairs)
    rng = np.random.default_rng(3)
    rows: list[Row] = [
        sorted(
            {(int(i), int(d) * DAY) for i, d in rng.integers(0, (9, 4), (rng.integers(1, 9), 2))}, key=lambda e: e[1]
        )
        for _ in range(40)
    ]
    config = NextItemConfig(order="ordered", lag=3, backward=0.4, together=0.2, length=0.3, own=own)
    model = NextItem.fit(dataset(rows, 12), config)
    np.testing.assert_allclose(model.matrix.toarray(), written_out(rows, 12, model.config), rtol=1e-4, atol=1e-6)


def test_follows_a_chain() -> None:
    data = chain()
    model = NextItem.fit(data, NextItemConfig(), threads=1)
    assert model.config.order in ("visit", "ordered")
    items, _ = model.recommend(Histories.of([[i] for i in range(29)], ts=9 * DAY), 1, 9 * DAY)
    sold = np.isin(np.arange(29), data.interactions.histories.item)
    assert (items[sold, 0] == np.arange(1, 30)[sold]).mean() > 0.9


def test_the_last_says_more_than_the_first() -> None:
    model = NextItem.fit(chain(), NextItemConfig(order="ordered", recall=1))
    days = dataset([[(3, DAY), (20, 2 * DAY)]], 30).interactions.histories
    assert model.recommend(days, 1, 2 * DAY)[0][0, 0] == 21
    assert [item for item, _ in model.explain(days, 21, 2 * DAY)] == [20]


def test_finds_out_that_the_order_says_nothing() -> None:
    assert NextItem.fit(crowd(), NextItemConfig()).config.order in ("loose", "any")


def test_what_was_given_back_says_nothing() -> None:
    """Bought and sent back, it is no sign that the next one is wanted."""
    data = histories([[0, 1, 2]] * 3, 4)
    h = data.interactions.histories
    kind = np.zeros(h.n_events, np.uint8)
    back = Histories(
        np.array([0, 4, 7, 10]),
        np.insert(h.item, 1, 0),
        np.insert(h.ts, 1, h.ts[0] + 1),
        np.insert(kind, 1, 1),
        np.ones(10, np.float32),
        ("purchase", "refund"),
        np.array([1, -1], np.float32),
    )
    kept = next_item.wanted_events(back, 4)
    assert kept.item.tolist() == [1, 2, 0, 1, 2, 0, 1, 2]


def test_one_moment_for_all_is_a_model_without_an_opinion() -> None:
    model = NextItem.fit(dataset([[(0, DAY), (1, DAY)], [(2, DAY)]], 3), NextItemConfig(order="ordered"))
    assert not model.score(Histories.of([[0]], ts=DAY), DAY).any()


def test_largest_of_rows_is_a_sort() -> None:
    matrix = sp.random(40, 60, 0.3, format="csr", random_state=2)
    matrix.data = np.round(matrix.data, 1)
    for ties in (False, True):
        kept = largest_of_rows(matrix, 5, ties=ties)
        for row in range(40):
            mine, all_of_them = np.sort(kept[row].data)[::-1], np.sort(matrix[row].data)[::-1]
            assert mine[:5].tolist() == all_of_them[:5].tolist()
            assert len(mine) == (np.sum(all_of_them >= mine[:5][-1]) if ties else min(5, len(all_of_them)))


class TestRidge:
    def test_is_the_regression(self) -> None:
        """With room for all sources it is the closed form."""
        rng = np.random.default_rng(1)
        data = histories([rng.permutation(8)[: rng.integers(2, 7)].tolist() for _ in range(60)], 8)
        config = NextRidgeConfig(lag=2.0, ridge=3.0, neighbours=8, popular=0.0)
        model = NextRidge.fit(data, config, threads=1)
        h = data.interactions.histories
        sources, targets = np.zeros((h.n_events, 8)), np.zeros((h.n_events, 8))
        for begin, end in zip(h.indptr[:-1], h.indptr[1:], strict=True):
            for at in range(begin, end):
                targets[at, h.item[at]] = 1
                for before in range(begin, at):
                    sources[at, h.item[before]] += math.exp(-(at - before - 1) / 2.0)
        gram = sources.T @ sources
        for target in range(8):
            said = sources.T @ targets[:, target]
            told = np.flatnonzero(said)
            want = np.linalg.solve(gram[np.ix_(told, told)] + 3.0 * np.eye(len(told)), said[told])
            column = np.asarray(model.matrix[:, [target]].todense()).ravel()
            np.testing.assert_allclose(column[told], want, rtol=1e-3, atol=1e-5)
            assert not np.delete(column, told).any()

    def test_follows_a_chain(self) -> None:
        data = chain()
        model = NextRidge.fit(data, NextRidgeConfig(ridge=1.0), threads=1)
        items, _ = model.recommend(Histories.of([[i] for i in range(29)], ts=9 * DAY), 1, 9 * DAY)
        goes_on = np.isin(np.arange(29), data.interactions.histories.item) & np.isin(
            np.arange(1, 30), data.interactions.histories.item
        )
        assert (items[goes_on, 0] == np.arange(1, 30)[goes_on]).mean() > 0.9
