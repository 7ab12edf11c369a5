"""Popularity counts customers, and a quiet window does not forget the year before it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from known import dataset

from recsys_cli.models.support.demand import STEADINESS, customers, different, drawn, popularity
from recsys_cli.schema import DAY, Dataset


def steady(days: int = 200, a_day: int = 8, n_items: int = 20, more: tuple[tuple[int, int], ...] = ()) -> Dataset:
    """Item i is wanted by 1 / (i + 1) of the customers, `a_day` new ones a day; then `more` (item, day) sales."""
    rng = np.random.default_rng(0)
    worth = 1 / np.arange(1, n_items + 1)
    item = rng.choice(n_items, days * a_day, p=worth / worth.sum())
    rows = [[(int(i), (1 + n // a_day) * DAY + n)] for n, i in enumerate(item)]
    return dataset([*rows, *([(i, day * DAY)] for i, day in more)], n_items)


def best(data: Dataset, tau: float = 4.0, n: int = 5) -> list[int]:
    return np.argsort(-popularity(data.interactions, tau), kind="stable")[:n].tolist()


def test_five_sales_after_a_pause_are_not_all_of_popularity() -> None:
    before = best(steady())
    after = best(steady(more=tuple((15 + n, 228) for n in range(5))))
    assert after[:3] == before[:3] == [0, 1, 2]
    assert not set(after) & {15, 16, 17, 18, 19}


def test_what_sells_now_comes_up_where_it_is_enough() -> None:
    many = steady(more=tuple((19, 201) for _ in range(40)))
    assert best(many)[0] == 19


def test_one_customer_counts_once() -> None:
    loud = [[(1, DAY * n) for n in range(1, 200)], [(0, 199 * DAY)], [(0, 198 * DAY)], [(2, 2 * DAY)]]
    share = popularity(dataset(loud, 3).interactions, 30)
    assert share[0] > share[1]
    assert different(dataset(loud, 3).interactions).tolist() == [198, 199, 200, 201]


def test_the_newest_event_counts() -> None:
    data = dataset([[(0, DAY), (1, 3 * DAY), (0, 90 * DAY)], [(2, DAY), (3, 91 * DAY)]], 4)
    kept = different(data.interactions)
    assert data.interactions.histories.ts[kept].tolist() == [90 * DAY, 3 * DAY, DAY, 91 * DAY]


def test_customers_are_counted_among_marked_events() -> None:
    data = dataset([[(0, 1), (0, 2), (1, 3)], [(0, 4)]], 3)
    assert customers(data.interactions, np.array([True, True, True, True])).tolist() == [2, 1, 0]
    assert customers(data.interactions, np.array([True, False, False, False])).tolist() == [1, 0, 0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9).filter(any))
def test_what_is_drawn_lies_between(counts: list[int]) -> None:
    count = np.array(counts, dtype=np.float64)
    share = np.arange(1, len(count) + 1) / np.arange(1, len(count) + 1).sum()
    found = drawn(count, share)
    assert abs(found.sum() - 1) < 1e-9
    assert (found > 0).all()
    ratio = found / share  # in the order of what was counted beside what was foretold
    order = np.argsort((count + STEADINESS) / (share * count.sum() + STEADINESS), kind="stable")
    assert (np.diff(ratio[order]) >= -1e-12).all()


def test_nothing_drawn_is_what_it_was() -> None:
    share = np.array([0.7, 0.3])
    np.testing.assert_allclose(drawn(np.zeros(2), share), share)
    np.testing.assert_allclose(drawn(np.array([3000.0, 7000.0]), share), [0.3, 0.7], atol=0.01)
    np.testing.assert_allclose(drawn(np.array([0.0, 2.0]), share), share, atol=0.05)
