"""Each model against its formula written out, or against the library that fits it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
from known import catalogue, checkerboard, dataset

from recsys_cli.errors import InputError, UsageError
from recsys_cli.models.als import ALS, ALSConfig
from recsys_cli.models.blend import Blend, BlendConfig
from recsys_cli.models.content import Content, ContentConfig, described, read_vectors
from recsys_cli.models.ease import EASE, EASEConfig
from recsys_cli.models.item2vec import sentences, write_corpus
from recsys_cli.models.item_knn import ItemKNN, ItemKNNConfig
from recsys_cli.models.popular import Popular, PopularConfig
from recsys_cli.models.rp3beta import RP3beta, RP3betaConfig
from recsys_cli.models.spectral import Spectral, SpectralConfig
from recsys_cli.models.support.blend_weights import standardised
from recsys_cli.models.support.demand import popularity
from recsys_cli.models.support.item_matrix import neighbours, sparse_top_k
from recsys_cli.models.support.newness import boost
from recsys_cli.models.support.svd import orthonormal, right_vectors
from recsys_cli.progress import Progress
from recsys_cli.schema import DAY, Dataset, Histories
from recsys_cli.splitting.interactions import weigh
from recsys_cli.splitting.usable_time import usable_time


def random_shop(users: int = 60, items: int = 20, seed: int = 3) -> tuple[Dataset, np.ndarray]:
    """A shop without any pattern, and who has what as a dense matrix."""
    rng = np.random.default_rng(seed)
    picks = [rng.permutation(items)[: rng.integers(2, 9)] for _ in range(users)]
    rows = [[(int(i), d * DAY) for d, i in enumerate(chosen)] for chosen in picks]
    dense = np.zeros((users, items))
    for user, row in enumerate(rows):
        dense[user, [i for i, _ in row]] = 1
    return dataset(rows, items), dense


DATA, R = random_shop()


class TestEASE:
    CONFIG = EASEConfig(tau_days=0, user_power=0.2, ridge=3.0, popular_ridge=0.7, popular_power=0.3)

    def exact(self, dense: np.ndarray) -> np.ndarray:
        rows = dense * (dense.sum(axis=1, keepdims=True) ** -0.2)
        gram = rows.T @ rows
        inverse = np.linalg.inv(gram + np.diag(0.7 * np.diag(gram) ** 0.6 + 3.0))
        weights = -inverse / np.diag(inverse)[None, :]
        np.fill_diagonal(weights, 0)
        return weights

    def test_is_the_closed_form(self) -> None:
        model = EASE.fit(DATA, self.CONFIG)
        np.testing.assert_allclose(model.matrix, self.exact(R), rtol=1e-4, atol=1e-6)

    def test_on_all_neighbours_is_exact(self) -> None:
        """With everything a neighbour, the regression on neighbours is the whole regression."""
        data, dense = random_shop(users=600)  # so many that any two items were bought together
        config = EASEConfig(**{**self.CONFIG.as_dict(), "exact_items": 0, "neighbours": 19, "neighbour_power": 0.4})
        model = EASE.fit(data, config)
        np.testing.assert_allclose(model.matrix.toarray(), self.exact(dense), rtol=1e-3, atol=1e-4)


class TestNeighbours:
    def test_inner_products_without_itself(self) -> None:
        best = neighbours(sp.csr_matrix(R), 5, 1).toarray()
        gram = R.T @ R
        np.fill_diagonal(gram, 0)
        for row, true in zip(best, gram, strict=True):
            np.testing.assert_allclose(np.sort(row)[-5:], np.sort(true)[-5:])

    def test_cosine(self) -> None:
        model = ItemKNN.fit(DATA, ItemKNNConfig(tau_days=0, similarity="cosine", neighbours=19, shrink=1e-9))
        cosine = (R.T @ R) / np.sqrt(np.outer(R.sum(axis=0), R.sum(axis=0)))
        np.fill_diagonal(cosine, 0)
        np.testing.assert_allclose(model.matrix.toarray(), cosine, rtol=1e-4, atol=1e-6)

    def test_an_unknown_similarity_is_refused(self) -> None:
        with pytest.raises(UsageError, match="cosine, tfidf, bm25"):
            ItemKNN.fit(DATA, ItemKNNConfig(similarity="dice"))

    def test_rp3beta(self) -> None:
        model = RP3beta.fit(DATA, RP3betaConfig(tau_days=0, alpha=0.7, beta=0.4, neighbours=19))
        users, items = R.sum(axis=1), R.sum(axis=0)
        walk = (R / items).T ** 0.7 @ (R / users[:, None]) ** 0.7 / items[None, :] ** 0.4
        np.fill_diagonal(walk, 0)
        np.testing.assert_allclose(model.matrix.toarray(), walk, rtol=1e-4, atol=1e-6)

    def test_sparse_top_k_is_the_dense_one(self) -> None:
        matrix = sp.random(30, 50, 0.2, format="csr", random_state=1)
        items, scores = sparse_top_k(matrix, 4)
        for row, (found, values) in enumerate(zip(items, scores, strict=True)):
            true = np.sort(matrix[row].toarray().ravel())[::-1][:4]
            np.testing.assert_allclose(np.where(found < 0, 0, values), true, rtol=1e-6)


class TestSpectral:
    def test_right_vectors_are_numpys(self) -> None:
        found, values = right_vectors(sp.csr_matrix(R, dtype=np.float32), 4, seed=0, passes=12)
        _, true, back = np.linalg.svd(R)
        np.testing.assert_allclose(values, true[:4], rtol=1e-3)
        np.testing.assert_allclose(np.abs(np.sum(found * back[:4].T, axis=0)), 1, atol=1e-2)

    def test_blocks_of_rows_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole, _ = right_vectors(sp.csr_matrix(R, dtype=np.float32), 4, seed=0)
        monkeypatch.setattr("recsys_cli.models.support.svd._CHUNK", 12 * 7)
        parts, _ = right_vectors(sp.csr_matrix(R, dtype=np.float32), 4, seed=0)
        np.testing.assert_allclose(np.abs(np.sum(whole * parts, axis=0)), 1, atol=1e-3)

    def test_orthonormal_of_nearly_dependent_columns(self) -> None:
        rng = np.random.default_rng(0)
        basis = rng.standard_normal((200, 6)).astype(np.float32)
        basis[:, 5] = basis[:, 4] + 1e-3 * basis[:, 5]
        q = orthonormal(basis)
        np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-4)

    def test_is_the_filter(self) -> None:
        model = Spectral.fit(DATA, SpectralConfig(tau_days=0, factors=20, user_power=0.3, item_power=0.4))
        v = model.item_factors / R.sum(axis=0)[:, None] ** 0.4
        filtered = (R * R.sum(axis=0) ** -0.4) @ v @ v.T * R.sum(axis=0) ** 0.4
        np.testing.assert_allclose(model.score(DATA.interactions.histories, 0), filtered, rtol=1e-3, atol=1e-3)


class TestALS:
    def test_folding_in_is_implicits_own_step(self) -> None:
        """implicit's partial fit wants the whole history; so does ours, and both take the same step."""
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        model = ALS.fit(DATA, ALSConfig(tau_days=0, factors=6, alpha=3.0, regularization=2.0), seed=1, threads=1)
        with threadpool_limits(1, "blas"):
            theirs = AlternatingLeastSquares(factors=6, regularization=2.0, use_cg=False)
            theirs.item_factors = np.array(model.item_factors)
            confidence = sp.csr_matrix(1 + 3.0 * R[:5], dtype=np.float32)
            confidence.data[confidence.data == 1] = 0
            confidence.eliminate_zeros()
            expected = theirs.recalculate_user(np.arange(5), confidence)
        ours = model._fold_in(sp.csr_matrix(R[:5], dtype=np.float32), seen=1.0)
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)

    def test_begun_on_a_part_of_the_customers_it_comes_to_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        board = checkerboard()
        whole = ALS.fit(board, ALSConfig(factors=4), seed=1, threads=1)
        monkeypatch.setattr("recsys_cli.models.als._PART", 60)
        parts = [ALS.fit(board, ALSConfig(factors=4), seed=1, threads=1) for _ in range(2)]
        assert np.array_equal(parts[0].item_factors, parts[1].item_factors)
        past = board.interactions.histories
        found, expected = (m.score(past, board.interactions.end)[:, :32] for m in (parts[0], whole))
        assert not np.array_equal(found, expected)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99

    def test_explanation_adds_up_to_the_score(self) -> None:
        model = ALS.fit(DATA, ALSConfig(factors=6), seed=1, threads=1)
        history = DATA.interactions.histories.rows(np.array([4]))
        score = model.score(history, DATA.interactions.end)[0]
        for item in (0, 7, 13):
            assert sum(c for _, c in model.explain(history, item, 0)) == pytest.approx(score[item], rel=1e-3, abs=1e-5)

    def test_a_long_history_among_short_ones(self) -> None:
        """Batches are padded to their longest row: ten thousand items beside one must not cost ten thousand each."""
        model = ALS.fit(DATA, ALSConfig(factors=6), seed=1, threads=1)
        h = Histories.of([[1]] * 300 + [list(range(20)) * 500])
        assert np.isfinite(model.user_vectors(h, 0)).all()

    def test_what_nobody_bought_has_no_vector(self) -> None:
        """implicit leaves unsold items with their random start, which would be recommended."""
        shop = dataset([[(0, 1), (1, 2)], [(1, 1), (2, 2)]], 5)
        model = ALS.fit(shop, ALSConfig(factors=2), threads=1)
        assert not model.item_vectors()[3:].any()


