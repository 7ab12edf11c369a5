"""Every event of the later part, asked for after what came before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from known import dataset

from recsys_cli.evaluation import Split, Task, evaluate, holdout
from recsys_cli.models.next_item import NextItem, NextItemConfig
from recsys_cli.schema import DAY, Dataset
from recsys_cli.tuning.auto import pick


def visits(n: int = 400, n_items: int = 40, seed: int = 0) -> Dataset:
    """Nobody comes back, nothing is bought: two at a time look at five items in the order of the catalogue."""
    rng = np.random.default_rng(seed)
    rows = []
    for visit in range(n):
        first, at = int(rng.integers(0, n_items - 5)), visit // 2 * DAY // 4 + visit % 2 * 30
        rows.append([(first + step, at + 60 * step) for step in range(5)])
    data = dataset(rows, n_items)
    seen = replace(data.interactions.histories, kinds=("view",))
    return replace(data, interactions=replace(data.interactions, histories=seen))


def test_each_event_is_wanted_after_those_before_it() -> None:
    data = dataset([[(0, DAY), (1, 2 * DAY), (2, 9 * DAY), (0, 10 * DAY)], [(3, 9 * DAY)], [(1, DAY)]], 4)
    past = data.before(5 * DAY)
    future = data.interactions.histories.where(data.interactions.histories.ts >= 5 * DAY)
    task = Task.of(Split(past, 5 * DAY, future, "next"))
    assert task.users.tolist() == [0, 0]  # the only event of a visit has nothing before it
    assert [task.histories.item[a:b].tolist() for a, b in zip([0, 2], [2, 5], strict=True)] == [[0, 1], [0, 1, 2]]
    assert task.wanted.indices.tolist() == [2, 0]  # what is in the history already counts, too
    assert task.seen is None


def test_each_basket_is_wanted_after_those_before_it() -> None:
    data = dataset([[(0, DAY), (1, 8 * DAY), (2, 8 * DAY), (0, 9 * DAY), (3, 9 * DAY)], [(3, 9 * DAY)]], 4)
    split = Split(data.before(5 * DAY), 5 * DAY, data.interactions.histories, "basket")
    split = replace(split, future=split.future.where(split.future.ts >= 5 * DAY))
    new = Task.of(split)
    assert new.users.tolist() == [0, 0]  # the only basket of a customer has nothing before it
    assert new.histories.item.tolist() == [0, 0, 1, 2]
    assert new.wanted.toarray().tolist() == [[0, 1, 1, 0], [0, 0, 0, 1]]
    assert new.seen is not None
    assert new.seen.toarray().tolist() == [[1, 0, 0, 0], [1, 1, 1, 0]]
    again = Task.of(split, repeat=True)
    assert again.seen is None
    assert again.wanted.toarray().tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


def test_a_shop_of_visits_is_judged_by_them() -> None:
    split = holdout(visits())
    assert split is not None
    assert split.by == "next"
    model = NextItem.fit(split.train, NextItemConfig())
    report = evaluate({"next-item": model}, split, segments=True)
    assert report.metrics["next-item"]["hr@10"].value > 0.95
    assert report.split["users"] == len(Task.of(split).users)
    assert report.split["note"].startswith("Each event of the later part was predicted")


def test_auto_takes_what_foresees_the_next_click() -> None:
    """Alone or with others: as good as the best of them."""
    won = pick(visits(), threads=1)
    assert won.final is not None
    assert won.final.report.metrics[won.name]["hr@10"].value > 0.95
    best = max(found["ndcg@10"].value for found in won.final.report.metrics.values())
    assert won.final.report.metrics[won.name]["ndcg@10"].value >= 0.98 * best


def test_a_shop_that_sells_is_judged_by_its_customers() -> None:
    split = holdout(dataset([[(0, (d + 1) * DAY), (1, (d + 1) * DAY)] for d in range(90)], 3))
    assert split is None or split.by != "next"
