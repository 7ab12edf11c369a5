"""Weights, masks and the best k of a row, against the plain way to say it."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recsys_cli.models.support.item_matrix import row_product
from recsys_cli.models.support.top_n import mask_nonzeros, top_k
from recsys_cli.schema import DAY, Histories
from recsys_cli.splitting.interactions import weigh, weigh_ways

N = 12
events = st.tuples(st.integers(0, N - 1), st.integers(0, 400 * DAY), st.integers(0, 2), st.integers(0, 9).map(float))
Event = tuple[int, int, int, float]  # item, ts, kind, qty
shops = st.lists(st.lists(events, max_size=8).map(lambda row: sorted(row, key=lambda e: e[1])), max_size=6)
KIND_WEIGHT = [1.0, 0.25, -1.0]


def histories_of(rows: list[list[Event]]) -> Histories:
    flat = [e for row in rows for e in row]
    return Histories(
        np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64),
        np.array([e[0] for e in flat], dtype=np.int32),
        np.array([e[1] for e in flat], dtype=np.int64),
        np.array([e[2] for e in flat], dtype=np.uint8),
        np.array([e[3] for e in flat], dtype=np.float32),
        ("purchase", "view", "refund"),
        np.array(KIND_WEIGHT, dtype=np.float32),
    )


def weigh_plainly(
    row: list[Event], tau: float, qty_power: float, repeat_power: float, order_power: float
) -> dict[int, float]:
    """The strongest event of each item, aged from the newest of the row, times how often; bought more than returned."""
    weights: dict[int, float] = {}
    newest = max((ts for _, ts, _, _ in row), default=0)
    for item in {e[0] for e in row}:
        own = [(ts, KIND_WEIGHT[kind], max(qty, 1.0)) for i, ts, kind, qty in row if i == item]
        if sum(w * qty for _, w, qty in own) > 1e-5:
            ages = [min((newest - ts) / (tau * DAY), 60) if tau else 0.0 for ts, _, _ in own]
            later = [len({other[1] for other in row if other[1] > ts}) for ts, _, _ in own]
            falls = [math.exp(-a) * (1 + n) ** -order_power for a, n in zip(ages, later, strict=True)]
            best = max(w * qty**qty_power * fall for (_, w, qty), fall in zip(own, falls, strict=True))
            weights[item] = best * sum(w > 0 for _, w, _ in own) ** repeat_power
    return weights


class TestWeigh:
    @given(shops, *[st.sampled_from(v) for v in ([0.0, 1.0, 30.0], *[[0.0, 0.5, 1.0]] * 3)])
    def test_is_what_the_plain_way_says(
        self, shop: list[list[Event]], tau: float, qty: float, repeat: float, order: float
    ) -> None:
        m = weigh(histories_of(shop), N, tau, qty, repeat, order)
        assert m.shape == (len(shop), N)
        assert m.dtype == np.float32
        assert m.has_canonical_format
        assert (m.data > 0).all()
        for r, row in enumerate(shop):
            got = dict(zip(m[r].indices.tolist(), m[r].data.tolist(), strict=True))
            assert got == pytest.approx(weigh_plainly(row, tau, qty, repeat, order), rel=1e-4)

    @given(shops, st.sampled_from([np.int32, np.int64]))
    def test_the_histories_are_left_as_they_were(self, shop: list[list[Event]], index: type) -> None:
        """The engine's are memory-mapped and read-only; sorting a shared array would scramble who bought when."""
        h = histories_of(shop)
        h = Histories(h.indptr.astype(index), h.item, h.ts, h.kind, h.qty, h.kinds, h.kind_weight)
        for array in (h.indptr, h.item, h.ts, h.kind, h.qty):
            array.flags.writeable = False
        before = h.item.copy()
        m = weigh(h, N, 30.0, 0.5)
        m.data[:] = 7
        assert (h.item == before).all()

    @given(shops)
    def test_one_weighs_what_it_weighs_among_many(self, shop: list[list[Event]]) -> None:
        """Bit for bit, and where several ways share what is the same in all."""
        h = histories_of(shop)
        ways = [(30.0, 0.5, 0.3, 0.5, 0.0), (0.0, 0.0, 0.0, 0.0, 3.0), (7.0, 0.0, 1.0, 0.0, 0.0)]
        many = weigh_ways(h, N, ways)
        for row in range(len(shop)):
            one = h.rows(np.array([row]))
            for way, all_rows in zip(ways, many, strict=True):
                alone, expected = weigh(one, N, *way), all_rows[[row]]
                assert np.array_equal(alone.data, expected.data)
                assert np.array_equal(alone.indices, expected.indices)
                assert alone.indptr.tolist() == expected.indptr.tolist()

    def test_bought_and_brought_back_is_as_if_it_had_never_been(self) -> None:
        h = histories_of([[(3, 0, 0, 1.0), (3, 5, 2, 1.0), (4, 5, 2, 1.0)]])
        assert weigh(h, N).nnz == 0

    def test_long_away_is_not_forgotten(self) -> None:
        old = histories_of([[(1, 0, 0, 1.0), (2, 0, 0, 1.0)], [(1, 0, 0, 1.0), (2, 4000 * DAY, 0, 1.0)]])
        assert (weigh(old, N, 1.0)[:, [1, 2]].toarray() > 0).all()


