"""Weights of a blend: the small problems they are learned from, against plain reckoning, and what is learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from known import checkerboard, dataset

from recsys_cli.models.base import Model
from recsys_cli.models.ease import EASE, EASEConfig
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.models.support import blend_weights
from recsys_cli.models.support.blend_weights import (
    OWN,
    Problem,
    drawn_in,
    learn,
    learn_own,
    moments,
    own_features,
    problem,
    standardised,
)
from recsys_cli.schema import DAY, Histories
from recsys_cli.splitting.holdout import Split, time_split
from recsys_cli.splitting.task import Task


def drawn(seed: int, members: int = 3, users: int = 40, width: int = 25) -> Problem:
    """A problem without a pattern: rows of several lengths, items that nobody named wanted as well."""
    rng = np.random.default_rng(seed)
    real = np.arange(width) < rng.integers(12, width + 1, users)[:, None]
    wanted = (rng.random((users, width)) < 0.15) & real
    wanted[:, 0] = True
    features = np.where(real, rng.normal(0, 1, (members, users, width)), 0).astype(np.float32)
    return Problem(features, wanted, real, wanted.sum(axis=1) + rng.integers(0, 9, users))


def plain_ndcg(scores: np.ndarray, wanted: np.ndarray, relevant: int) -> float:
    order = sorted(range(len(scores)), key=lambda n: -scores[n])[:10]
    gain = sum(1 / math.log2(place + 2) for place, n in enumerate(order) if wanted[n])
    return gain / sum(1 / math.log2(place + 2) for place in range(min(relevant, 10)))


class TestProblem:
    def test_scores_are_the_weighted_sum_and_padding_comes_last(self) -> None:
        p, weights = drawn(0), np.array([0.2, 0.0, 0.8])
        scores = p.scores(weights)
        whole = 0.2 * p.features[0] + 0.8 * p.features[2]
        np.testing.assert_allclose(scores[p.real], whole[p.real], rtol=1e-5, atol=1e-6)
        assert scores[~p.real].max() < scores[p.real].min() - 1e6

    def test_ndcg_is_that_of_the_lists(self) -> None:
        p = drawn(1)
        scores = p.scores(np.array([0.5, 0.3, 0.2]))
        rows = zip(scores, p.wanted, p.relevant, strict=True)
        assert p.ndcg(scores) == pytest.approx(np.mean([plain_ndcg(*row) for row in rows]))

    def test_ndcg_of_fewer_candidates_than_a_list_has_places(self) -> None:
        p = Problem(
            np.array([[[3.0, 2.0, 1.0]]], np.float32),
            np.array([[False, True, True]]),
            np.ones((1, 3), bool),
            np.array([4]),
        )
        assert p.ndcg(p.features[0]) == pytest.approx(plain_ndcg(p.features[0, 0], p.wanted[0], 4))

    def test_loss_is_the_surprise_at_what_was_wanted(self) -> None:
        p, weights = drawn(2), np.array([0.3, 0.1, 0.6])
        each = []
        for row in range(len(p.real)):
            scores = (weights[:, None] * p.features[:, row].astype(float)).sum(axis=0)[p.real[row]]
            log_chance = scores - math.log(np.exp(scores).sum())
            each.append(-log_chance[p.wanted[row][p.real[row]]].sum() / p.relevant[row])
        assert p.loss(weights)[0] == pytest.approx(np.mean(each), rel=1e-5)

    def test_scores_far_apart_do_not_run_over(self) -> None:
        p = drawn(15)
        value, slope = replace(p, features=p.features * 1000).loss(np.array([0.3, 0.1, 0.6]))
        assert 0 < value < np.inf
        assert np.isfinite(slope).all()

    def test_the_gradient_is_the_slope(self) -> None:
        p, at = drawn(3), np.array([0.3, 0.1, 0.6])
        _, slope = p.loss(at)
        for member in range(3):
            step = np.zeros(3)
            step[member] = 1e-2
            numeric = (p.loss(at + step)[0] - p.loss(at - step)[0]) / 2e-2
            assert slope[member] == pytest.approx(numeric, rel=1e-2, abs=1e-4)


class TestScales:
    SCORES = np.random.default_rng(4).gamma(0.5, 3.0, (5, 40)).astype(np.float32)

    def test_scores_are_drawn_in_as_by_the_inverse_hyperbolic_sine(self) -> None:
        """Small numbers as well: most items' popularity lies near the middle, and must stay in order."""
        parts = [np.linspace(-60, 60, 4001), np.geomspace(1e-12, 1, 500), [0.0, -1e-6]]
        scores = np.concatenate(parts).astype(np.float32)
        np.testing.assert_allclose(drawn_in(scores.copy()), np.arcsinh(scores), rtol=1e-6)

    def test_rows_are_told_by_their_own_mean_and_spread(self) -> None:
        middle, spread = self.SCORES.mean(axis=1, keepdims=True), self.SCORES.std(axis=1, keepdims=True)
        whole = np.arcsinh((self.SCORES - middle) / spread)
        np.testing.assert_allclose(standardised(self.SCORES.copy()), whole, rtol=1e-4, atol=1e-6)
        found = moments(self.SCORES)
        np.testing.assert_allclose(found[0], middle[:, 0], rtol=1e-6)
        np.testing.assert_allclose(found[1], spread[:, 0], rtol=1e-6)
        assert [m.shape for m in found] == [(5,), (5,)]

    def test_a_row_that_is_all_alike_says_nothing(self) -> None:
        alike = np.full((2, 8), 3.0, np.float32)
        assert standardised(alike).tolist() == np.zeros((2, 8)).tolist()
        assert moments(alike)[1].tolist() == [np.inf, np.inf]

    @pytest.mark.parametrize("rows", [1, 3])
    def test_what_is_the_same_for_all_is_worked_out_once(self, rows: int) -> None:
        same = np.broadcast_to(self.SCORES[:1], (rows, 40))
        np.testing.assert_allclose(standardised(same), standardised(np.tile(self.SCORES[:1], (rows, 1))))
        for one, other in zip(moments(same), moments(np.tile(self.SCORES[:1], (rows, 1))), strict=True):
            np.testing.assert_allclose(one, other)
            assert one.shape == (rows,)

    def test_nobody_has_no_moments(self) -> None:
        assert [m.shape for m in moments(self.SCORES[:0])] == [(0,), (0,)]


