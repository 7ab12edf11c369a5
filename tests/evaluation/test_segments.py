"""Segments: who is in them, and what strangers are shown."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from known import checkerboard, dataset

from recsys_cli.evaluation import evaluate, time_split
from recsys_cli.models.content import Content, ContentConfig
from recsys_cli.models.ease import EASE, EASEConfig
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.schema import DAY


def test_customers_fall_into_one_segment_each() -> None:
    split = time_split(checkerboard(), 90)
    report = evaluate({"p": Popular.fit(split.train, PopularConfig())}, split, segments=True)
    parts = report.segments["p"]
    assert sum(parts[s]["users"] for s in ("new", "light", "heavy") if s in parts) == report.split["users"]


def test_a_cold_item_is_found_by_content_alone() -> None:
    """Never sold, wanted by all who bought its kind: only what is said of it can lead to it."""
    rows = [[(u % 2, DAY + u), (2 + u % 2, 99 * DAY)] for u in range(40)]
    shop = dataset(rows, 6, category=["tea", "wood", "tea", "wood", "rock", "rock"])
    split = time_split(shop, 10)
    models = {"content": Content.fit(split.train, ContentConfig()), "ease": EASE.fit(split.train, EASEConfig())}
    report = evaluate(models, split, segments=True)
    assert report.segments["content"]["cold items"]["ndcg@10"] == pytest.approx(1.0)
    assert report.segments["ease"]["cold items"]["ndcg@10"] == 0.0


def test_strangers_get_popular_items_and_their_first_click_helps() -> None:
    known = checkerboard(users=200, seed=1).interactions.histories
    rows = [
        [(int(i), int(t)) for i, t in zip(known.item[a:b], known.ts[a:b], strict=True)]
        for a, b in pairwise(known.indptr)
    ]
    rng = np.random.default_rng(0)
    rows += [[(int(i), 380 * DAY + n) for n, i in enumerate(rng.permutation(8)[:4] + 8 * (u % 4))] for u in range(40)]
    split = time_split(dataset(rows, 34), 60)
    report = evaluate({"ease": EASE.fit(split.train, EASEConfig(ridge=1.0))}, split, segments=True)
    found = report.segments["ease"]
    assert found["strangers"]["users"] == found["first click"]["users"] == 40
    assert found["strangers"] == report.segments["popular"]["strangers"]
    assert found["first click"]["ndcg@10"] > 2 * found["strangers"]["ndcg@10"]
