"""Learning an order from orders, on shops in which it is known whether there is one to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from known import dataset

from recsys_cli.features import ItemTable, People
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.ranking import dlrm_learning, learning, proposals, trees
from recsys_cli.ranking.learning import learn
from recsys_cli.ranking.opinions import Depth, ranks
from recsys_cli.ranking.outcome import DLRM, LEAST_CLICKS, LIGHTGBM, NEW, REPEAT, Outcome, due, rivals_told, told
from recsys_cli.ranking.past import NEGATIVES, Candidates, block_of, lesson
from recsys_cli.ranking.proposals import FirstStage
from recsys_cli.ranking.ranker import Ranker
from recsys_cli.schema import DAY, Dataset
from recsys_cli.settings import RankingSettings
from recsys_cli.splitting.holdout import Split, holdout, time_split

pytest.importorskip("lightgbm")
CUSTOMERS, ITEMS, DAYS = 400, 240, 160


def shop(*, priced: bool, seed: int = 0) -> Dataset:
    """Customers buy what they can afford (within a factor of two of their level) of what is in season, or anything."""
    rng = np.random.default_rng(seed)
    price, begin = np.exp(rng.uniform(0, 4, ITEMS)), rng.uniform(-40, DAYS, ITEMS)
    rows = []
    for _ in range(CUSTOMERS):
        fits = np.abs(np.log(price) - rng.uniform(0.5, 3.5)) < np.log(2) / 2
        days = np.sort(rng.choice(DAYS, 16, replace=False))
        row = []
        for day in days:
            choice = np.flatnonzero(fits & (begin <= day) & (day < begin + 40)) if priced else np.arange(ITEMS)
            if len(choice):
                row.append((int(rng.choice(choice)), int(day) * DAY))
        rows.append(row)
    return dataset(rows, ITEMS, price=price.tolist(), title=[f"thing {n}" for n in range(ITEMS)])


def first_stage(split: Split) -> Model:
    """A model of the last weeks' best sellers and of the customer's company, which knows nothing of prices."""
    cls = registry.get("item-knn")
    return cls.fit(split.train, cls.Config.from_values({"neighbours": 10}), threads=1)


def outcome(data: Dataset, days: float = 20) -> tuple[Split, Model, Outcome]:
    split = holdout(data, days)
    assert split is not None
    model = first_stage(split)
    return split, model, learn(split, model, model, seed=1)


@pytest.fixture(scope="module")
def priced() -> tuple[Split, Model, Outcome]:
    return outcome(shop(priced=True))


def test_what_customers_can_afford_is_learned(priced: tuple[Split, Model, Outcome]) -> None:
    """From what they paid before; without titles, categories or a first stage that knows of prices."""
    found = priced[2]
    assert found.ranker is not None
    verdict = found.verdicts[NEW]
    assert verdict.on
    assert verdict.ranked > 1.1 * verdict.first
    assert found.as_dict()["on"]
    assert told(found.as_dict()).startswith("on for lists ")


def test_a_network_is_compared_with_trees(
    priced: tuple[Split, Model, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same customers; whichever orders better is taken, and both gains are told."""
    monkeypatch.setattr(dlrm_learning, "_STEPS", 150)  # a quarter: what there is to learn here is plain
    found = learn(*priced[:2], priced[1], ranking=RankingSettings(model=DLRM), seed=1)
    assert found.ranker is not None
    assert found.verdicts[NEW].ranked > 1.1 * found.verdicts[NEW].first
    gains = found.rivals
    assert found.ranker.kind == (DLRM if gains[DLRM] >= gains[LIGHTGBM] else LIGHTGBM)
    assert f"{found.ranker.kind} is used." in rivals_told(found.as_dict())
    assert found.as_dict()["model"] == found.ranker.kind


def test_where_there_is_no_order_it_stays_off() -> None:
    found = outcome(shop(priced=False))[2]
    assert not found.verdicts[NEW].on
    assert told(found.as_dict()).startswith("off: ") or found.as_dict()["on"] == [REPEAT]


def test_it_is_kept_as_it_is(priced: tuple[Split, Model, Outcome], tmp_path: Path) -> None:
    ranker = priced[2].ranker
    assert ranker is not None
    ranker.save(tmp_path / "ranker")
    again = Ranker.load(tmp_path / "ranker")
    values = np.random.default_rng(0).normal(size=(50, len(ranker.names))).astype(np.float32)
    assert np.array_equal(again.scores(values), ranker.scores(values))
    assert again.on(NEW)


def test_a_seed_gives_the_same_ranker(priced: tuple[Split, Model, Outcome]) -> None:
    split, model, found = priced
    again = learn(split, model, model, seed=1)
    assert found.ranker is not None
    assert again.ranker is not None
    for name, head in found.ranker.heads.items():
        assert again.ranker.heads[name].trees.text == head.trees.text


