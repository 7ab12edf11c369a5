"""Lists of a blend in which only what members propose is blended, against the blend of everything."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from known import dataset

from recsys_cli.models import blend
from recsys_cli.models.base import Model
from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.models.support import blend_search
from recsys_cli.schema import DAY, Dataset

N_ITEMS = 400
MEMBERS = {
    "als": {"model": "als", "config": {"factors": 8}, "weight": 0.4},
    "rp3beta": {"model": "rp3beta", "config": {"neighbours": 20}, "weight": 0.3},
    "popular-3d": {"model": "popular", "config": {"tau_days": 3}, "weight": 0.2},
    "popular-ever": {"model": "popular", "config": {"tau_days": 0}, "weight": 0.1},
}


@pytest.fixture(scope="module")
def shop() -> tuple[Blend, Dataset]:
    """Customers of some tastes, with from none to forty purchases; a tenth of the items was never sold."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(500):
        within = rng.integers(0, 9, 40) + 9 * rng.integers(0, 40, 40) * (rng.random(40) < 0.2)
        picks = (within + 9 * (user % 40))[: rng.integers(0, 41)] % (N_ITEMS - 40)
        days = np.sort(rng.integers(1, 300, len(picks)))
        rows.append([(int(i), int(d) * DAY) for i, d in zip(picks, days, strict=True)])
    data = dataset(rows, N_ITEMS)
    own = {"had": 0.3, "count": 0.2, "week": 0.1, "season": 0.1}
    return Blend.fit(data, BlendConfig(members=MEMBERS, own=own), threads=1), data


def had(data: Dataset) -> sp.csr_matrix:
    h = data.interactions.histories
    ones = np.ones(h.n_events, np.float32)
    return sp.csr_matrix((ones, (h.row_of_event, h.item)), shape=(len(h), N_ITEMS))


@pytest.mark.parametrize("k", [1, 10, N_ITEMS + 5])
@pytest.mark.parametrize("repeat", [True, False], ids=["repeat", "new"])
@pytest.mark.parametrize("few", [True, False], ids=["few-allowed", "all-allowed"])
def test_with_proposals_enough_it_finds_what_blending_everything_finds(
    shop: tuple[Blend, Dataset], monkeypatch: pytest.MonkeyPatch, k: int, repeat: bool, few: bool
) -> None:
    model, data = shop
    histories, now = data.interactions.histories, data.interactions.end
    allowed = np.random.default_rng(1).random(N_ITEMS) < 0.3 if few else None
    told = {"exclude": None if repeat else had(data), "allowed": allowed}
    items, scores = Model.recommend(model, histories, k, now, **told)
    monkeypatch.setattr(blend, "_FULL_ITEMS", 0)
    monkeypatch.setattr(blend, "_SEARCHED", 64 * N_ITEMS)
    monkeypatch.setattr(blend_search, "_HEAD", 20)
    found, best = model.recommend(histories, k, now, **told)
    np.testing.assert_allclose(best, scores, rtol=1e-4, atol=1e-5)
    differ = found != items  # of items that are as good as equal, either may come first
    assert differ.mean() < 0.01
    full = model.score(histories, now)
    row, place = np.nonzero(differ & (found >= 0))
    np.testing.assert_allclose(full[row, found[row, place]], scores[row, place], rtol=1e-4, atol=1e-5)
    assert model.proposes(k) is (k <= 50)


@pytest.mark.parametrize("indexed", [False, True])
def test_with_few_proposals_little_is_lost(
    shop: tuple[Blend, Dataset], monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    model, data = Blend(shop[0].config, N_ITEMS, shop[0].members), shop[1]
    monkeypatch.setattr(blend_search, "_INDEXED", 0 if indexed else N_ITEMS)
    histories, now = data.interactions.histories, data.interactions.end
    full = model.recommend(histories, 5, now, exclude=had(data))[0]
    monkeypatch.setattr(blend, "_FULL_ITEMS", 0)
    for proposed, least in ((15, 0.9), (40, 0.99)):
        monkeypatch.setattr(blend_search, "PROPOSED", proposed)
        monkeypatch.setattr(blend_search, "_HEAD", proposed)
        mine = model.recommend(histories, 5, now, exclude=had(data))[0]
        some = full >= 0
        kept = (mine[:, :, None] == full[:, None, :]).any(axis=1)[some].mean()
        assert kept >= least
    assert list(model._indices) == (["als"] if indexed else [])
