"""Splits hide what they say, and nothing that was hidden reaches a model or its lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from known import checkerboard, dataset

from recsys_cli.evaluation import evaluate, holdout, last_split, rolling, share_split, time_split
from recsys_cli.evaluation.leaderboard import leaderboard
from recsys_cli.models.als import ALS, ALSConfig
from recsys_cli.models.ease import EASE, EASEConfig
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.schema import DAY
from recsys_cli.settings import Settings
from recsys_cli.tuning.compare import compare

DATA = checkerboard()


class TestSplits:
    def test_by_time_the_past_ends_where_the_future_begins(self) -> None:
        split = time_split(DATA, 40)
        assert split.train.interactions.histories.ts.max() < split.cut <= split.future.ts.min()
        whole = DATA.interactions.histories.n_events
        assert split.train.interactions.histories.n_events + split.future.n_events == whole

    def test_a_step_back_sees_nothing_later(self) -> None:
        newest, older = time_split(DATA, 40), time_split(DATA, 40, steps_back=1)
        assert older.future.ts.max() < newest.cut
        assert older.train.interactions.histories.ts.max() < older.cut < newest.cut

    def test_last_hides_one_of_each(self) -> None:
        split = last_split(DATA)
        assert (np.diff(split.future.indptr) == 1).all()
        h = DATA.interactions.histories
        assert split.future.item.tolist() == h.item[h.indptr[1:] - 1].tolist()

    def test_random_hides_a_fifth_and_repeats(self) -> None:
        split = share_split(DATA, 3, latest=False)
        assert (np.diff(split.future.indptr) == 1).all()  # of five
        assert share_split(DATA, 3, latest=False).future.item.tolist() == split.future.item.tolist()

    def test_wanted_is_new_unless_repeats_count(self) -> None:
        shop = dataset([[(0, DAY), (1, 2 * DAY), (0, 9 * DAY), (2, 9 * DAY)]] * 3, 3)
        split = time_split(shop, 2)
        assert split.wanted().toarray().tolist() == [[0, 0, 1]] * 3
        assert split.wanted(repeat=True).toarray().tolist() == [[1, 0, 1]] * 3

    def test_the_later_fifth_of_each(self) -> None:
        rows = [[(u + i, (u % 9 + i) * DAY) for i in range(10)] for u in range(30)]
        split = share_split(dataset(rows, 40), latest=True)
        assert (np.diff(split.future.indptr) == 2).all()
        assert split.future.item.tolist() == [u + i for u in range(30) for i in (8, 9)]

    def test_what_has_one_time_is_hidden_at_random_and_not_by_item(self) -> None:
        split = holdout(dataset([[(i, DAY) for i in range(10)]] * 50, 10))
        assert split is not None
        assert split.by == "fifth"
        assert not split.asked
        counts = np.bincount(split.future.item, minlength=10)
        assert counts.sum() == 100
        assert counts.min() > 0

    @pytest.mark.parametrize(
        "times",
        [
            pytest.param(lambda user, n: (1 + n) * DAY, id="each customer's events numbered"),
            pytest.param(lambda user, n: 2 * DAY, id="one day"),
            pytest.param(lambda user, n: (6 * user + n) * 3600, id="lines of the file numbered"),
        ],
    )
    def test_times_that_mean_nothing(self, times: Callable[[int, int], int]) -> None:
        rows = [[((u + i) % 7, times(u, i)) for i in range(4 + u % 3)] for u in range(200)]
        split = holdout(dataset(rows, 7))
        assert split is not None
        assert split.by == "fifth"

    def test_a_year_of_orders_is_believed(self) -> None:
        rng = np.random.default_rng(0)
        rows = [[(i, int(day) * DAY) for i, day in enumerate(np.sort(rng.integers(0, 365, 5)))] for _ in range(200)]
        split = holdout(dataset(rows, 7))
        assert split is not None
        assert split.by == "time"

    def test_too_few_who_came_back(self) -> None:
        """Everybody has one busy week: no month tells of the next, but histories can be cut."""
        rows = [[(i, (u * 30 // 8) * DAY + i * 3600 + u) for i in range(5)] for u in range(100)]
        split = holdout(dataset(rows, 7))
        assert split is not None
        assert split.by == "fifth"

    def test_nobody_to_judge_by(self) -> None:
        assert holdout(dataset([[(0, 1)]], 2)) is None

    def test_rolling_windows_never_overlap(self) -> None:
        splits = rolling(DATA, 3, 40)
        assert len(splits) == 3
        for newer, older in pairwise(splits):
            assert older.future.ts.max() < newer.cut
            assert older.train.interactions.histories.ts.max() < older.cut


class TestEvaluate:
    def test_a_model_that_knows_beats_popularity(self) -> None:
        split = time_split(DATA, 90)
        report = evaluate({"ease": EASE.fit(split.train, EASEConfig(ridge=1.0, popular_ridge=0.1))}, split)
        assert report.metrics["ease"]["ndcg@10"].value > report.metrics["popular"]["ndcg@10"].high
        lead = report.differences["ease"]["popular"]["ndcg@10"]
        assert lead.low > 0
        assert lead.value == pytest.approx(-report.differences["popular"]["ease"]["ndcg@10"].value)
        assert report.best() == "ease"

    def test_what_a_model_leaves_empty_is_filled_and_told(self) -> None:
        """A model that answers little must not look good because its short lists were never judged."""
        shop = dataset([[(u % 3, DAY), (3, 50 * DAY + u), (4, 99 * DAY)] for u in range(40)], 5)
        split = time_split(shop, 10)
        report = evaluate({"ease": EASE.fit(split.train, EASEConfig())}, split)
        assert report.lists["ease"]["fallback_share"] > 0.5
        assert report.lists["popular"]["fallback_share"] > 0.5  # five items cannot fill twenty places

    def test_same_seed_same_report(self) -> None:
        split = time_split(DATA, 90)
        model = Popular.fit(split.train, PopularConfig())
        one, two = (evaluate({"p": model}, split, max_users=50, seed=1).as_dict() for _ in range(2))
        one.pop("cost")
        two.pop("cost")
        assert one == two

    def test_who_asked_for_a_split_is_not_told_that_there_was_no_other(self, values: Settings, tmp_path: Path) -> None:
        here = replace(values, artifacts=tmp_path)
        assert "are not reliable" not in compare(DATA, here, ["popular"], by="fifth").split["note"]
        same_time = dataset([[(i, DAY) for i in range(10)]] * 50, 10)
        assert "are not reliable" in compare(same_time, here, ["popular"]).split["note"]

    def test_leaderboard_notes_the_cost(self) -> None:
        split = time_split(DATA, 90)
        report = leaderboard(split, {"als": (ALS, ALSConfig(factors=4)), "popular": (Popular, PopularConfig())})
        assert report.cost["als"]["fit_seconds"] > 0
        assert "memory_mb" in report.cost["als"]
        assert report.split["users"] > 50
