"""Models that read histories in their order, on chains of which the next link is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from known import block_of, checkerboard, dataset

from recsys_cli.errors import NotEnoughData
from recsys_cli.models import registry
from recsys_cli.models.support.sequence_model import SequenceModel
from recsys_cli.models.support.sequence_training import Negatives, Pieces
from recsys_cli.schema import DAY, Dataset, Histories

MODELS = [name for name, cls in registry.MODELS.items() if issubclass(cls, SequenceModel)]
SMALL = {"factors": 16, "dropout": 0.1, "learning_rate": 0.01, "work": 0.002}
LONG = 12

every_model = pytest.mark.parametrize("name", MODELS)


def chain(users: int = 120, n_items: int = LONG) -> Dataset:
    """Half go up from item to item, half down: which one comes next only the order of the last two tells."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(users):
        start, way = int(rng.integers(n_items)), 1 - 2 * (user % 2)
        day = int(rng.integers(1, 300))
        rows.append([((start + way * n) % n_items, (day + n) * DAY + user) for n in range(5)])
    return dataset(rows, n_items)


@cache
def fitted(name: str) -> SequenceModel:
    cls = registry.get(name)
    model = cls.fit(chain(), cls.Config.from_values(SMALL), seed=1, threads=1)
    assert isinstance(model, SequenceModel)
    return model


def past(*items: int) -> Histories:
    """One history, a day apart."""
    return dataset([[(item, (n + 1) * DAY) for n, item in enumerate(items)]], LONG).interactions.histories


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_goes_on_the_way_that_the_history_went(name: str) -> None:
    items, _ = fitted(name).recommend(past(3, 4), 1, 0)
    down, _ = fitted(name).recommend(past(5, 4), 1, 0)
    assert (items[0, 0], down[0, 0]) == (5, 3)


@every_model
def test_padding_and_what_is_too_long_ago_change_nothing(name: str) -> None:
    model = fitted(name)
    short = model.read(np.array([[3, 4]], np.int32), np.array([2]))
    padded = model.read(np.array([[3, 4, 9, 9], [1, 2, 3, 4]], np.int32), np.array([2, 4]))
    np.testing.assert_allclose(padded[0], short[0], rtol=1e-4, atol=1e-5)
    cls = type(model)
    last = cls.from_state(cls.Config.from_values({**SMALL, "longest": 2}), LONG, model.state())
    np.testing.assert_allclose(last.score(past(9, 3, 4), 0), model.score(past(3, 4), 0), rtol=1e-4, atol=1e-5)


@every_model
def test_what_was_sent_back_is_not_read(name: str) -> None:
    whole = past(3, 9, 4, 9)
    kinds = ("purchase", "refund"), np.array([1, -1], np.float32)
    back = Histories(whole.indptr, whole.item, whole.ts, np.array([0, 0, 0, 1], np.uint8), whole.qty, *kinds)
    np.testing.assert_allclose(fitted(name).score(back, 0), fitted(name).score(past(3, 4), 0), rtol=1e-4, atol=1e-5)


def test_two_towers_put_what_was_not_sold_among_its_kind() -> None:
    cls = registry.get("two-tower")
    model = cls.fit(checkerboard(), cls.Config.from_values({"factors": 16, "work": 0.005}), seed=1, threads=1)
    near, likeness = model.similar(np.array([32, 33], np.int32), 6)
    assert (block_of(near[near < 32]) == 0).all()
    assert (likeness > 0).all()
    vectors = model.item_vectors()
    assert vectors is not None
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@every_model
def test_nobody_did_two_things(name: str) -> None:
    cls = registry.get(name)
    with pytest.raises(NotEnoughData, match="no history has two different items"):
        cls.fit(dataset([[(0, 1)], [(1, 2), (1, 3)]], 2), cls.Config())


def test_pieces_have_every_step_once() -> None:
    data = dataset([[(n % 5, n) for n in range(1, 24)], [(7, 1)], [(1, 1), (2, 2)]], 9)
    pieces = Pieces.of(data.interactions.histories, 6, np.random.default_rng(0))
    assert sorted(pieces.steps.tolist()) == [1, 4, 6, 6, 6]
    assert sorted(pieces.targets().tolist()) == [*range(1, 23), 25]
    seen = [
        (int(a), int(b))
        for batch in pieces.batches(16, np.random.default_rng(0), all_steps=True)
        for a, b in zip(batch.before[batch.counts], batch.after[batch.counts], strict=True)
    ]
    assert sorted(seen) == sorted([*((n % 5, (n + 1) % 5) for n in range(1, 23)), (1, 2)])


def test_later_events_are_not_learned_before_they_are_asked() -> None:
    pieces = Pieces.of(checkerboard().interactions.histories, 50, np.random.default_rng(0))
    batches = list(pieces.batches(64, np.random.default_rng(0), all_steps=False))
    learned = sum(int(batch.counts.sum()) for batch in batches)
    asked = len(pieces.questions(np.random.default_rng(0))[0])
    assert learned + asked == pieces.n_steps
    assert 0 < asked < pieces.n_steps / 3


def test_negatives_say_how_often_they_are_drawn() -> None:
    item = np.repeat(np.arange(20, dtype=np.int32), np.arange(1, 21))
    rng = np.random.default_rng(0)
    negatives = Negatives.of(item, 20, 10)
    drawn = np.concatenate([negatives.draw(rng, item)[0] for _ in range(3000)])
    found = np.bincount(drawn, minlength=20) / 3000
    # 30,000 draws: the rarest item comes some 300 times, give or take 17.
    np.testing.assert_allclose(found, np.exp(negatives.log_expected), rtol=0.25)
    others = Negatives.of(item, 20, 50, in_batch=True)
    few, log_expected = others.draw(rng, item)
    assert len(few) == 50
    np.testing.assert_allclose(np.exp(log_expected), 50 * (few + 1) / 210, rtol=1e-4)
    assert len(Negatives.of(item, 20, 20).draw(rng, item)[0]) == 20


def test_one_history_is_read_as_among_many() -> None:
    """It goes a quicker way: of each item the last event that was wanted counts, and what went back does not."""
    model, rng = fitted("sasrec"), np.random.default_rng(0)
    kinds, weight = ("purchase", "view", "refund"), np.array([1, 0.3, -1], np.float32)
    for n in rng.integers(1, 30, 100).tolist():
        ts, item = np.sort(rng.integers(0, 12, n)).astype(np.int64), rng.integers(0, LONG, n).astype(np.int32)
        kind, qty = rng.integers(0, 3, n).astype(np.uint8), rng.integers(0, 3, n).astype(np.float32)
        one = Histories(np.array([0, n]), item, ts, kind, qty, kinds, weight)
        two = one.rows(np.array([0, 0]))
        np.testing.assert_allclose(model.user_vectors(one, 0)[0], model.user_vectors(two, 0)[0], rtol=1e-4, atol=1e-5)