class TestCandidates:
    N = 500  # items: each member names an eighth, 62

    def drawn(self, users: int = 6) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        rng = np.random.default_rng(5)
        values = [rng.normal(2, 3, (users, self.N)).astype(np.float32) for _ in range(2)]
        return values, rng.random((users, self.N)) < 0.3, rng.random((users, self.N)) < 0.02

    def test_they_are_what_any_member_puts_high_and_nobody_has(self) -> None:
        values, taken, wanted = self.drawn()
        p = blend_weights._candidates(values, taken, wanted)
        for row in range(6):
            high = set[int]()
            for member in values:
                free = np.where(taken[row], -np.inf, member[row])
                high |= set(np.argsort(-free)[: self.N // 8].tolist())
            columns = sorted(high)
            assert p.real[row].sum() == len(columns)
            assert not p.real[row, len(columns) :].any()
            assert p.features[:, row, : len(columns)].tolist() == [m[row, columns].tolist() for m in values]
            assert not p.features[:, row, len(columns) :].any()
            assert p.wanted[row, : len(columns)].tolist() == wanted[row, columns].tolist()
            assert not p.wanted[row, len(columns) :].any()
        assert p.relevant.tolist() == wanted.sum(axis=1).tolist()

    @pytest.mark.parametrize(("items", "named"), [(30, 30), (80, 50), (800, 100), (5000, 150)])
    def test_how_many_a_member_names(self, items: int, named: int) -> None:
        scores = np.random.default_rng(6).normal(size=(2, items)).astype(np.float32)
        none = np.zeros((2, items), bool)
        assert blend_weights._candidates([scores], none, none).real.sum(axis=1).tolist() == [named, named]

    def test_standard_scores_are_those_over_the_whole_catalogue(self) -> None:
        values, taken, wanted = self.drawn()
        plain = blend_weights._candidates(values, taken, wanted)
        p = blend_weights._candidates(values, taken, wanted, standard=True)
        whole = [standardised(v.copy()) for v in values]
        for member in range(2):
            for row in range(6):
                places = [np.flatnonzero(values[member][row] == v)[0] for v in plain.features[member, row][p.real[row]]]
                expected = whole[member][row, places]
                np.testing.assert_allclose(p.features[member, row][p.real[row]], expected, rtol=1e-5, atol=1e-6)

    def test_a_large_catalogue_has_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values, taken, wanted = self.drawn()
        plain = blend_weights._candidates(values, taken, wanted)
        monkeypatch.setattr(blend_weights, "_LARGE", self.N - 1)
        np.testing.assert_array_equal(blend_weights._candidates(values, taken, wanted).features, plain.features)

    def test_parts_are_joined_as_wide_as_the_widest(self) -> None:
        one, other = drawn(7, users=3, width=14), drawn(8, users=5, width=25)
        p = blend_weights._joined([one, other])
        assert p.features.shape == (3, 8, 25)
        weights = np.array([0.2, 0.5, 0.3])
        mean = (3 * one.ndcg(one.scores(weights)) + 5 * other.ndcg(other.scores(weights))) / 8
        assert p.ndcg(p.scores(weights)) == pytest.approx(mean)
        assert p.relevant.tolist() == [*one.relevant.tolist(), *other.relevant.tolist()]

    @pytest.mark.parametrize(
        ("users", "items", "asked"),
        [
            (20_000, 0, 20_000),
            (20_000, 5_000, 20_000),
            (20_000, 100_000, 1000),
            (20_000, 1_000_000, 500),
            (90, 10**6, 90),
        ],
    )
    def test_fewer_are_asked_where_there_are_many_items(self, users: int, items: int, asked: int) -> None:
        assert blend_weights._asked(users, items) == asked


@pytest.fixture(scope="module")
def split() -> Split:
    return time_split(checkerboard(), 90.0)


@pytest.fixture(scope="module")
def members(split: Split) -> dict[str, Model]:
    return {
        "ease": EASE.fit(split.train, EASEConfig()),
        "popular": Popular.fit(split.train, PopularConfig()),
    }


class TestWindow:
    """The problem of a window, by members that were fitted on its past."""

    def test_features_are_what_the_members_say(self, split: Split, members: dict[str, Model]) -> None:
        p = problem(members, split, 1000, 1)
        task = Task.of(split, max_users=1000, seed=1)
        assert p.relevant.tolist() == task.relevant.tolist()
        seen = task.seen.toarray() > 0  # type: ignore[union-attr]
        for label, feature in zip(members, p.features, strict=True):
            whole = standardised(np.array(members[label].score(task.histories, split.now)))
            for row in range(len(task.users)):  # a catalogue of fifty: all are candidates, but for what they have
                expected = whole[row, ~seen[row]]
                np.testing.assert_allclose(feature[row][p.real[row]], expected, rtol=1e-4, atol=1e-5)

    def test_blocks_of_customers_change_nothing(
        self, split: Split, members: dict[str, Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = problem(members, split, 1000, 1)
        monkeypatch.setattr(blend_weights, "_VALUES", 0)
        parts = problem(members, split, 1000, 1)
        assert len(whole.real) > 2 * 8
        for name in ("features", "wanted", "real", "relevant"):
            np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-6)

    def test_no_more_are_asked_than_wished(self, split: Split, members: dict[str, Model]) -> None:
        some = problem(members, split, 17, 1)
        assert len(some.real) == 17
        assert problem(members, split, 17, 1).features.tolist() == some.features.tolist()
        assert problem(members, split, 17, 2).wanted.tolist() != some.wanted.tolist(), "a sample, by its seed"

    def test_who_tells_all_the_same_is_asked_once(
        self, split: Split, members: dict[str, Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked, score = list[int](), Popular.score
        monkeypatch.setattr(Popular, "score", lambda self, h, now: (asked.append(len(h)), score(self, h, now))[1])
        problem(members, split, 1000, 1)
        assert asked == [1]


class TestLearn:
    def test_learning_finds_the_member_that_knows(self) -> None:
        rng = np.random.default_rng(0)
        wanted = np.zeros((200, 60), dtype=bool)
        wanted[np.arange(200), rng.integers(0, 60, 200)] = True
        knows = wanted * 2 + rng.normal(0, 1, wanted.shape)
        guesses = rng.normal(0, 1, wanted.shape)
        p = Problem(np.stack([guesses, knows]).astype(np.float32), wanted, np.ones_like(wanted), wanted.sum(axis=1))
        weights, reached = learn([p], 2)
        assert weights[1] > 0.8
        assert weights.sum() == pytest.approx(1)
        assert reached >= p.ndcg(p.scores(np.array([0.5, 0.5])))

    def test_what_is_reached_is_the_mean_over_windows(self) -> None:
        windows = [drawn(n) for n in (9, 10, 11)]
        weights, reached = learn(windows, 3)
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()
        assert reached == pytest.approx(np.mean([p.ndcg(p.scores(weights)) for p in windows]), abs=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_moving_weights_never_loses_what_likelihood_found(self, seed: int) -> None:
        """And gains, where nothing but noise was to be learned: the best list of a window is not its likeliest."""
        p = drawn(20 + seed)
        likely = blend_weights._likeliest([p], 3)
        start = likely / likely.sum() if likely.any() else np.full(3, 1 / 3)
        assert learn([p], 3)[1] > p.ndcg(p.scores(start)) + 1e-6

    def test_likelihood_is_at_its_highest(self) -> None:
        windows = [drawn(n) for n in (12, 13)]
        for p in windows:  # so that no weight is held back at 0
            p.features[:] += 0.5 * p.wanted

        def value(weights: np.ndarray) -> float:
            return float(np.mean([p.loss(weights)[0] for p in windows]) + 1e-3 * weights @ weights)

        found = blend_weights._likeliest(windows, 3)
        assert (found > 0.05).all()
        for member in range(3):
            for step in (-0.05, 0.05):
                beside = found.copy()
                beside[member] += step
                assert value(beside) > value(found)

    def test_each_weight_is_moved_while_that_helps(self) -> None:
        """The same by scores that are worked out anew for every move."""
        windows = [drawn(n) for n in (16, 17)]

        def reached(weights: np.ndarray) -> float:
            return float(np.mean([p.ndcg(p.scores(weights)) for p in windows]))

        likely = blend_weights._likeliest(windows, 3)
        weights = likely / likely.sum() if likely.any() else np.full(3, 1 / 3)
        best = reached(weights)
        for step in (0.3, 0.15, 0.07):
            for member in range(3):
                for move in (-step, step):
                    tried = weights.copy()
                    tried[member] = max(weights[member] + move * weights.sum(), 0)
                    if tried.sum() > 0 and reached(tried) > best + 1e-6:
                        weights, best = tried, reached(tried)
        found, value = learn(windows, 3)
        np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-4)
        assert value == pytest.approx(best, abs=1e-6)

    def test_members_that_say_nothing_count_alike(self) -> None:
        p = drawn(14)
        weights, _ = learn([replace(p, features=np.zeros_like(p.features))], 3)
        np.testing.assert_allclose(weights, np.full(3, 1 / 3), atol=0.01)


def bought(rows: list[list[tuple[int, float, str]]], weight: dict[str, float]) -> Histories:
    """Histories of (item, day, kind)."""
    flat = [event for row in rows for event in row]
    kinds = tuple(weight)
    return Histories(
        np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64),
        np.array([e[0] for e in flat], np.int32),
        np.array([e[1] * DAY for e in flat], np.int64),
        np.array([kinds.index(e[2]) for e in flat], np.uint8),
        np.ones(len(flat), np.float32),
        kinds,
        np.array(list(weight.values()), np.float32),
    )


class TestOwn:
    WEIGHT = {"purchase": 1.0, "view": 0.25, "refund": -1.0}  # noqa: RUF012

    def told(self, *row: tuple[int, float, str]) -> dict[int, dict[str, float]]:
        matrix, features = own_features(bought([list(row), []], self.WEIGHT), 6)
        assert matrix.shape == (2, 6)
        assert features.shape == (len(OWN), matrix.nnz)
        return {int(i): dict(zip(OWN, features[:, n].tolist(), strict=True)) for n, i in enumerate(matrix.indices)}

    def test_what_is_told_of_what_was_bought(self) -> None:
        told = self.told((1, 0, "purchase"), (1, 3, "purchase"), (1, 9, "purchase"), (4, 23, "purchase"))
        assert told[4] == {"had": 1.0, "count": 0.0, "week": 1.0, "season": 1.0}
        assert told[1]["had"] == 1.0
        assert told[1]["count"] == pytest.approx(math.log(3))
        assert told[1]["week"] == pytest.approx(math.exp(-14 / 7), rel=1e-4)
        assert told[1]["season"] == pytest.approx(math.exp(-14 / 60), rel=1e-4)

    def test_what_was_looked_at_or_came_back_is_not_told(self) -> None:
        told = self.told((0, 0, "view"), (2, 1, "purchase"), (3, 2, "purchase"), (3, 3, "refund"))
        assert set(told) == {2}

    def loyal(self, again: bool) -> Any:
        """Sixty customers with ten orders each: of one item each time, or of another one each time."""
        rows = [[((u if again else u + 7 * n) % 40, (n * 10 + 1) * DAY + u) for n in range(10)] for u in range(60)]
        return dataset(rows, 40)

    @staticmethod
    def silent(block: Histories, now: int) -> np.ndarray:
        return np.random.default_rng(len(block)).normal(size=(len(block), 40)).astype(np.float32)

    def test_who_always_buys_the_same_is_shown_it_first(self) -> None:
        own = learn_own(self.silent, time_split(self.loyal(again=True), 25.0), 1)
        assert set(own) == set(OWN)
        assert all(value == round(value, 4) for value in own.values())
        assert sum(own.values()) > 4  # above all that the blend says: standard scores of forty reach 2 or 3

    def test_who_never_buys_the_same_is_not(self) -> None:
        assert learn_own(self.silent, time_split(self.loyal(again=False), 25.0), 1) == {}

    def test_where_nothing_is_bought_nothing_is_had(self) -> None:
        split = time_split(self.loyal(again=True), 25.0)
        looked = replace(split.future, kinds=("view",))
        assert learn_own(self.silent, replace(split, future=looked), 1) == {}

    def test_blocks_of_customers_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        split = time_split(self.loyal(again=True), 25.0)

        def by_item(block: Histories, now: int) -> np.ndarray:
            return np.tile(np.sin(np.arange(40, dtype=np.float32)), (len(block), 1))

        whole = learn_own(by_item, split, 1)
        monkeypatch.setattr(blend_weights, "_VALUES", 0)
        assert learn_own(by_item, split, 1) == whole
