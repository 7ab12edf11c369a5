"""A snapshot of a small shop of which everything is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_cli.errors import NotEnoughData
from recsys_cli.identity import user_key
from recsys_cli.settings import StoreSettings
from recsys_cli.store import Snapshot, Store
from recsys_cli.store.merge import merge_events
from recsys_cli.store.reading import summary

SECRET = "5e" * 32
WEIGHTS = {"purchase": 1.0, "view": 0.05, "refund": -1.0, "impression": 0.0}
COLUMNS = ("user_id", "item_id", "ts", "qty", "event_type", "order_id", "session_id")

EVENTS = [
    ("zoe", "tea", 100, 2, "purchase", "o1", None),
    ("zoe", "cup", 100, 1, "purchase", "o1", None),
    ("zoe", "pot", 100, 1, "purchase", "o1", "s9"),
    ("amy", "ghost", 90, 1, "view", None, "s1"),
    ("zoe", "tea", 50, 1, "view", None, "s2"),
    ("amy", "tea", 200, 3, "refund", None, None),
    ("bob", "cup", 300, 1, "impression", None, None),
    ("bob", "cup", 310, 1, "wishlist", None, None),
    ("amy", "cup", 95, 1, "view", None, "s1"),
]
ITEMS = [("tea", 4.5, None), ("cup", 3.0, 77), ("dust", None, None), ("pot", 20.0, None)]


def fill(store: Store, events: list[tuple[Any, ...]], items: list[tuple[Any, ...]] = ()) -> None:
    with store.writing() as con:
        for row in events:
            con.execute(f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)", list(row))
        for row in items:
            con.execute("INSERT INTO items (item_id, price, retired_at) VALUES (?, ?, ?)", list(row))


def snapshot(store: Store, weights: dict[str, float] | None = None, **more: Any) -> Snapshot:
    with store.reading() as con:
        return Snapshot.read(con, SECRET, weights or WEIGHTS, **more)


def history(found: Snapshot, user: str) -> list[tuple[str, int, str, float]]:
    seen = found.data.interactions
    (row,) = seen.users.codes([user])
    h = seen.histories.rows(np.array([row]))
    names = seen.items.take(h.item).to_pylist()
    kinds = [h.kinds[k] for k in h.kind]
    return list(zip(names, h.ts.tolist(), kinds, h.qty.tolist(), strict=True))


@pytest.fixture
def shop(store: Store) -> Store:
    fill(store, EVENTS, ITEMS)
    return store


class TestSnapshot:
    def test_users_are_those_with_an_event_that_weighs(self, shop: Store) -> None:
        assert snapshot(shop).data.interactions.users.ids.to_pylist() == ["amy", "zoe"]

    def test_items_are_the_catalogue_and_whatever_else_was_seen(self, shop: Store) -> None:
        found = snapshot(shop)
        items = found.data.interactions.items.ids.to_pylist()
        assert items == sorted(["tea", "cup", "dust", "pot", "ghost"])
        catalogue = found.data.catalogue
        assert catalogue["item_id"].to_pylist() == items
        assert catalogue["price"].to_pylist() == [3.0, None, None, 20.0, 4.5]
        assert catalogue["retired_at"].to_pylist() == [77, None, None, None, None]
        assert catalogue["first_seen"].to_pylist() == [95, None, 90, 100, 50]

    def test_oldest_first_and_in_written_order_within_a_second(self, shop: Store) -> None:
        found = snapshot(shop)
        assert history(found, "zoe") == [
            ("tea", 50, "view", 1.0),
            ("tea", 100, "purchase", 2.0),
            ("cup", 100, "purchase", 1.0),
            ("pot", 100, "purchase", 1.0),
        ]
        assert history(found, "amy") == [("ghost", 90, "view", 1), ("cup", 95, "view", 1), ("tea", 200, "refund", 3)]

    def test_baskets_are_orders_and_lacking_these_sessions(self, shop: Store) -> None:
        basket = snapshot(shop).data.interactions.basket.tolist()
        amy, zoe = basket[:3], basket[3:]
        assert amy[0] == amy[1] != -1
        assert amy[2] == -1
        assert zoe[1] == zoe[2] == zoe[3] != -1
        assert len({amy[0], zoe[0], zoe[1]}) == 3

    def test_weights_and_kinds_go_together(self, shop: Store) -> None:
        h = snapshot(shop).data.interactions.histories
        assert dict(zip(h.kinds, h.kind_weight.tolist(), strict=True)) == pytest.approx(
            {"purchase": 1.0, "view": 0.05, "refund": -1.0}
        )
        assert [a.dtype for a in (h.indptr, h.item, h.ts, h.kind, h.qty)] == ["i8", "i4", "i8", "u1", "f4"]

    def test_the_clock_is_the_newest_event_that_weighs(self, shop: Store) -> None:
        found = snapshot(shop)
        assert found.data.interactions.end == 200
        assert found.events == len(EVENTS)
        assert found.spool == {}

    def test_keys_are_those_of_the_users(self, shop: Store) -> None:
        assert [tuple(map(int, k)) for k in snapshot(shop).keys] == [user_key(SECRET, u) for u in ("amy", "zoe")]

    def test_other_weights_other_people(self, shop: Store) -> None:
        found = snapshot(shop, {"impression": 0.1, "wishlist": 0.4})
        assert found.data.interactions.users.ids.to_pylist() == ["bob"]
        assert history(found, "bob") == [("cup", 300, "impression", 1.0), ("cup", 310, "wishlist", 1.0)]

    @pytest.mark.parametrize("weights", [{"like": 1.0}, {"purchase": 0.0}, {}])
    def test_nothing_to_learn_from(self, store: Store, weights: dict[str, float]) -> None:
        fill(store, EVENTS, ITEMS)
        with pytest.raises(NotEnoughData, match=r"has a weight|holds no event to learn from"), store.reading() as con:
            Snapshot.read(con, SECRET, weights)

    def test_an_empty_store(self, store: Store) -> None:
        fill(store, [])
        with pytest.raises(NotEnoughData):
            snapshot(store)

    def test_the_same_twice(self, shop: Store) -> None:
        first, second = snapshot(shop), snapshot(shop)
        one, two = first.data.interactions, second.data.interactions
        assert first.data.catalogue.equals(second.data.catalogue)
        assert (first.keys == second.keys).all()
        assert (one.basket == two.basket).all()
        for name in ("indptr", "item", "ts", "kind", "qty"):
            assert (getattr(one.histories, name) == getattr(two.histories, name)).all()

    def test_an_update_keeps_the_codes_of_the_version_it_grows_from(self, shop: Store) -> None:
        found = snapshot(shop, item_order=pa.array(["pot", "sold out for ever", "cup"]))
        items = found.data.interactions.items.ids.to_pylist()
        assert items == ["pot", "sold out for ever", "cup", "dust", "ghost", "tea"]
        assert found.data.catalogue["item_id"].to_pylist() == items
        assert history(found, "zoe")[0] == ("tea", 50, "view", 1.0)

    def test_it_reads_with_many_threads_as_with_one(self, shop: Store) -> None:
        many = [(f"u{n % 97}", f"i{n % 31}", n // 50, 1, "purchase", f"o{n // 7}", None) for n in range(3000)]
        with shop.writing() as con:
            table = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in many])
            con.register("many", table)
            con.execute(f"INSERT INTO events ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM many")
        answers = []
        for threads in (1, 4):
            found = snapshot(Store(shop.path, StoreSettings(threads=threads)))
            h = found.data.interactions.histories
            answers.append([a.tolist() for a in (h.indptr, h.item, h.ts, found.data.interactions.basket, found.keys)])
        assert answers[0] == answers[1]


odd = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=6)
@given(
    users=st.lists(odd | st.sampled_from([" ", "'", '"', "0", "NULL", "é", "é", "x" * 5000]), min_size=1, unique=True)
)
def test_keys_of_odd_ids_are_the_same_in_sql_and_in_python(
    users: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("odd") / "shop.duckdb", StoreSettings(threads=1))
    fill(store, [(u, "i", 1, 1, "purchase", None, None) for u in users])
    found = snapshot(store)
    ids = found.data.interactions.users.ids.to_pylist()
    assert sorted(ids) == sorted(users)
    assert ids == sorted(users, key=lambda u: u.encode())
    assert [tuple(map(int, k)) for k in found.keys] == [user_key(SECRET, u) for u in ids]


def test_summary(shop: Store) -> None:
    with shop.reading() as con:
        s = summary(con)
    assert (s.events, s.users, s.items, s.catalogue, s.first_ts, s.last_ts) == (9, 3, 4, 4, 50, 310)
    assert s.guests == 0
    assert s.by_type == {"purchase": 3, "view": 3, "impression": 1, "refund": 1, "wishlist": 1}


def test_guests_are_counted_beside_customers(store: Store) -> None:
    rows = [{"item_id": "a", "ts": 1, "session_id": f"s{n % 3}", "user_id": "u" if n > 3 else None} for n in range(6)]
    with store.writing() as con:
        merge_events(con, pa.Table.from_pylist(rows))
        found = summary(con)
    assert (found.users, found.guests) == (1, 3)


@pytest.mark.parametrize(
    ("types", "expected"),
    [(["view"], 1.0), (["view", "purchase"], 0.05), (["view", "refund"], 1.0)],
)
def test_the_weightiest_type_that_occurs_weighs_one(store: Store, types: list[str], expected: float) -> None:
    """A shop of views alone learned nothing: a twentieth of a purchase drowns in regularisation."""
    fill(store, [(f"u{n}", "tea", n, 1, kind, None, None) for n, kind in enumerate(types)])
    with store.reading() as con:
        histories = Snapshot.read(con, SECRET, WEIGHTS).data.interactions.histories
    assert histories.kind_weight[histories.kinds.index("view")] == pytest.approx(expected)
