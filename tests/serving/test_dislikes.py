"""What somebody turned away from: never shown to them again, and its like lower, from the next answer on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.identity import user_keys
from recsys_cli.schema import Histories
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.history import Distaste
from recsys_cli.serving.reordering import reorder
from recsys_cli.store import Store
from recsys_cli.updates import run_pass

NOW = 1_750_000_000


def event(item: str, kind: str, **who: Any) -> dict[str, Any]:
    return {"t": "event", "item_id": item, "event_type": kind, "ts": NOW + 60, "qty": 1, **who}


def tastes(ids: list[str]) -> Counter[str]:
    return Counter(item[0] for item in ids)


@pytest.mark.parametrize("kind", ["dislike", "refund"])
@pytest.mark.parametrize("who", [{"user_id": "t3"}, {"session_id": "guest"}])
def test_what_was_turned_away_from_repels(live: Callable[..., Engine], who: dict[str, str], kind: str) -> None:
    engine = live()
    request = Request(**who, k=12)
    before = engine.recommend(request).item_ids
    engine.hear(*(event(f"c{n}", kind, **who) for n in (0, 1, 9)))
    after = engine.recommend(request).item_ids
    assert not {"c0", "c1", "c9"} & set(after)
    assert tastes(after)["c"] <= tastes(before)["c"]
    assert not {"c0", "c1", "c9"} & set(engine.recommend(Request(**who, k=12, repeat=True)).item_ids)


def test_the_like_of_the_disliked_are_pushed_down(live: Callable[..., Engine]) -> None:
    engine = live(event("c3", "view", session_id="s"), event("g3", "view", session_id="s"))
    request = Request(session_id="s", k=12)
    before = engine.recommend(request).item_ids
    engine.hear(event("c1", "dislike", session_id="s"))
    after = engine.recommend(request).item_ids
    places = lambda ids: np.mean([ids.index(i) if i in ids else 12 for i in (f"c{n}" for n in (0, 2, 4, 5))])  # noqa: E731
    assert places(after) > places(before)


def test_a_refund_does_not_push_down_its_like(live: Callable[..., Engine]) -> None:
    """A size that did not fit says nothing against the taste."""
    engine = live(event("c3", "view", session_id="s"))
    request = Request(session_id="s", k=8)
    before = [i for i in engine.recommend(request).item_ids if i != "c1"]
    engine.hear(event("c1", "refund", session_id="s"))
    assert engine.recommend(request).item_ids[: len(before)] == before


def test_who_buys_it_after_all_may_see_it_again(live: Callable[..., Engine]) -> None:
    engine = live(event("c0", "dislike", session_id="s"), event("c1", "view", session_id="s"))
    request = Request(session_id="s", k=12, repeat=True)
    assert "c0" not in engine.recommend(request).item_ids
    engine.hear(event("c0", "purchase", session_id="s"))
    assert "c0" in engine.recommend(request).item_ids


def test_ranked_lists_end_with_it(live: Callable[..., Engine]) -> None:
    engine = live(event("t1", "dislike", user_id="t3"))
    answer = reorder(engine, Request(user_id="t3"), ["t1", "t4", "d1"]).answer
    assert answer.item_ids[-1] == "t1"


def test_a_version_remembers_and_batches_obey(shop: Any, live: Callable[..., Engine]) -> None:
    users = [f"t{n}" for n in range(6)]
    engine = live(*(event(item, "dislike", user_id=u) for u in users[:4] for item in ("t4", "c0")))
    engine.hear(event("t5", "refund", user_id="t5"))
    heard = [engine.recommend(Request(user_id=u, k=12)).item_ids for u in users]
    run_pass(Store(shop.settings.db, shop.settings.store), shop.artifacts, shop.settings)
    fresh = Engine.open(shop.version, shop.secret)
    alone = [fresh.recommend(Request(user_id=u, k=12)) for u in users]
    for ids in [*heard[:4], *(answer.item_ids for answer in alone[:4])]:
        assert not {"t4", "c0"} & set(ids)
    assert "t5" not in alone[5].item_ids
    for repeat in (False, True):
        alone = [fresh.recommend(Request(user_id=u, k=12, repeat=repeat)) for u in users]
        codes, _, sources = fresh.recommend_batch(user_keys(shop.secret, users), Request(k=12, repeat=repeat))
        assert codes.tolist() == [answer.codes for answer in alone]
        assert sources.tolist() == [answer.sources for answer in alone]


KINDS = ("purchase", "view", "like", "refund", "dislike")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(range(5))), max_size=30))
def test_who_turned_away_from_what_is_as_counted_by_hand(events: list[tuple[int, int, int]]) -> None:
    events = sorted(events, key=lambda e: e[0])
    weight = np.array([1, 0.1, 0.5, -1, -1], dtype=np.float32)
    h = Histories.of([[i for u, i, _ in events if u == user] for user in range(3)], kinds=KINDS, kind_weight=weight)
    kind = np.array([k for _, _, k in events], dtype=np.uint8)
    owner, item, disliked = Distaste.of(h).pairs(h.row_of_event, h.item, kind, h.qty)
    found = {(int(u), int(i)): bool(d) for u, i, d in zip(owner, item, disliked, strict=True)}
    expected = {}
    for pair in {(u, i) for u, i, _ in events}:
        names = [KINDS[k] for u, i, k in events if (u, i) == pair]
        last = [name for name in names if name in ("purchase", "like", "dislike")][-1:]
        back = names.count("refund")
        if last == ["dislike"] or (back and back >= names.count("purchase")):
            expected[pair] = last == ["dislike"]
    assert found == expected
