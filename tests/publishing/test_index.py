"""The index finds what scoring everything finds, whatever kind was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_cli.errors import CorruptArtifact
from recsys_cli.publishing.index import ENOUGH_RECALL, MEASURE_FROM, build, long_first, save
from recsys_cli.publishing.large_index import _kept, build_large
from recsys_cli.serving.item_index import ItemIndex


def vectors(n: int, d: int = 16, *, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    """Directions at random, lengths log-normal."""
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(n, d))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return (unit * rng.lognormal(0, spread, (n, 1))).astype(np.float32)


def exact(base: np.ndarray, query: np.ndarray, k: int) -> np.ndarray:
    return np.sort(base @ query)[::-1][:k]


@pytest.mark.parametrize("k", [1, 10, 500, 3000])
def test_long_first_is_exact(k: int) -> None:
    base = vectors(3000)
    index = long_first(base, 300)
    for query in vectors(20, seed=1):
        scores, codes = index.search(query[None, :], k)
        np.testing.assert_allclose(scores[0], exact(base, query, k), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(base[codes[0]] @ query, scores[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01, 0.0])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_what_is_not_allowed_is_not_found(share: float, k: int) -> None:
    base = vectors(5000)
    index = long_first(base, 300)
    allowed = np.random.default_rng(2).random(len(base)) < share
    for query in vectors(10, seed=1):
        codes, scores = index.search_allowed(query, k, allowed[index.ids])
        assert allowed[codes].all()
        np.testing.assert_allclose(scores, exact(base[allowed], query, k), rtol=1e-4)


def test_negative_scores_are_found_too() -> None:
    base = -np.abs(vectors(3000))
    query = np.ones(16, dtype=np.float32)
    scores, _ = long_first(base, 300).search(query[None, :], 5)
    np.testing.assert_allclose(scores[0], exact(base, query, 5), rtol=1e-5)
    codes, worth = long_first(base, 300).search_allowed(query, 5, np.ones(3000, dtype=np.bool_))
    np.testing.assert_allclose(worth, exact(base, query, 5), rtol=1e-4)
    assert len(codes) == 5


def test_small_catalogues_are_not_measured() -> None:
    index = build(vectors(100))
    assert index.figures == {"kind": "exact"}
    codes, scores = index.search(vectors(1, seed=1), 200)
    assert (codes[0, 100:] == -1).all()
    assert np.isneginf(scores[0, 100:]).all()


@pytest.mark.parametrize("spread", [1.5, 0.0])
def test_the_kind_is_chosen_by_measuring(spread: float, tmp_path: Path) -> None:
    base = vectors(MEASURE_FROM, spread=spread)
    queries = vectors(64, seed=3)
    index = build(base, queries)
    kinds = {index.figures["kind"], *(c["kind"] for c in index.figures["candidates"])}
    assert {"exact", "long_first"} <= kinds
    assert len(kinds) == 4 or index.figures["kind"] == "long_first"
    assert index.figures["recall_at_100"] >= ENOUGH_RECALL
    assert all(
        index.figures["ms"] <= c["ms"] for c in index.figures["candidates"] if c["recall_at_100"] >= ENOUGH_RECALL
    )
    save(index, tmp_path / "index.faiss")
    again = ItemIndex.load(tmp_path / "index.faiss")
    assert again.figures == index.figures
    for one, other in zip(index.search(queries, 50), again.search(queries, 50), strict=True):
        np.testing.assert_array_equal(one, other)
    grown = build(np.vstack([base, 1000 * base[:1]]), like=again)
    assert grown.figures == index.figures
    codes, _ = grown.search(base[:1], 1)
    assert codes[0, 0] == len(base)


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    save(build(vectors(50)), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        ItemIndex.load(path)


def clustered(n: int, seed: int) -> np.ndarray:
    """Vectors around 30 centres, the same ones for every seed; a few are zero."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(30, 16))
    rows = (centres[rng.integers(0, 30, n)] + 0.3 * rng.normal(size=(n, 16))) * rng.lognormal(0, 0.5, (n, 1))
    rows[::50] = 0
    return rows.astype(np.float32)


def test_large_catalogues_are_searched_cell_by_cell(tmp_path: Path) -> None:
    base, queries = 3000 * clustered(8000, 0), clustered(100, 1)[1:50]
    index = build_large(base, queries)
    assert index.figures["recall_at_500"] >= 0.95
    save(index, tmp_path / "index.faiss")
    again = ItemIndex.load(tmp_path / "index.faiss")
    assert again.half
    codes, scores = again.search(queries, 500)
    hits = [np.isin(np.argsort(-(base @ q))[:500], row).mean() for q, row in zip(queries, codes, strict=True)]
    assert np.mean(hits) >= 0.95
    np.testing.assert_allclose(scores[0], base[codes[0]] @ queries[0], rtol=2e-3)
    assert base[codes].any(axis=2).all()
    some = np.arange(len(base)) % 7 == 0
    found, _ = again.search(queries, 50, np.packbits(some, bitorder="little"))
    assert some[found].all()
    best = [np.argsort(-(base @ q) * some)[:50] for q in queries]
    assert np.mean([np.isin(one, row).mean() for one, row in zip(best, found, strict=True)]) > 0.9
    # As a category does: it lies in a corner, and most visitors look elsewhere.
    corner = base[:, 0] > np.quantile(base[:, 0], 0.97)
    found, _ = again.search(queries, 10, np.packbits(corner, bitorder="little"))
    best = [np.argsort(-np.where(corner, base @ q, -np.inf))[:10] for q in queries]
    assert np.mean([np.isin(one, row).mean() for one, row in zip(best, found, strict=True)]) > 0.98
    # Half the file, as a float takes two bytes and a code eight.
    assert (tmp_path / "index.faiss").stat().st_size < 1.2 * len(base) * (16 * 2 + 8)


def test_a_large_index_grows_with_its_vectors(tmp_path: Path) -> None:
    base, queries = clustered(5000, 0), clustered(60, 1)[1:50]
    save(build_large(base, queries), tmp_path / "index.faiss")
    old = ItemIndex.load(tmp_path / "index.faiss")
    more = np.vstack([base, 5 * clustered(3, 2)])
    more[7] *= -30
    more[5001] *= 40
    grown = build_large(more, queries, like=old)
    assert (grown.figures, grown.index.ntotal) == (old.figures, old.index.ntotal + 2)
    for row in (7, 5001):
        codes, _ = grown.search(more[row : row + 1], 2)
        assert row in codes[0]
        assert codes[0, 0] == np.argmax(more @ more[row])
    kept, cell = _kept(old, more)
    assert cell[7] == -1
    assert (cell[more[:5000].any(axis=1).nonzero()[0]] >= 0).sum() == old.index.ntotal - 1
    np.testing.assert_array_equal(kept, old.index.quantizer.reconstruct_n(0, old.index.nlist))


def test_the_kind_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_cli.publishing.index.LARGE_FROM", 4000)
    small, large = build(clustered(3999, 0)), build(clustered(4001, 0), clustered(60, 1))
    assert (small.half, large.half) == (False, True)
    assert build(clustered(4002, 0), like=large).figures == large.figures
    assert not build(clustered(3000, 0), like=large).half
