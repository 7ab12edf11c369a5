"""What people have decided about the use of their data holds for every list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recsys_cli.artifacts.choices import Choice, Choices, change, hash_of
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.live_events import customer_key

NOW = 1_750_000_100


def choose(shop: Any, user: str, mode: str) -> None:
    with shop.artifacts.exclusive():
        change(shop.artifacts.root, {hash_of(shop.secret, customer_key(shop.secret, user)): Choice(mode)})


@pytest.mark.parametrize("mode", ["none", "objected", "restricted", "erased", "session"])
def test_no_profile_no_personal_list(shop: Any, mode: str) -> None:
    choices = Choices(shop.artifacts.root, shop.secret)
    engine = Engine.open(shop.version, shop.secret, choices=choices)
    ask = lambda user: engine.recommend(Request(user_id=user, k=3))  # noqa: E731
    assert ask("t4").known
    choose(shop, "t4", mode)
    choices.refresh()
    assert not ask("t4").known
    assert ask("t4").fallback
    assert ask("t5").known
    assert engine.history("t4", 5) == []
    assert engine.recommend(Request(user_id="t4", items=("d0",), k=3)).known is (mode == "session")


def test_an_address_is_the_same_customer_however_it_is_written(live: Callable[..., Engine]) -> None:
    event = {"t": "event", "item_id": "t0", "ts": NOW, "qty": 1, "event_type": "purchase"}
    engine = live(event | {"user_id": "Ann@Shop.example"})
    assert engine.recommend(Request(user_id="ann@shop.example", k=3)).known
    assert engine.recommend(Request(user_id="bob@shop.example", k=3)).fallback
