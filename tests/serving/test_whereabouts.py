"""Where an item stands in a list, and every reason for which it may not be there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from recsys_cli.errors import NotFound
from recsys_cli.serving import Engine, Request
from recsys_cli.serving.campaigns import read_campaigns
from recsys_cli.serving.rules import Rules
from recsys_cli.serving.whereabouts import Whereabouts, find
from recsys_cli.settings import RuleSettings

Ask = Callable[..., Whereabouts]


@pytest.fixture
def ask(shop: Any) -> Ask:
    def asked(item: str, user: str = "t1", campaigns: Any = (), k: int = 5, **rules: Any) -> Whereabouts:
        made = Rules(RuleSettings(explore=False, **rules), read_campaigns(campaigns))
        engine = Engine.open(shop.version, shop.secret, rules=made)
        return find(engine, Request(user_id=user, k=k), item)

    return asked


def test_what_is_shown_has_its_place_source_and_reason(ask: Ask, shop: Any) -> None:
    engine = Engine.open(shop.version, shop.secret)
    for place, item in enumerate(engine.recommend(Request(user_id="t1", k=5)).item_ids, 1):
        found = ask(item)
        assert (found.place, found.shown, found.why_not) == (place, True, ())
        assert found.source
        assert found.reason.endswith(".")


def test_of_the_item(ask: Ask) -> None:
    assert ask("t3", user="d1").why_not == ("It has left the catalogue.",)
    assert ask("t2", user="d1").why_not == ("It is sold out, and rules.in_stock_only is on.",)
    assert "below rules.min_margin (0.85)" in ask("d7", min_margin=0.85).why_not[0]
    assert "or not known" in ask("g9", min_margin=0.1).why_not[0]
    with pytest.raises(NotFound, match="'none'"):
        ask("none")


def test_of_campaigns(ask: Ask) -> None:
    today, ban = time.strftime("%Y-%m-%d", time.gmtime()), {"action": "ban", "category": "dogs"}
    assert ask("d0", campaigns=[ban]).why_not == ("Campaign 1 in [[rules.campaigns]] bans it.",)
    over = {**ban, "until": "2020-01-01"}
    assert "bans" not in " ".join(ask("d0", campaigns=[over]).why_not)
    buried = ask("d0", campaigns=[over, {"action": "bury", "item": "d0", "factor": 0.1, "from": today}]).why_not
    assert "Campaign 2 in [[rules.campaigns]] buries it." in buried


def test_of_the_customer(ask: Ask) -> None:
    (why,) = ask("t0").why_not
    assert why.startswith("Bought on 20")
    assert "not shown again" in why
    assert "it is not shown until 2299-03-25 (" in ask("t0", bought_days=100_000.0).why_not[0]


def test_what_others_keep_out_says_where_it_would_stand(ask: Ask, shop: Any) -> None:
    engine = Engine.open(shop.version, shop.secret, rules=Rules(RuleSettings(explore=False)))
    whole = engine.recommend(Request(user_id="t1", k=40)).item_ids
    for place in (6, 12, len(whole)):
        found = ask(whole[place - 1])
        assert (found.place, found.shown) == (place, False)
        assert found.why_not == (f"Other items fit better: it would stand at place {place}, and the list has 5.",)


def test_limits_are_named_where_they_hold_it_back(ask: Ask, shop: Any) -> None:
    plain = Engine.open(shop.version, shop.secret, rules=Rules(RuleSettings(explore=False)))
    first = plain.recommend(Request(user_id="t1", k=5))
    limited = Engine.open(shop.version, shop.secret, rules=Rules(RuleSettings(explore=False, max_per_category=1)))
    kept = limited.recommend(Request(user_id="t1", k=5)).item_ids
    gone = next(item for item in first.item_ids if item not in kept)
    found = ask(gone, max_per_category=1)
    place = first.item_ids.index(gone) + 1
    assert found.why_not[0] == (
        f"rules.max_per_category = 1 holds it back: without that it would stand at place {place}."
    )


def test_strangers_get_what_sells(ask: Ask) -> None:
    assert not ask("g9", user="nobody").shown
    assert ask("t0", user="nobody", k=40).shown
