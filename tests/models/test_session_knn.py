"""`session-knn` on visits whose neighbours are known, and that it holds none of them."""

from __future__ import annotations

import math

import numpy as np
from known import dataset

from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.models.session_knn import SessionKNN, SessionKNNConfig
from recsys_cli.schema import DAY, Dataset, Histories


def visits(items: list[list[int]], n_items: int, *, day: int = 1) -> Dataset:
    """Visit n begins n minutes after midnight, a click every second."""
    return dataset([[(i, day * DAY + 60 * n + at) for at, i in enumerate(row)] for n, row in enumerate(items)], n_items)


def written_out(rows: list[list[int]], history: list[int], n_items: int, c: SessionKNNConfig) -> np.ndarray:
    """The votes by loops over visits; every item at most once in each."""
    scores = np.zeros(n_items)
    weight = {item: math.exp(-age / c.recall) for age, item in enumerate(reversed(history))}
    sold = np.bincount([i for row in rows for i in row], minlength=n_items)
    for row in rows:
        common = [i for i in row if i in weight]
        if not common or len(row) < 2:
            continue
        alike = sum(weight[i] for i in common) * len(row) ** -c.length
        newest = row.index(max(common, key=lambda i: weight[i]))
        for at, item in enumerate(row):
            if at != newest:
                near = math.exp((1 - abs(at - newest)) / c.spread) * (1 if at > newest else c.backward)
                scores[item] += alike * near * sold[item] ** -c.popular
    return scores


def test_is_the_formula() -> None:
    rng = np.random.default_rng(5)
    rows = [rng.permutation(9)[: rng.integers(1, 7)].tolist() for _ in range(40)]
    config = SessionKNNConfig(own=1, popular=0.3)
    model = SessionKNN.fit(visits(rows, 10), config)
    asked = [[0, 4], [8], [3, 1, 2]]
    want = [written_out(rows, history, 10, config) for history in asked]
    histories = visits(asked, 10).interactions.histories
    np.testing.assert_allclose(model.score(histories, DAY), want, rtol=1e-4, atol=1e-6)


def test_only_the_most_alike_and_the_newest_count() -> None:
    rows = [[0, 1, 2], [0, 1, 3], [0, 4], [0, 5], [0, 6]]
    both = visits([[0, 1]], 7).interactions.histories
    few = SessionKNN.fit(visits(rows, 7), SessionKNNConfig(neighbours=2, own=0))
    assert np.flatnonzero(few.score(both, DAY)[0]).tolist() == [2, 3]
    newest = SessionKNN.fit(visits(rows, 7), SessionKNNConfig(sample=2, own=0))
    assert np.flatnonzero(newest.score(visits([[0]], 7).interactions.histories, DAY)[0]).tolist() == [5, 6]


def test_older_visits_say_less() -> None:
    data = dataset([[(0, DAY), (1, DAY + 1)], [(0, 31 * DAY), (2, 31 * DAY + 1)]], 3)
    model = SessionKNN.fit(data, SessionKNNConfig(age_days=10, own=0))
    score = model.score(Histories.of([[0]], ts=32 * DAY), 32 * DAY)[0]
    assert math.isclose(score[1] / score[2], math.exp(-3), rel_tol=1e-3)


def test_finds_out_whether_visitors_go_back() -> None:
    assert SessionKNN.fit(visits([[0, 1, 0, 2, 0]] * 5, 3), SessionKNNConfig()).config.own == 1
    assert SessionKNN.fit(visits([[0, 1, 2]] * 5, 3), SessionKNNConfig()).config.own == 0


def test_holds_no_visit_and_forgets_whoever_is_no_longer_in_the_histories() -> None:
    """As `write_histories` without the person leaves it: the same as if they had never come."""
    rows = [[0, 1, 2], [0, 3, 4], [0, 1, 2]]
    data = visits(rows, 5)
    model = SessionKNN.fit(data, SessionKNNConfig(popular=0))
    assert {name: array.shape for name, array in model.state().arrays.items()} == {"said": (5,)}
    rest = data.interactions.histories.rows(np.array([0, 2]))
    without = SessionKNN.from_state(model.config, 5, model.state()).bound(rest)
    asked = Histories.of([[0]], ts=DAY)
    assert np.flatnonzero(model.score(asked, DAY)[0]).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(without.score(asked, DAY)[0]).tolist() == [1, 2]
    never = SessionKNN.fit(visits([rows[0], rows[2]], 5), SessionKNNConfig(popular=0))
    np.testing.assert_array_equal(without.score(asked, DAY), never.score(asked, DAY))
    assert not SessionKNN.from_state(model.config, 5, model.state()).score(asked, DAY).any()  # nobody to ask
    assert not model.bound(rest.rows(np.array([], dtype=np.int64))).score(asked, DAY).any()


def test_a_blend_binds_its_members() -> None:
    data = visits([[0, 1, 2], [0, 3, 4]] * 4, 5)
    members = {"session-knn": {"model": "session-knn", "config": {}, "weight": 1.0}}
    blend = Blend.fit(data, BlendConfig(members=members))
    loaded = Blend.from_state(blend.config, 5, blend.state()).bound(data.interactions.histories)
    asked = Histories.of([[0]], ts=DAY)
    assert loaded.score(asked, DAY).any()
    np.testing.assert_array_equal(loaded.score(asked, DAY), blend.score(asked, DAY))