def best(row: list[float], k: int) -> tuple[list[int], list[float]]:
    """The k largest, ties by lower code, by sorting."""
    order = [i for i in sorted(range(len(row)), key=lambda i: (-row[i], i)) if row[i] != -math.inf][:k]
    pad = k - len(order)
    return order + [-1] * pad, [row[i] for i in order] + [-math.inf] * pad


scores = st.sampled_from([-math.inf, -2.0, -0.0, 0.0, 0.5, 1.0]) | st.floats(-10, 10, width=32)


class TestTopK:
    @given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=30), elements=scores), st.integers(0, 35))
    def test_is_the_head_of_a_sort(self, dense: np.ndarray, k: int) -> None:
        before = dense.copy()
        items, values = top_k(dense, k)
        expected = [best(row, k) for row in dense.tolist()]
        assert items.tolist() == [e[0] for e in expected]
        assert values.tolist() == [e[1] for e in expected]
        assert (items.dtype, values.dtype) == (np.int32, np.float32)
        assert (dense == before).all()

    @pytest.mark.parametrize("scored", [1.0, 0.02, 0.0])
    def test_long_rows_with_many_ties(self, scored: float) -> None:
        rng = np.random.default_rng(1)
        dense = np.round(rng.normal(size=(20, 3000)), 1).astype(np.float32)
        dense[rng.random(dense.shape) >= scored] = 0
        dense[3:6] = np.where(dense[3:6] > 0, dense[3:6], -np.inf)
        items, values = top_k(dense, 7)
        assert [(i, v) for i, v in zip(items.tolist(), values.tolist(), strict=True)] == [
            best(row, 7) for row in dense.tolist()
        ]

    @pytest.mark.parametrize(("rows", "n", "k"), [(0, 5, 3), (3, 0, 2), (0, 0, 0), (0, 900, 3), (2, 5, 0), (2, 900, 0)])
    def test_nothing_to_choose_from_or_to_choose(self, rows: int, n: int, k: int) -> None:
        items, values = top_k(np.zeros((rows, n), np.float32), k)
        assert items.shape == values.shape == (rows, k)
        assert (items == -1).all()

    @pytest.mark.parametrize("lost", [1, 6, 13])
    def test_what_is_not_a_number_is_never_chosen(self, lost: int) -> None:
        dense = np.random.default_rng(lost).normal(size=(5, 5000)).astype(np.float32)
        dense[:, :lost] = np.nan
        expected = np.argsort(-np.where(np.isnan(dense), -np.inf, dense), axis=1, kind="stable")[:, :10]
        assert top_k(dense, 10)[0].tolist() == expected.tolist()

    def test_all_alike_gives_the_first(self) -> None:
        assert top_k(np.zeros((300, 1000), np.float32), 5)[0].tolist() == [[0, 1, 2, 3, 4]] * 300


class TestRowProduct:
    @pytest.mark.parametrize("entries", [0, 1, 7, 60])
    def test_is_that_of_scipy_to_the_bit(self, entries: int) -> None:
        rng = np.random.default_rng(entries)
        matrix = sp.random(80, 80, 0.3, format="csr", dtype=np.float32, random_state=1)
        items = np.sort(rng.choice(80, entries, replace=False)).astype(np.int32)
        row = sp.csr_matrix((rng.random(entries).astype(np.float32), items, [0, entries]), shape=(1, 80))
        assert np.array_equal(row_product(row, matrix), (row @ matrix).toarray())

    def test_other_types_are_multiplied_as_well(self) -> None:
        matrix = sp.random(80, 80, 0.3, format="csr", dtype=np.float64, random_state=1)
        row = sp.csr_matrix(np.ones((1, 80), np.float32))
        np.testing.assert_allclose(row_product(row, matrix), row @ matrix.toarray(), rtol=1e-6)


def test_histories_that_were_weighed_go_when_nobody_has_them() -> None:
    """A server collects cycles every ten minutes: until then, all whom it had answered would stay."""
    held = histories_of([[(1, 5, 0, 1.0)]])
    gone = weakref.ref(held)
    gc.disable()
    try:
        weigh(held, N)
        del held
        assert gone() is None
    finally:
        gc.enable()


class TestMask:
    @given(shops)
    def test_masks_every_entry_and_nothing_else(self, shop: list[list[Event]]) -> None:
        m = sp.csr_matrix(weigh(histories_of(shop), N))
        dense = np.ones((len(shop), N), np.float32)
        mask_nonzeros(dense, m)
        assert (np.isneginf(dense) == (m.toarray() != 0)).all()
        assert (dense[~np.isneginf(dense)] == 1).all()
