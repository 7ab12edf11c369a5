"""Ids and histories against plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.schema import DAY, Dataset, Histories, IdMap, Interactions, clock

KINDS = ("purchase", "view", "refund")
Event = tuple[int, int, int, float]  # item, ts, kind, qty

events = st.tuples(
    st.integers(0, 20), st.integers(0, 10**10), st.integers(0, len(KINDS) - 1), st.integers(0, 9).map(float)
)
shops = st.lists(st.lists(events, max_size=6), max_size=8)
odd_text = st.text(max_size=12)  # all of Unicode but lone surrogates


def histories_of(rows: list[list[Event]]) -> Histories:
    flat = [e for row in rows for e in row]
    return Histories(
        np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64),
        np.array([e[0] for e in flat], dtype=np.int32),
        np.array([e[1] for e in flat], dtype=np.int64),
        np.array([e[2] for e in flat], dtype=np.uint8),
        np.array([e[3] for e in flat], dtype=np.float32),
        KINDS,
        np.array([1.0, 0.05, -1.0], dtype=np.float32),
    )


def rows_of(h: Histories) -> list[list[Event]]:
    flat = list(zip(h.item.tolist(), h.ts.tolist(), h.kind.tolist(), h.qty.tolist(), strict=True))
    return [flat[a:b] for a, b in zip(h.indptr.tolist(), h.indptr.tolist()[1:], strict=False)]


class TestHistories:
    @given(shops)
    def test_round_trip_and_counts(self, shop: list[list[Event]]) -> None:
        h = histories_of(shop)
        assert rows_of(h) == shop
        assert len(h) == len(shop)
        assert h.n_events == sum(map(len, shop))
        assert h.row_of_event.tolist() == [r for r, row in enumerate(shop) for _ in row]

    @given(shops, st.data())
    def test_rows_in_any_order_and_twice(self, shop: list[list[Event]], data: st.DataObject) -> None:
        which = data.draw(st.lists(st.integers(0, len(shop) - 1), max_size=10)) if shop else []
        taken = histories_of(shop).rows(np.array(which, dtype=np.int64))
        assert rows_of(taken) == [shop[r] for r in which]
        assert taken.indptr.dtype == np.int64
        assert taken.item.dtype == np.int32

    @given(shops, st.data())
    def test_rows_are_a_copy(self, shop: list[list[Event]], data: st.DataObject) -> None:
        h = histories_of(shop)
        h.rows(np.arange(len(shop))).item[:] = 99
        assert rows_of(h) == shop

    @given(shops, st.data())
    def test_where(self, shop: list[list[Event]], data: st.DataObject) -> None:
        h = histories_of(shop)
        keep = data.draw(st.lists(st.booleans(), min_size=h.n_events, max_size=h.n_events))
        marks = iter(keep)
        expected = [[e for e in row if next(marks)] for row in shop]
        assert rows_of(h.where(np.array(keep, dtype=np.bool_))) == expected

    @given(shops, st.sets(st.sampled_from([*KINDS, "unheard of"])))
    def test_is_kind(self, shop: list[list[Event]], names: set[str]) -> None:
        marked = histories_of(shop).is_kind(*names)
        assert marked.tolist() == [KINDS[e[2]] in names for row in shop for e in row]

    @given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5))
    def test_of(self, baskets: list[list[int]]) -> None:
        h = Histories.of(baskets, ts=7)
        assert rows_of(h) == [[(i, 7, 0, 1.0) for i in basket] for basket in baskets]
        assert h.kinds == ("purchase",)

    def test_no_kinds_at_all(self) -> None:
        h = Histories.of([[], []], kinds=())
        assert h.is_kind("purchase").tolist() == []


class TestIdMap:
    @given(st.lists(odd_text, unique=True, max_size=20), st.lists(odd_text, max_size=10))
    def test_codes_and_back(self, known: list[str], others: list[str]) -> None:
        ids = IdMap(pa.array(known, pa.string()))
        assert len(ids) == len(known)
        assert ids.codes(known).tolist() == list(range(len(known)))
        assert ids.take(np.arange(len(known))).to_pylist() == known
        expected = [known.index(i) if i in known else -1 for i in others]
        assert ids.codes(others).tolist() == expected
        assert ids.codes(pa.array(others, pa.string())).tolist() == expected
        assert ids.codes(others).dtype == np.int32

    @pytest.mark.parametrize("kind", [pa.large_string(), pa.string(), pa.dictionary(pa.int32(), pa.string())])
    def test_whatever_arrow_calls_a_string(self, kind: pa.DataType) -> None:
        ids = IdMap(pa.array(["a", "b"], pa.string()))
        assert ids.codes(pa.array(["b", None, "c"], pa.string()).cast(kind)).tolist() == [1, -1, -1]

    def test_what_is_no_text_is_nobody(self) -> None:
        """An argument in a broken encoding reaches us with lone surrogates, which Arrow does not take."""
        assert IdMap(pa.array(["a"])).codes(["\udcff", "a"]).tolist() == [-1, 0]


class TestInteractions:
    def shop(self, end: int = 40) -> Interactions:
        h = histories_of([[(0, 10, 0, 1.0), (1, 20, 1, 1.0)], [(2, 40, 0, 2.0)]])
        users, items = IdMap(pa.array(["u", "v"])), IdMap(pa.array(["a", "b", "c"]))
        return Interactions(h, users, items, np.array([5, -1, 7], dtype=np.int32), end)

    def test_before_is_strictly_before(self) -> None:
        past = self.shop().before(20)
        assert rows_of(past.histories) == [[(0, 10, 0, 1.0)], []]
        assert past.basket.tolist() == [5]
        assert past.end == 10
        assert (past.n_users, past.n_items) == (2, 3)

    def test_nothing_left_keeps_its_clock(self) -> None:
        empty = self.shop().before(0)
        assert empty.histories.n_events == 0
        assert empty.end == 40

    def test_the_catalogue_stays_whole(self) -> None:
        catalogue = pa.table({"item_id": ["a", "b", "c"]})
        assert Dataset(self.shop(), catalogue).before(20).catalogue is catalogue


def test_one_event_of_today_on_last_decades_export_moves_nothing() -> None:
    year = np.arange(0, 365 * DAY, 900, dtype=np.int64)
    stray = np.append(year, year[-1] + 5_800 * DAY)
    assert year[-1] - 2 * DAY < clock(stray) <= year[-1]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=600))
def test_is_the_time_of_an_event_with_few_after_it(ts: list[int]) -> None:
    now = clock(np.array(ts, dtype=np.int64))
    assert now in ts
    assert sum(t > now for t in ts) <= min(len(ts) // 200, 100)
