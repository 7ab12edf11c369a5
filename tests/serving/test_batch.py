"""Lists for many at once."""

from __future__ import annotations

import numpy as np

from recsys_cli.schema import Histories
from recsys_cli.serving.batch import _alike


def test_who_did_the_same_one_thing_is_asked_for_once() -> None:
    rows = [
        [],
        [(3, 100, 0, 1)],
        [(3, 999, 0, 1)],  # at another time
        [(3, 100, 1, 1)],  # looked at, not bought
        [(3, 100, 0, 2)],  # two of them
        [(3, 100, 0, 2)],
        [(3, 100, 0, 1), (4, 100, 0, 1)],
        [(3, 100, 0, 1), (4, 100, 0, 1)],
        [(4, 100, 0, 1)],
        [],
    ]
    flat = [event for row in rows for event in row]
    item, ts, kind, qty = (np.array(values) for values in zip(*flat, strict=True))
    histories = Histories(
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        item.astype(np.int32),
        ts.astype(np.int64),
        kind.astype(np.uint8),
        qty.astype(np.float32),
        ("purchase", "view"),
        np.array([1, 0.1], np.float32),
    )
    once, answer = _alike(histories)
    assert (once[answer][[0, 9]] == once[answer][0]).all()
    assert once[answer][1] == once[answer][2]
    groups = [set(np.flatnonzero(answer == n).tolist()) for n in range(len(once))]
    assert sorted(map(sorted, groups)) == [[0, 9], [1, 2], [3], [4], [5], [6], [7], [8]]
    for row, of in enumerate(once[answer].tolist()):
        here, there = histories.rows(np.array([row])), histories.rows(np.array([of]))
        assert here.item.tolist() == there.item.tolist()
        assert here.kind.tolist() == there.kind.tolist()
        assert here.qty.tolist() == there.qty.tolist()