class TestPopular:
    def test_is_aged_from_the_newest_event(self) -> None:
        early = [[(0, n % 10 * DAY), (0, (n % 10 + 1) * DAY)] for n in range(40)]
        shop = dataset([*early, *([[(1, 30 * DAY)], [(0, 2 * DAY)]] * 40)], 3)
        late = popularity(shop.interactions, 5.0)
        ever = popularity(shop.interactions, 0.0)
        assert late[1] > late[0] > late[2] == 0
        assert ever == pytest.approx([2 / 3, 1 / 3, 0])  # of the 120 customers

    def test_times_that_mean_nothing_do_not_age(self) -> None:
        rows = [[(i, (1 + i) * DAY) for i in range(2 + u % 3)] for u in range(60)]
        shop = dataset(rows, 5)
        assert not usable_time(shop.interactions.histories)
        np.testing.assert_allclose(popularity(shop.interactions, 1.0), popularity(shop.interactions, 0.0))

    def test_days_counted_from_each_customers_own_first_mean_nothing(self) -> None:
        rng = np.random.default_rng(0)
        rows = [
            [(0, DAY), *((1, int(d) * DAY) for d in np.sort(rng.integers(2, 3 + 4 * (u % 20), 9)))] for u in range(60)
        ]
        assert not usable_time(dataset(rows, 2).interactions.histories)

    def test_a_stretch_cut_from_a_busy_time_is_believed(self) -> None:
        """Most customers come nearly every day: so they are there on the first day of the file, and on its last."""
        rng = np.random.default_rng(0)
        rows = [[(int(i), int(t)) for i, t in enumerate(np.sort(rng.integers(DAY, 91 * DAY, 200)))] for _ in range(60)]
        assert usable_time(dataset(rows, 200).interactions.histories)

    def test_fills_from_the_top(self) -> None:
        model = Popular.fit(DATA, PopularConfig(tau_days=0))
        exclude = sp.csr_matrix(R[:4])
        items, _ = model.recommend(Histories.of([[]] * 4), 30, 0, exclude=exclude)
        for row, had in zip(items, R[:4], strict=True):
            real = row[row >= 0]
            assert set(real.tolist()) == set(np.flatnonzero((had == 0) & (R.sum(axis=0) > 0)).tolist())
            assert (np.diff(model.popularity[real]) <= 0).all()


