"""Lists from a version alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys_cli.errors import NotFound
from recsys_cli.identity import user_keys
from recsys_cli.serving import Engine, Filters, Request
from recsys_cli.serving.history import Past
from recsys_cli.serving.reordering import Mix, reorder
from recsys_cli.serving.visitor import Person


def test_customers_are_shown_their_taste(engine: Engine) -> None:
    for letter in "tcgd":
        answer = engine.recommend(Request(user_id=f"{letter}4", k=2))
        assert answer.known
        assert {i[0] for i in answer.item_ids} == {letter}
        assert set(answer.sources) == {"als"}
        assert not answer.fallback


def test_bought_sold_out_and_retired_are_left_out(engine: Engine) -> None:
    bought = {row["item_id"] for row in engine.history("t4", 100)}
    answer = engine.recommend(Request(user_id="t4", k=60))
    assert bought
    assert not bought & set(answer.item_ids)
    assert not {"t2", "t3"} & set(answer.item_ids)
    assert len(answer.item_ids) == len(set(answer.item_ids)) == 42 - 2 - len(bought - {"t2", "t3"})
    again = engine.recommend(Request(user_id="t4", k=60, repeat=True))
    assert bought - {"t2", "t3"} <= set(again.item_ids)


def test_strangers_get_popular_items_labelled(engine: Engine) -> None:
    answer = engine.recommend(Request(user_id="nobody", k=5))
    assert not answer.known
    assert answer.fallback
    assert answer.sources == ["popular"] * 5
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert answer.item_ids == engine.popular(Request(k=5)).item_ids
    assert not engine.popular(Request(k=5)).fallback


def test_short_lists_are_filled_and_say_so(engine: Engine) -> None:
    answer = engine.recommend(Request(user_id="t4", k=42))
    personal = [f for f in answer.fallbacks if not f]
    assert answer.fallbacks == [False] * len(personal) + [True] * (len(answer.fallbacks) - len(personal))
    assert answer.sources[-1] == "catalogue"


def test_a_basket_counts(engine: Engine) -> None:
    answer = engine.recommend(Request(items=("t0",), k=3))
    assert answer.known
    assert "t0" not in answer.item_ids
    assert answer.item_ids[0] == "t1"  # the one that is bought in the same order
    assert {i[0] for i in answer.item_ids[:2]} <= {"t", "n"}


def test_unknown_items_of_a_basket_are_ignored(engine: Engine) -> None:
    assert engine.recommend(Request(items=("nothing",), k=3)).fallback


@pytest.mark.parametrize("k", [1, 3, 7])
def test_pages_put_together_are_the_list(engine: Engine, k: int) -> None:
    whole = engine.recommend(Request(user_id="g2", k=35)).item_ids
    pages = [engine.recommend(Request(user_id="g2", k=k, offset=o)).item_ids for o in range(0, 35, k)]
    assert [i for page in pages for i in page][:35] == whole


def test_similar_items_share_the_taste(engine: Engine) -> None:
    answer = engine.similar("c0", 4)
    assert "c0" not in answer.item_ids
    assert {i[0] for i in answer.item_ids} == {"c"}
    with pytest.raises(NotFound):
        engine.similar("none")


def test_bought_together_counts_orders(engine: Engine) -> None:
    answer = engine.bought_together("t0", Request(k=1, explain=True))
    assert answer.item_ids == ["t1"]
    assert answer.sources == ["together"]
    orders = int(engine.bundle.shelves["together_count"][engine.code("t0")][0])
    assert answer.reasons == [f'Bought with Tea "0" in {orders} orders.']
    assert orders > 5


def test_shelves(engine: Engine) -> None:
    assert engine.shelf("trending", Request(k=1)).item_ids == ["c9"]
    assert engine.shelf("new", Request(k=2)).item_ids == ["new0", "new1"]
    tea = engine.shelf("new", Request(k=3, filters=Filters(category=("tea",))))
    assert {engine.catalogue.describe(c)["category"] for c in tea.codes} == {"tea"}


def test_ranking_keeps_everything_and_tells_what_is_unknown(engine: Engine) -> None:
    found = reorder(engine, Request(user_id="t4"), ["c1", "t5", "zzz", "t2", "c1", "g0"])
    answer, unknown = found.answer, found.unknown
    assert sorted(answer.item_ids) == ["c1", "g0", "t2", "t5"]
    assert {i[0] for i in answer.item_ids[:2]} == {"t"}
    assert unknown == ["zzz"]
    stranger = reorder(engine, Request(user_id="who"), ["c8", "c0"]).answer
    assert stranger.item_ids == ["c0", "c8"]
    assert stranger.fallback


def test_ranking_mixes_the_orders_by_their_shares(engine: Engine) -> None:
    listed = ["c5", "t6", "c0", "t1", "t5", "d3", "g0"]

    def order(**shares: float) -> list[str]:
        return reorder(engine, Request(user_id="t4"), listed, Mix(**shares)).answer.item_ids

    personal, popular = order(), order(popular=1.0)
    assert personal != popular
    assert popular == reorder(engine, Request(user_id="who"), listed).answer.item_ids
    assert order(given=1.0) == listed
    half = order(popular=0.5)
    places = {i: personal.index(i) + popular.index(i) for i in listed}
    assert [places[i] for i in half] == sorted(places.values())
    assert sorted(order(popular=0.2, given=0.3)) == sorted(listed)


def test_batch_gives_the_same_lists(engine: Engine, one_shop: Any) -> None:
    users = [f"{letter}{n}" for letter in "tcgd" for n in range(30)] + ["stranger"]
    batch = engine.recommend_batch(user_keys(one_shop.secret, users), Request(k=12))
    codes, scores, sources = batch
    for row, user in enumerate(users):
        single = engine.recommend(Request(user_id=user, k=12))
        assert codes[row].tolist() == single.codes, user
        assert sources[row].tolist() == single.sources
        np.testing.assert_allclose(scores[row], single.scores, rtol=1e-4)
    assert batch.known.tolist() == [True] * 120 + [False]


def test_batch_pads_what_is_short(engine: Engine, one_shop: Any) -> None:
    codes, _, _ = engine.recommend_batch(user_keys(one_shop.secret, ["t4"]), Request(k=60))
    row = codes[0]
    assert (row[row >= 0] == engine.recommend(Request(user_id="t4", k=60)).codes).all()
    assert (row[len(row[row >= 0]) :] == -1).all()


def test_reasons_name_what_happened(engine: Engine) -> None:
    answer = engine.recommend(Request(user_id="t4", k=42, explain=True))
    bought = {row["title"] for row in engine.history("t4", 100)}
    assert any(title in answer.reasons[0] for title in bought)
    assert "bought on 20" in answer.reasons[0]
    assert answer.stages[0]["stage"] == "filters"
    popular = [why for why, source in zip(answer.reasons, answer.sources, strict=True) if source == "popular"]
    assert all(why.startswith("Sold ") for why in popular)


def test_histories_are_newest_first(engine: Engine) -> None:
    rows = engine.history("t4", 3)
    assert len(rows) == 3
    assert [r["ts"] for r in rows] == sorted((r["ts"] for r in rows), reverse=True)
    assert rows[0]["event_type"] == "purchase"


def test_a_model_that_reads_in_order_is_served_as_it_scores(shop: Any) -> None:
    """By one history at a time, in the order of its events, the live ones after those of the version."""
    shop.publish("sasrec", factors=8, work=0.001)
    engine = Engine.open(shop.version, shop.secret)
    model, histories = engine.model, engine.bundle.histories
    row = int(np.flatnonzero(np.diff(histories.indptr) > 3)[0])
    past = Past.of_row(histories, row)
    person = Person(past, [], [], [], 0, [], [])
    codes, scores = engine.retrieval.candidates(person, engine.catalogue.allowed_by_default(), 5)
    whole = model.score(histories.rows(np.array([row])), engine.bundle.now)[0]
    np.testing.assert_allclose(scores, whole[codes], rtol=1e-3, atol=1e-4)
    turned = Past(past.item[::-1], past.ts, past.kind[::-1], past.qty[::-1])
    assert not np.allclose(
        engine.retrieval.vector_of(Person(turned, [], [], [], 0, [], [])), engine.retrieval.vector_of(person)
    )


def test_the_index_of_large_catalogues_gives_the_same_lists(
    engine: Engine, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_cli.publishing.index.LARGE_FROM", 1)
    large = Engine.open(shop.publish(), shop.secret)
    assert large.version != engine.version
    request = Request(user_id="t4", k=4)
    assert large.recommend(request).item_ids == engine.recommend(request).item_ids
    teas = Request(user_id="g4", k=4, filters=Filters(category=("tea",)))
    assert large.recommend(teas).item_ids == engine.recommend(teas).item_ids
    assert large.similar("c0", 4).item_ids == engine.similar("c0", 4).item_ids
    lists = [one.recommend_batch(user_keys(shop.secret, ["t4", "c7", "g2"]), Request(k=3)) for one in (large, engine)]
    np.testing.assert_array_equal(lists[0].codes, lists[1].codes)
