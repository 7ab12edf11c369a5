"""New items reach the lists of those they are for, the moment a pass has taken them in."""

from __future__ import annotations

from collections.abc import Callable

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version
from recsys_cli.identity import load_secret
from recsys_cli.serving import Engine, Request
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.updates import run_pass

Train = Callable[[], Version]
Line = Callable[..., bytes]
T0, DAY = 1_700_000_000, 86_400


def lists(store: Store, artifacts: Artifacts) -> dict[str, list[tuple[str, str]]]:
    """Ten items and their sources for customers of both kinds; what they bought may be shown again."""
    engine = Engine.open(artifacts.current(), load_secret(store.path))
    users = [f"{kind}-user{n}" for kind in "ab" for n in range(20)]
    answers = {user: engine.recommend(Request(user_id=user, k=10, repeat=True)).items for user in users}
    return {user: [(line.item_id, line.source) for line in lines] for user, lines in answers.items()}


def test_new_items_are_shown_to_those_they_are_for(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    assert all(len(found) == 10 for found in lists(shop, artifacts).values())
    writer.append(
        [
            b'{"t":"item","item_id":"brush-11","title":"Brush number 11","category":"tools","ts":1}',
            b'{"t":"item","item_id":"a-new","title":"The new apple","ts":1}',
            line(user_id="a-user3", item_id="a-new", ts=T0 + 36 * DAY),
        ]
    )
    run_pass(shop, artifacts, values)
    for user, found in lists(shop, artifacts).items():
        ids = [item for item, _ in found]
        assert len(set(ids)) == 10
        # Either it is among the best by itself, or it has the last place.
        assert ("a-new" in ids, "brush-11" in ids) == (user[0] == "a", user[0] == "b"), (user, found)


def test_the_shop_can_do_without(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([b'{"t":"item","item_id":"brush-11","title":"Brush","category":"tools","ts":1}'])
    run_pass(shop, artifacts, values)
    from recsys_cli.serving.rules import Rules
    from recsys_cli.settings import RuleSettings

    rules = Rules.of(RuleSettings(explore=False))
    engine = Engine.open(artifacts.current(), load_secret(shop.path), rules=rules)
    assert "new" not in [found.source for found in engine.recommend(Request(user_id="b-user1", k=10)).items]
