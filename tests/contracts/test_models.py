"""Every registered model keeps the contract of `models.base`: a new one is enrolled by its line in the registry."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from known import block_of, catalogue, checkerboard, dataset

from recsys_cli.errors import NotEnoughData, UsageError
from recsys_cli.models import registry
from recsys_cli.models.base import Model, ModelConfig, Range, State
from recsys_cli.models.support import item_matrix, vectors
from recsys_cli.models.support.top_n import contains
from recsys_cli.schema import Dataset, Histories, IdMap

DATA = checkerboard()
N = DATA.interactions.n_items
NOW = DATA.interactions.end
SOLD = 32


def named() -> list[Any]:
    """All models; those whose optional library is missing are skipped with the reason."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                bool(cls.needs) and importlib.util.find_spec(cls.needs or "sys") is None,
                reason=f"{cls.needs} is not installed",
            ),
        )
        for name, cls in registry.MODELS.items()
    ]


every_model = pytest.mark.parametrize("name", named())


@cache
def fitted(name: str) -> Model:
    cls = registry.get(name)
    return cls.fit(DATA, cls.Config(), seed=1, threads=1)


def hostile() -> Histories:
    """Empty, one item, one that was never sold, all items, 10,000 events, and an everyday one."""
    rng = np.random.default_rng(0)
    return Histories.of([[], [3], [N - 1], list(range(N)), rng.integers(0, N, 10_000).tolist(), [0, 1, 2]], ts=NOW)


