"""Items as words: what is bought or clicked together has vectors that go together."""

from __future__ import annotations

import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from ..errors import NotEnoughData
from ..progress import SILENT, Progress
from ..schema import Dataset, Float32, Int32, Int64, Interactions
from .base import Capabilities, Model, ModelConfig, Range, State, ageing, hyper
from .support.vectors import VectorModel, nearest, unit_rows

_SENTENCES = ("baskets", "histories")
_ENOUGH = 3_000_000  # words read in all
_PAUSE = 1800  # seconds without an event that end a visit, where the shop does not say


@dataclass(frozen=True)
class Item2VecConfig(ModelConfig):
    """Hyperparameters of `Item2Vec`."""

    tau_days: float = ageing(30.0, least=3)
    factors: int = hyper(64, "Length of the vectors.", Range(32, 128, True), low=1, high=2_000)
    sentences: str = hyper(
        "histories", "What is a sentence: baskets (orders, visits) or whole histories.", Range(choices=_SENTENCES)
    )
    epochs: int = hyper(0, "Passes over the data; 0 takes more for less data.", Range(3, 20, True), high=1_000)
    window: int = hyper(
        5, "Items before and after that count as near, along a history.", Range(2, 15, True), low=1, high=1_000
    )
    negatives: int = hyper(5, "Random items set against each pair.", Range(3, 15, True), low=1, high=1_000)
    sample_power: float = hyper(
        0.5, "Power of popularity that random items are drawn by.", Range(-0.5, 1), low=-1, high=2
    )
    popularity: float = hyper(0.5, "Weight of the logarithm of popularity in the score.", Range(0, 2), high=10)


