"""Weighing one history is weighing many."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.models.base import ModelConfig
from recsys_cli.schema import Histories
from recsys_cli.serving.history import Past, weigh_one
from recsys_cli.splitting.interactions import weigh

KINDS = ("purchase", "view", "refund")
WEIGHT = np.array([1.0, 0.05, -1.0], dtype=np.float32)
moment = st.integers(0, 10_000_000) | st.integers(0, 3)
event = st.tuples(st.integers(0, 5), moment, st.integers(0, 2), st.integers(0, 5))


@given(
    st.lists(event, max_size=20),
    st.sampled_from([0.0, 30.0]),
    *[st.sampled_from([0.0, 0.5])] * 3,
)
def test_same_as_for_many(
    events: list[tuple[int, int, int, int]], tau: float, power: float, repeat: float, later: float
) -> None:
    events = sorted(events, key=lambda e: e[1])
    item, ts, kind, qty = (np.array([e[i] for e in events]) for i in range(4))
    past = Past(item.astype(np.int32), ts.astype(np.int64), kind.astype(np.uint8), qty.astype(np.float32))
    config = ModelConfig(tau_days=tau, qty_power=power, repeat_power=repeat, order_power=later)
    codes, weights = weigh_one(past, WEIGHT, config)
    like = Histories(*past.as_histories(_like()).__dict__.values())
    matrix = weigh(like, 6, tau, power, repeat, later)
    assert codes.tolist() == matrix.indices.tolist()
    np.testing.assert_allclose(weights, matrix.data, rtol=1e-5)


def _like() -> Histories:
    none = np.zeros(0, dtype=np.int64)
    return Histories(np.zeros(1, dtype=np.int64), none, none, none, none, KINDS, WEIGHT)  # type: ignore[arg-type]