@every_model
class TestAnswers:
    def test_finds_the_block(self, name: str) -> None:
        """Customers bought five of eight; the other three come before everything of other blocks."""
        model = fitted(name)
        if not model.capabilities.personal:
            pytest.skip("answers all customers alike")
        h = DATA.interactions.histories
        items, _ = model.recommend(h, 3, NOW, exclude=_bought(h))
        own = block_of(h.item[h.indptr[:-1]])
        sold = items < SOLD  # what was never sold may stand in between where the model knows it by its content
        right = (block_of(items) == own[:, None]) | ~sold
        assert right.mean() > 0.9

    def test_empty_history_has_no_opinion(self, name: str) -> None:
        model = fitted(name)
        scores = model.score(hostile().rows(np.array([0])), NOW)
        assert scores.any() == model.capabilities.strangers

    def test_hostile_histories(self, name: str) -> None:
        scores = fitted(name).score(hostile(), NOW)
        assert scores.shape == (6, N)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_a_batch_is_its_rows(self, name: str) -> None:
        model, h = fitted(name), DATA.interactions.histories.rows(np.arange(7))
        alone = [model.score(h.rows(np.array([r])), NOW)[0] for r in range(7)]
        np.testing.assert_allclose(model.score(h, NOW), alone, rtol=1e-3, atol=1e-4)

    def test_more_asked_than_exist(self, name: str) -> None:
        """implicit pads with items already seen or with item 0, faiss with -1; ours ends in -1 and says so."""
        h = hostile()
        items, scores = fitted(name).recommend(h, N + 10, NOW)
        assert items.shape == scores.shape == (6, N + 10)
        assert ((items >= 0) == np.isfinite(scores)).all()
        for row in items:
            real = row[row >= 0]
            assert len(set(real.tolist())) == len(real)
            assert (row[len(real) :] == -1).all()

    def test_scores_fall(self, name: str) -> None:
        _, scores = fitted(name).recommend(hostile(), N, NOW)
        finite = np.where(np.isfinite(scores), scores, -1e30)
        assert (np.diff(finite, axis=1) <= 0).all()

    def test_nothing_excluded_or_not_allowed(self, name: str) -> None:
        h = DATA.interactions.histories.rows(np.arange(40))
        exclude, allowed = _bought(h), np.arange(N) % 3 != 0
        items, _ = fitted(name).recommend(h, N, NOW, exclude=exclude, allowed=allowed)
        assert not contains(exclude, items).any()
        assert allowed[items[items >= 0]].all()

    def test_large_catalogues_go_another_way_to_the_same(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        h = DATA.interactions.histories.rows(np.arange(40))
        _, plain_scores = fitted(name).recommend(h, 5, NOW, exclude=_bought(h))
        monkeypatch.setattr(vectors, "_DENSE_ITEMS", 0)
        monkeypatch.setattr(item_matrix, "_DENSE_ITEMS", 0)
        items, scores = fitted(name).recommend(h, 5, NOW, exclude=_bought(h))
        there = np.isfinite(scores) & (plain_scores > 0)
        np.testing.assert_allclose(scores[there], plain_scores[there], rtol=1e-3, atol=1e-4)
        # Ties may change places, so that items are compared by what they score.
        dense = np.take_along_axis(fitted(name).score(h, NOW), np.maximum(items, 0), axis=1)
        np.testing.assert_allclose(scores[there], dense[there], rtol=1e-3, atol=1e-4)

    def test_similar(self, name: str) -> None:
        codes = np.array([0, 9, 17], dtype=np.int32)
        items, scores = fitted(name).similar(codes, N + 3)
        assert items.shape == scores.shape == (3, N + 3)
        assert not (items == codes[:, None]).any()
        assert ((items >= 0) == np.isfinite(scores)).all()
        if fitted(name).capabilities.personal:
            near = items[:, :3]
            assert ((block_of(near) == block_of(codes)[:, None]) | (near >= SOLD)).mean() > 0.7

    def test_explains(self, name: str) -> None:
        model = fitted(name)
        history = Histories.of([[0, 1, 2]], ts=NOW)
        if not model.capabilities.explains:
            with pytest.raises(UsageError):
                model.explain(history, 4, NOW)
            return
        parts = model.explain(history, 4, NOW)
        assert parts
        assert {item for item, _ in parts} <= {0, 1, 2}
        assert [c for _, c in parts] == sorted((c for _, c in parts), reverse=True)

    def test_vectors(self, name: str) -> None:
        model, h = fitted(name), hostile()
        if not model.capabilities.vectors:
            assert model.item_vectors() is None
            return
        items, users = model.item_vectors(), model.user_vectors(h, NOW)
        assert items is not None
        assert len(items) == N
        np.testing.assert_allclose(users @ items.T, model.score(h, NOW), rtol=1e-3, atol=1e-4)
        weights = model.weights(h, NOW)[5]
        assert isinstance(model, vectors.VectorModel)
        alone = model.fold_in(weights.indices, weights.data)
        np.testing.assert_allclose(alone, users[5], rtol=1e-3, atol=1e-4)

    def test_cold_items(self, name: str) -> None:
        scores = fitted(name).score(Histories.of([[0, 1, 2]], ts=NOW), NOW)[0]
        parts = fitted(name).members or {name: fitted(name)}
        assert scores[SOLD:].any() == any(part.capabilities.cold_items for part in parts.values())


@every_model
class TestFitting:
    def test_a_seed_repeats_on_one_thread(self, name: str) -> None:
        cls = registry.get(name)
        again = cls.fit(DATA, cls.Config(), seed=1, threads=1).state()
        first = fitted(name).state()
        assert again.arrays.keys() == first.arrays.keys()
        for key, array in first.arrays.items():
            np.testing.assert_array_equal(again.arrays[key], array)
        assert again.meta == first.meta

    def test_saved_and_loaded_is_the_same(self, name: str, tmp_path: Path) -> None:
        model = fitted(name)
        state = model.state()
        for key, array in state.arrays.items():
            assert array.dtype != object
            np.save(tmp_path / f"{key}.npy", array, allow_pickle=False)
        arrays = {k: np.load(tmp_path / f"{k}.npy", mmap_mode="r", allow_pickle=False) for k in state.arrays}
        config, meta = json.loads(json.dumps([model.config.as_dict(), state.meta]))
        cls = registry.get(name)
        made = cls.from_state(cls.Config.from_values(config), N, State(arrays, meta))
        loaded = made.bound(DATA.interactions.histories)
        np.testing.assert_array_equal(loaded.score(hostile(), NOW), model.score(hostile(), NOW))
        np.testing.assert_array_equal(loaded.recommend(hostile(), 5, NOW)[0], model.recommend(hostile(), 5, NOW)[0])

    def test_grows_without_changing_its_mind(self, name: str) -> None:
        model = fitted(name)
        wider = _wider(DATA, 3)
        grown = model.grow(wider, NOW)
        h = DATA.interactions.histories.rows(np.arange(20))
        scores = grown.score(h, NOW)
        assert scores.shape == (20, N + 3)
        assert np.isfinite(scores).all()
        before = model.score(h, NOW)[:, :SOLD]
        together = [np.corrcoef(a, b)[0, 1] for a, b in zip(before, scores[:, :SOLD], strict=True)]
        assert min(together) > 0.9  # new items with vectors of their own shift the others a little

    def test_fitted_again_by_way_of_its_past(self, name: str) -> None:
        """As the last step of a training: the same items come first, and the same way gives the same model."""
        past = fitted(name)
        models = [type(past).refit(DATA, past.config, past, seed=1, threads=1) for _ in range(2)]
        lists = [model.recommend(DATA.interactions.histories, 5, NOW)[0] for model in (past, *models)]
        assert np.array_equal(lists[1], lists[2])
        assert (np.sort(lists[0], axis=1) == np.sort(lists[1], axis=1)).mean() > 0.8

    def test_nothing_to_learn_from(self, name: str) -> None:
        cls = registry.get(name)
        with pytest.raises(NotEnoughData):
            cls.fit(dataset([[], []], 3), cls.Config())

    def test_one_customer_one_item(self, name: str) -> None:
        """The smallest shop of all: a model, or a sentence that says what is missing."""
        cls = registry.get(name)
        try:
            model = cls.fit(dataset([[(0, 100)]], 2), cls.Config(), threads=1)
        except NotEnoughData:
            return
        assert np.isfinite(model.score(Histories.of([[0], []]), 100)).all()


@every_model
class TestConfig:
    def test_survives_json(self, name: str) -> None:
        Config = registry.get(name).Config
        assert Config.from_values(json.loads(json.dumps(Config().as_dict()))) == Config()

    def test_refuses_what_it_does_not_have(self, name: str) -> None:
        Config = registry.get(name).Config
        with pytest.raises(UsageError, match="no setting 'flux'"):
            Config.from_values({"flux": 1})
        with pytest.raises(UsageError, match="tau_days"):
            Config.from_values({"tau_days": "soon"})

    def test_is_documented(self, name: str) -> None:
        for f in dataclasses.fields(registry.get(name).Config):
            assert f.metadata["help"].endswith("."), f.name
        assert registry.get(name).__doc__

    def test_space_is_sound(self, name: str) -> None:
        for key, r in registry.get(name).Config.space().items():
            assert r.choices or r.low < r.high, key
            assert not r.log or r.low > 0, key


def numbers() -> list[Any]:
    """Every model's every hyperparameter that is a number."""
    return [
        pytest.param(cls.Config, f, id=f"{name}-{f.name}")
        for name, cls in registry.MODELS.items()
        for f in dataclasses.fields(cls.Config)
        if f.type in ("int", "float")
    ]


@pytest.mark.parametrize(("Config", "f"), numbers())
class TestBounds:
    """A number that no fit can use is refused by name, before a fit ends in a traceback or in nan."""

    def test_are_stated_around_default_and_search(self, Config: type[ModelConfig], f: dataclasses.Field[Any]) -> None:
        low, high = f.metadata["low"], f.metadata["high"]
        assert np.isfinite([low, high]).all()
        default: Any = f.default
        space = f.metadata["space"] or Range(default, default)
        assert low <= space.low <= space.high <= high
        assert getattr(Config.from_values({f.name: default}), f.name) == default
        for edge in (low, high):
            assert getattr(Config.from_values({f.name: str(edge)}), f.name) == edge

    def test_what_is_beyond_is_refused(self, Config: type[ModelConfig], f: dataclasses.Field[Any]) -> None:
        low, high = f.metadata["low"], f.metadata["high"]
        for says, values in {f"at least {low:g}": (low - 1, "-5"), f"at most {high:g}": (high + 1, "1e300")}.items():
            for value in values:
                with pytest.raises(UsageError, match=re.escape(f"{f.name} must be {says}, got {value!r}")):
                    Config.from_values({f.name: value})
        for value in ("nan", "inf", "-inf", float("nan")):
            with pytest.raises(UsageError, match=f"{f.name} must be "):
                Config.from_values({f.name: value})


@every_model
def test_the_lowest_values_allowed_can_be_fitted(name: str) -> None:
    cls = registry.get(name)
    every = {f.name: f for f in dataclasses.fields(cls.Config)}
    # Of what is learned step by step, one step says as much as hundreds.
    least = {"work": every["work"].metadata["low"]} if "work" in every else {}
    for f in every.values():
        if f.type in ("int", "float"):
            model = cls.fit(DATA, cls.Config.from_values({**least, f.name: f.metadata["low"]}), seed=1, threads=1)
            assert np.isfinite(model.score(hostile(), NOW)).all(), f.name


def test_a_word_that_is_no_choice_lists_the_choices() -> None:
    with pytest.raises(UsageError, match=r"similarity must be one of cosine, .*, got 'dice'"):
        registry.get("item-knn").Config.from_values({"similarity": "dice"})


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="Did you mean 'ease'"):
        registry.get("esae")


def _bought(h: Histories) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(h.item), np.float32), h.item, h.indptr), shape=(len(h), N))


def _wider(data: Dataset, more: int) -> Dataset:
    ids = data.interactions.items.ids.to_pylist() + [f"new{n}" for n in range(more)]
    items = IdMap(pa.array(ids))
    table = catalogue(
        items,
        title=data.catalogue["title"].to_pylist() + ["red tea pot"] * more,
        category=data.catalogue["category"].to_pylist() + ["block 0"] * more,
    )
    return Dataset(dataclasses.replace(data.interactions, items=items), table)