class Item2Vec(VectorModel):
    """Skip-gram with negative sampling over baskets or histories (Barkan and Koenigstein 2016), by gensim.

    The score is the inner product of the history's mean inward vector with an item's outward one, which tells what
    comes with what (Mikolov's two sides; the inward side alone tells what can stand for what), plus popularity.

    Parameters
    ----------
    item_factors
        Outward vectors, and the logarithm of popularity as the last number, shape (n_items, d + 1).
    inward
        float32, shape (n_items, d).
    """

    name: ClassVar[str] = "item2vec"
    Config: ClassVar[type[ModelConfig]] = Item2VecConfig
    capabilities: ClassVar[Capabilities] = Capabilities(vectors=True)
    item_axes: ClassVar[dict[str, Any]] = {"item_factors": (0,), "trained": (0,), "inward": (0,)}
    config: Item2VecConfig

    def __init__(
        self,
        config: ModelConfig,
        item_factors: Float32,
        trained: NDArray[np.bool_] | None = None,
        inward: Float32 | None = None,
    ) -> None:
        super().__init__(config, item_factors, trained)
        shape = (len(item_factors), item_factors.shape[1] - 1)
        self.inward: Float32 = np.zeros(shape, np.float32) if inward is None else inward

    @classmethod
    def affordable(cls, data: Dataset) -> bool:
        """Every pair within a window is learned by gradient, many times over."""
        return data.interactions.histories.n_events <= 2_000_000

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: Item2VecConfig,
        *,
        seed: int = 42,
        threads: int = 0,
        progress: Progress = SILENT,
    ) -> Self:
        words, ends = sentences(data.interactions, baskets=config.sentences == "baskets")
        with progress.stage("Fitting item2vec"), tempfile.TemporaryDirectory(prefix="recsys-") as folder:
            corpus = Path(folder) / "corpus"
            write_corpus(corpus, words, ends)
            learned = _learn(corpus, ends, config, seed, threads or os.cpu_count() or 1)
        n, d = data.interactions.n_items, config.factors
        inward, outward = np.zeros((n, d), np.float32), np.zeros((n, d + 1), np.float32)
        codes = np.array(learned.wv.index_to_key, dtype=np.int64)
        inward[codes] = unit_rows(learned.wv.vectors)
        outward[codes, :d] = learned.syn1neg
        outward[codes, d] = np.log(np.bincount(words, minlength=n)[codes] / len(words)) + np.log(n)
        known: NDArray[np.bool_] = np.any(inward, axis=1)
        return cls(config, outward, known, inward)

    def state(self) -> State:
        return State({**super().state().arrays, "inward": self.inward})

    @classmethod
    def from_state(cls, config: Any, n_items: int, state: State) -> Self:
        arrays = state.arrays
        return cls(config, arrays["item_factors"], arrays["trained"], arrays["inward"])

    @classmethod
    def layout(cls, config: Any, n_items: int, width: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        return {**super().layout(config, n_items, width), "inward": (np.float32, (n_items, width - 1))}

    def grow(self, data: Dataset, now: int) -> Self:
        """Padded: which company an item keeps has to be learned."""
        return Model.grow(self, data, now)

    def _fold_in(self, weights: sp.csr_matrix) -> Float32:
        total = np.asarray(weights @ self.trained.astype(np.float32), dtype=np.float32)
        mean = (weights @ self.inward) / np.where(total > 0, total, 1)[:, None]
        there = (total > 0).astype(np.float32) * np.float32(self.config.popularity)
        return np.column_stack([mean, there]).astype(np.float32)

    def similar(self, items: Int32, k: int) -> tuple[Int32, Float32]:
        """By the inward vectors: what can stand for what."""
        return nearest(self.inward, items, k)


def sentences(data: Interactions, *, baskets: bool) -> tuple[Int32, NDArray[np.bool_]]:
    """Item codes in the order they were bought or seen, and where a sentence ends after each.

    Parameters
    ----------
    baskets
        End a sentence with the order or visit, which ends after half an hour where the shop names none; else only
        with the customer.

    Raises
    ------
    NotEnoughData
        No sentence has two words.
    """
    h = data.histories
    keep = np.flatnonzero(h.kind_weight[h.kind] > 0)
    item, user, ts, basket = h.item[keep], h.row_of_event[keep], h.ts[keep], data.basket[keep]
    ends = np.ones(len(item), dtype=np.bool_)
    ends[:-1] = user[1:] != user[:-1]
    if baskets:
        named = (basket[1:] >= 0) & (basket[:-1] >= 0)
        ends[:-1] |= np.where(named, basket[1:] != basket[:-1], ts[1:] - ts[:-1] > _PAUSE)
    if ends.all():
        raise NotEnoughData("No two items were ever bought by one customer.", "Ingest a longer period.")
    return item, ends


def write_corpus(path: Path, words: Int32, ends: NDArray[np.bool_]) -> None:
    """One sentence a line, as gensim reads it in C without holding the interpreter."""
    after = pa.array([" ", "\n"]).take(pa.array(ends.astype(np.int8)))
    text = pc.binary_join_element_wise(pa.array(words).cast(pa.string()), after, "")
    with path.open("wb") as file:
        for chunk in text.chunks if isinstance(text, pa.ChunkedArray) else [text]:
            # The joined strings lie one after the other in the array's buffer: that is the file.
            file.write(chunk.buffers()[2])


def _learn(corpus: Path, ends: NDArray[np.bool_], config: Item2VecConfig, seed: int, threads: int) -> Any:
    from gensim.models import Word2Vec

    lengths: Int64 = np.diff(np.flatnonzero(np.concatenate([np.ones(1, np.bool_), ends])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return Word2Vec(
            corpus_file=str(corpus),
            vector_size=config.factors,
            # Order within a basket means nothing, so the window covers it; along a history, only the neighbourhood.
            window=int(min(lengths.max(), 200)) if config.sentences == "baskets" else config.window,
            sg=1,
            negative=config.negatives,
            ns_exponent=config.sample_power,
            min_count=1,
            sample=1e-3,
            epochs=config.epochs or int(np.clip(_ENOUGH // len(ends), 5, 300)),
            seed=seed,
            workers=threads,
        )
