"""What the model says, asked for before anybody waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_cli.models.als import ALS
from recsys_cli.serving import Request
from recsys_cli.serving.reloader import Live


def test_what_all_lists_need_is_made_before_the_first_visitor(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = shop.publish()
    live = Live(shop.artifacts, shop.secret, 1.0, lambda *_, **__: None)
    live.start(version.name, version, [])

    def too_late(_: ALS) -> None:
        raise AssertionError("summed over all items while a visitor waited")

    monkeypatch.setattr(ALS, "_gram", property(too_late))
    answer = live.ready().recommend(Request(user_id="t4", k=4))
    assert answer.item_ids
    assert not answer.fallback