class TestItem2Vec:
    def test_sentences_end_with_the_basket(self) -> None:
        shop = dataset([[(0, 10), (1, 10), (2, DAY)], [(3, 10)]], 4)
        words, ends = sentences(shop.interactions, baskets=True)
        assert words.tolist() == [0, 1, 2, 3]
        assert ends.tolist() == [False, True, True, True]

    def test_visits_end_with_half_an_hour(self) -> None:
        shop = dataset([[(0, 0), (1, 1700), (2, 4000)]], 3)
        loose = replace(shop.interactions, basket=np.full(3, -1, np.int32))
        assert sentences(loose, baskets=True)[1].tolist() == [False, True, True]

    def test_corpus_is_a_sentence_a_line(self, tmp_path: object) -> None:
        path = tmp_path / "corpus"  # type: ignore[operator]
        write_corpus(path, np.array([10, 2, 33], np.int32), np.array([False, True, True]))
        assert path.read_text() == "10 2\n33\n"


class TestContent:
    def test_tags_title_and_category_liken(self) -> None:
        shop = dataset(
            [[(0, 1)]], 4, title=["red cup", "red mug", "blue sofa", "sofa blue"], tags=["a|b", "a|b", "c", "c"]
        )
        items, _ = Content.fit(shop, ContentConfig()).similar(np.array([0, 2], np.int32), 1)
        assert items.ravel().tolist() == [1, 3]

    def test_an_item_of_its_own_kind_is_like_nothing(self) -> None:
        alone = catalogue(DATA.interactions.items, title=[f"w{n}" for n in range(20)])
        assert described(alone).shape[1] == 0

    def test_ready_made_vectors(self, tmp_path: object) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = tmp_path / "v.parquet"  # type: ignore[operator]
        pq.write_table(pa.table({"item_id": ["i1", "zz", "i0"], "vector": [[1.0, 0.0], [9.0, 9.0], [0.0, 2.0]]}), path)
        got = read_vectors(path, DATA.interactions.items)
        assert got[:3].tolist() == [[0, 2], [1, 0], [0, 0]]
        model = Content.fit(DATA, ContentConfig(vectors=str(path)))
        np.testing.assert_allclose(model.item_vectors()[:2], [[0, 1], [1, 0]])

    @pytest.mark.parametrize("vectors", [[[1.0], [1.0, 2.0]], [[], []], [[float("nan")], [1.0]]])
    def test_ready_made_vectors_that_are_none(self, tmp_path: object, vectors: list[list[float]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = tmp_path / "v.parquet"  # type: ignore[operator]
        pq.write_table(pa.table({"item_id": ["i0", "i1"], "vector": pa.array(vectors, pa.list_(pa.float64()))}), path)
        with pytest.raises(InputError, match=r"v\.parquet"):
            read_vectors(path, DATA.interactions.items)


class TestBlend:
    def test_what_is_the_same_for_all_counts_for_each(self) -> None:
        members = {name: {"model": name, "weight": 0.5} for name in ("rp3beta", "popular")}
        model = Blend.fit(DATA, BlendConfig(members=members), threads=1)
        h, now = DATA.interactions.histories, DATA.interactions.end
        whole = sum(0.5 * standardised(model.members[name].score(h, now)) for name in members)
        np.testing.assert_allclose(model.score(h, now), whole, rtol=1e-5, atol=1e-6)
        assert model.score(h.rows(np.arange(0)), now).shape == (0, model.n_items)

    def test_a_member_without_weight_is_left_out(self) -> None:
        members = {
            "a": {"model": "als", "config": {"factors": 4}, "weight": 1.0},
            "b": {"model": "ease", "config": {}, "weight": 0.0},
        }
        model = Blend.fit(checkerboard(), BlendConfig(members=members), threads=1)
        assert model.shares == {"a": 1.0}
        assert model.config.members["a"]["config"]["alpha"] > 0  # as it was settled

    def test_a_member_that_is_no_model_is_refused(self) -> None:
        with pytest.raises(UsageError, match="cannot have the member 'oracle'"):
            Blend.fit(checkerboard(), BlendConfig(members={"a": {"model": "oracle", "weight": 1.0}}))


class TestWhatIsBoughtAgain:
    """Customers with a staple of their own that they buy each week, among things of their block that they try once."""

    @staticmethod
    def shop(kind: str = "purchase") -> Dataset:
        rng = np.random.default_rng(0)
        rows = []
        for user in range(120):
            block = user % 3 * 20
            staple, tried = block + user % 7, block + 7 + rng.permutation(13)[:8]
            weekly = [(int(staple), (1 + 7 * week) * DAY + user) for week in range(24)]
            once = [(int(i), int(d) * DAY + user) for i, d in zip(tried, rng.permutation(160)[:8], strict=True)]
            rows.append(sorted(weekly + once, key=lambda event: event[1]))
        data = dataset(rows, 60)
        seen = data.interactions
        return replace(data, interactions=replace(seen, histories=replace(seen.histories, kinds=(kind,))))

    MEMBERS: ClassVar[dict[str, object]] = {"rp3beta": {"model": "rp3beta"}, "popular": {"model": "popular"}}

    def test_comes_first_where_repeats_are_asked_for(self) -> None:
        data = self.shop()
        h, now = data.interactions.histories, data.interactions.end
        model = Blend.fit(data, BlendConfig(members=self.MEMBERS), threads=1)
        plain = replace(model.config, own={})
        without = Blend.from_state(plain, model.n_items, model.state())
        staples = np.array([user % 3 * 20 + user % 7 for user in range(len(h))])
        assert (model.recommend(h, 1, now)[0][:, 0] == staples).mean() > 0.95
        assert (without.recommend(h, 1, now)[0][:, 0] == staples).mean() < 0.5
        bought = weigh(h, model.n_items)
        new = [each.recommend(h, 5, now, exclude=bought)[0] for each in (model, without)]
        np.testing.assert_array_equal(*new)  # what is new keeps its order
        again = Blend.from_state(BlendConfig.from_values(model.config.as_dict()), model.n_items, model.state())
        np.testing.assert_array_equal(again.score(h, now), model.score(h, now))

    def test_what_was_merely_looked_at_is_not_pushed(self) -> None:
        """It is not left out of lists, and would fill them all."""
        assert Blend.fit(self.shop("view"), BlendConfig(members=self.MEMBERS), threads=1).config.own == {}


class TestNewness:
    def test_only_what_is_surely_new_is_helped(self) -> None:
        """Item 1 was first had late, by many; item 2 by one, as what hardly sells is; item 3 by one, ever so often."""
        rows = [[(0, day * DAY + user) for day in range(1 + user % 50, 200, 9)] for user in range(60)]
        for user in range(12):
            rows[user].append((1, (180 + user) * DAY))
        rows[20].append((2, 181 * DAY))
        rows[21] += [(3, (181 + day) * DAY) for day in range(8)]
        shop = dataset([sorted(row, key=lambda event: event[1]) for row in rows], 4)
        found = boost(shop.interactions, 0.7)
        assert found[1] > 2
        np.testing.assert_array_equal(found[[0, 2, 3]], 1)
        np.testing.assert_array_equal(boost(shop.interactions, 0.0), 1)


def test_a_matrix_from_disk_has_one_width_of_indices() -> None:
    """Of two widths, every product would first copy all indices into the wider one."""
    model = RP3beta.fit(checkerboard(), RP3betaConfig(), threads=1)
    state = model.state()
    assert state.arrays["indptr"].dtype == np.int64
    again = RP3beta.from_state(model.config, model.n_items, state)
    assert again.matrix.indptr.dtype == again.matrix.indices.dtype == np.int32


def test_vectors_that_are_known_are_fitted_again_in_fewer_passes() -> None:
    """And come out as those that are fitted from the beginning."""
    data = checkerboard()
    steps: list[int] = []

    class Counted(Progress):
        @contextmanager
        def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
            steps.append(total or 0)
            yield lambda done: None

    whole = ALS.fit(data, ALSConfig(), seed=1, threads=1, progress=Counted())
    again = ALS.refit(data, ALSConfig(), whole, seed=2, threads=1, progress=Counted())
    assert steps[1] < steps[0]
    a, b = (model.score(data.interactions.histories, data.interactions.end) for model in (whole, again))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_a_new_season_is_fitted_from_nothing() -> None:
    """In few passes its vectors do not come off zero, and who bought only that would be told of none of it."""
    rng = np.random.default_rng(4)
    rows = [[(int(i), d * DAY) for d, i in enumerate(rng.permutation(10)[:4])] for _ in range(80)]
    newcomers = [[(10 + int(i), d * DAY) for d, i in enumerate(rng.permutation(10)[:4])] for _ in range(40)]
    past, data, config = dataset(rows, 10), dataset(rows + newcomers, 20), ALSConfig(factors=4)
    again = ALS.refit(data, config, ALS.fit(past, config, seed=1, threads=1), seed=2, threads=1)
    assert np.array_equal(again.item_factors, ALS.fit(data, config, seed=2, threads=1).item_factors)
    items, _ = again.recommend(data.interactions.histories, 3, data.interactions.end)
    assert (items[len(rows) :] >= 10).mean() > 0.9