def test_the_future_does_not_move_a_lesson(priced: tuple[Split, Model, Outcome]) -> None:
    """Rows of a moment are the same whatever was bought after their window."""
    data = shop(priced=True)
    split = time_split(data, 20)
    short = time_split(data.before(split.cut), 20)
    model = first_stage(short)
    names = ("score:first", "rank:first", "own_days", "sold_14d", "price_ratio")
    a = lesson(Candidates.of(FirstStage.of(model), short, max_users=1000, seed=3), names, 3)
    other = shop(priced=True)
    late = other.interactions.histories.ts >= split.cut
    other.interactions.histories.item[late] = 0
    again = time_split(other.before(split.cut), 20)
    b = lesson(Candidates.of(FirstStage.of(first_stage(again)), again, max_users=1000, seed=3), names, 3)
    assert np.array_equal(a.values, b.values, equal_nan=True)
    assert np.array_equal(a.label, b.label)
    assert a.groups.sum() == len(a.values)
    bought = np.add.reduceat(a.label, np.cumsum(a.groups) - a.groups)
    assert (bought > 0).all()
    assert (a.groups - bought <= NEGATIVES).all()


def test_the_gate_judges_what_is_served(priced: tuple[Split, Model, Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block the candidates are those of an answer, fewer than a lesson has."""
    monkeypatch.setattr(proposals, "SERVED", Depth(20, 5))  # of 240 products more would be all
    split, model, _ = priced
    first = FirstStage.of(model)
    asked = Candidates.of(first, split, max_users=100, seed=3)
    histories, fewer = split.train.interactions.histories, 0
    for (block, users), (learned, _) in zip(asked.each(served=True), asked.each(), strict=True):
        served = block_of(first, People(histories.rows(users), ItemTable.of(split.train), split.now), depth=first.depth)
        assert np.array_equal(block.row, served.row)
        assert np.array_equal(block.item, served.item)
        assert all(np.array_equal(block.given[name], served.given[name], equal_nan=True) for name in served.given)
        fewer += len(learned.item) - len(block.item)
    assert fewer > 0


def test_ranks_count_what_is_not_owned() -> None:
    total = np.array([[5, 4, 3, 2, 0], [1, 0, -1, 1, 7]], np.float32)
    owned = np.array([[True, False, False, False, False], [False] * 5])
    row, item = np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 4, 3, 2], np.int32)
    found = np.expm1(ranks(total, owned, row, item))
    assert found == pytest.approx([0, 0, 1, 2, 0, 1, 3])


class TestOff:
    """Where no ranker is learned, and what is said then."""

    def test_without_lightgbm(self, priced: tuple[Split, Model, Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trees, "available", lambda: False)
        found = learn(*priced[:2], priced[1])
        assert found.ranker is None
        assert "pip install lightgbm" in found.reason

    def test_with_few_customers(self) -> None:
        data = shop(priced=True)
        few = np.arange(len(data.interactions.histories)) < 50
        keep = few[data.interactions.histories.row_of_event]
        split = holdout(Dataset(data.interactions.where(keep), data.catalogue), 20)
        assert split is not None
        found = learn(split, first_stage(split), first_stage(split))
        assert f"a ranker needs {learning.LEAST_BUYERS}" in found.reason
        assert told(found.as_dict()) == f"off: {found.reason}"

    def test_with_one_list_for_all(self, priced: tuple[Split, Model, Outcome]) -> None:
        cls = registry.get("popular")
        model = cls.fit(priced[0].train, cls.Config())
        assert "same list for everybody" in learn(priced[0], model, model).reason

    def test_with_a_short_past(self) -> None:
        found = outcome(shop(priced=True), days=100)[2]
        assert found.reason == "There is no second window of time to learn from."


def test_the_worker_learns_the_order_again_by_its_own_rule() -> None:
    found = {"verdicts": {"new": {"on": True}}, "until": 1_000_000}
    assert due(found, 1_000_000 + 86_400, 1.0) == "the order of candidates was learned 1.0 days ago by the shop's clock"
    assert due(found, 1_000_000 + 86_000, 1.0) == ""
    assert due(found, 9_000_000, 0.0) == ""  # turned off
    assert due({"reason": "LightGBM is not installed.", "verdicts": {}}, 9_000_000, 1.0) == ""
    assert due(None, 9_000_000, 1.0) == ""
    assert due({"verdicts": {}, "pending": True, "until": 0}, 9_000_000, 1.0)  # after an erasure


def test_the_worker_learns_one_as_soon_as_there_are_clicks_enough() -> None:
    found = {"verdicts": {}, "until": 1_000_000}
    enough = lambda: LEAST_CLICKS  # noqa: E731
    assert due(found, 9_000_000, 1.0, enough) == f"{LEAST_CLICKS} lists with a click are logged"
    assert due(found, 9_000_000, 1.0, lambda: LEAST_CLICKS - 1) == ""
    assert due(found, 1_050_000, 1.0, enough) == ""  # once a day
    assert due({**found, "clicks": {"lists": 600}}, 9_000_000, 1.0, enough) == ""  # the gate has said no to them
