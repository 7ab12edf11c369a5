"""Lists for many customers at once, from a version alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..identity import UserKeys
from ..models.base import Model
from ..models.blend import Blend
from ..models.support.top_n import contains, top_k
from ..models.support.vectors import VectorModel
from ..schema import PURCHASE, Float32, Histories, Int32, Int64
from .exploration import LATEST, SOURCE, Explorer, sees_unsold
from .history import Distaste
from .item_index import ItemIndex, LongFirst
from .request import Batch
from .rules import Picker
from .second_stage import SecondStage
from .sources import SOURCES

_ROWS = 1024  # customers at a time


def find_rows(keys: UserKeys, wanted: UserKeys) -> Int64:
    """Row of each of `wanted` in the sorted `keys`, -1 where there is none."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    high = np.ascontiguousarray(keys[:, 0])
    row = np.searchsorted(high, np.ascontiguousarray(wanted[:, 0]))
    row = np.minimum(row, len(keys) - 1)
    # Two customers with the same 64 high bits do not meet in this universe; the low half tells a stranger anyway.
    same = (keys[row] == wanted).all(axis=1)
    return np.where(same, row, -1).astype(np.int64)


class Everybody:
    """Many customers of a version, and what they are not to be shown again.

    Parameters
    ----------
    keys
        Keyed hashes of the customers, shape (n, 2), in any order.
    """

    def __init__(self, bundle: Bundle, keys: UserKeys, distaste: Distaste) -> None:
        self.bundle = bundle
        row = find_rows(bundle.keys, keys)
        self.known = row >= 0
        self.histories = _rows_or_empty(bundle.histories, row)
        self.distaste = distaste
        h = self.histories
        owner, item, disliked = distaste.pairs(h.row_of_event, h.item, h.kind, h.qty)
        self.shunned = self._matrix(owner, item)
        self.dislikes = np.bincount(owner[disliked], minlength=len(h)) > 0

    def __len__(self) -> int:
        return len(self.known)

    def not_again(self, repeat: bool) -> sp.csr_matrix:
        """What each is not to be shown: what they turned away from and, without `repeat`, what they bought."""
        if repeat:
            return self.shunned
        only = self.histories.where(self.histories.is_kind(PURCHASE))
        both = self._matrix(only.row_of_event, only.item) + self.shunned
        both.sum_duplicates()
        return both

    def _matrix(self, row: NDArray[np.integer], item: Int32) -> sp.csr_matrix:
        shape = len(self.histories), len(self.bundle.catalogue)
        matrix = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, item)), shape=shape)
        matrix.sum_duplicates()
        return matrix


def recommend(
    every: Everybody,
    model: Model,
    shown: NDArray[np.bool_],
    filler: Int32,
    k: int,
    *,
    repeat: bool = False,
    index: ItemIndex | None = None,
    second: SecondStage | None = None,
) -> Batch:
    """The k best items of many customers.

    Parameters
    ----------
    shown
        Items that may be shown, shape (n_items,).
    filler
        Codes of all items in the order in which they fill lists that are short.
    repeat
        Include items already bought.
    index
        Over the model's vectors: spares scoring all items for everybody.
    second
        Where it is on for these lists.
    """
    bundle, histories = every.bundle, every.histories
    exclude = every.not_again(repeat)
    codes = np.full((len(every), k), -1, dtype=np.int32)
    scores = np.full((len(every), k), -np.inf, dtype=np.float32)
    if model.capabilities.personal:
        if second is not None:
            codes, scores = second.lists(histories, k, bundle.now, repeat=repeat, exclude=exclude, allowed=shown)
        elif (
            index is not None and (index.half or isinstance(index.index, LongFirst)) and isinstance(model, VectorModel)
        ):
            codes, scores = _by_index(model, index, histories, k, bundle.now, exclude, shown)
        else:
            once, answer = _alike(histories)
            found = model.recommend(histories.rows(once), k, bundle.now, exclude=exclude[once], allowed=shown)
            codes, scores = found[0][answer], found[1][answer]
    source = np.zeros(codes.shape, dtype=np.uint8)
    _fill(codes, scores, source, filler[shown[filler]], bundle.shelves["popular"], exclude)
    return Batch(codes, scores, source, (model.name, "popular", "catalogue", SOURCE, *SOURCES), every.known)


def agreement(every: Everybody, model: Model, shown: NDArray[np.bool_], k: int, *, repeat: bool) -> float | None:
    """What lists of a blend lose by blending only what its members propose: the share of places whose item is
    also in the list that blending everything gives. None where everything is blended."""
    if not (isinstance(model, Blend) and model.proposes(k) and every.histories.n_events):
        return None
    some = np.flatnonzero(np.diff(every.histories.indptr))
    asked, exclude = every.histories.rows(some), every.not_again(repeat)[some]
    mine, _ = model.recommend(asked, k, every.bundle.now, exclude=exclude, allowed=shown)
    full, _ = Model.recommend(model, asked, k, every.bundle.now, exclude=exclude, allowed=shown)
    held = sp.csr_matrix(
        (np.ones(np.count_nonzero(full >= 0)), (np.nonzero(full >= 0)[0], full[full >= 0])), exclude.shape
    )
    return float(contains(held, mine).sum() / max(held.nnz, 1))


def explore(
    lists: Batch, every: Everybody, model: Model, explorer: Explorer, shown: NDArray[np.bool_], *, repeat: bool
) -> None:
    """Give the last place of full lists to the new item most to each customer's taste, in place; see `Engine`."""
    codes, k, new = lists.codes, lists.codes.shape[1], explorer.codes
    h = every.histories
    full = (codes[:, -1] >= 0) & (np.diff(h.indptr) > 0) & ~np.isin(codes, new).any(axis=1)
    exclude = every.not_again(repeat)
    unsold = sees_unsold(np.bincount(h.row_of_event, h.item, minlength=len(h)).astype(np.int64))
    for start in range(0, len(every), _ROWS):
        rows = start + np.flatnonzero(full[start : start + _ROWS])
        part = h.rows(rows)
        free = shown[new] & ~exclude[rows][:, new].toarray().astype(np.bool_)
        vectors = model.user_vectors(part, every.bundle.now) if isinstance(model, VectorModel) else None
        found = explorer.best_of_many(vectors, _liked(part, explorer.category, every.distaste), free, unsold[rows])
        given = found >= 0
        codes[rows[given], k - 1] = found[given]
        lists.source[rows[given], k - 1] = lists.source_names.index(SOURCE)


def _liked(histories: Histories, category: Int32, distaste: Distaste) -> NDArray[np.bool_]:
    """Categories of what each did last, shape (rows, categories); see `Explorer.liked`."""
    liked = np.zeros((len(histories), int(category.max(initial=-1)) + 2), dtype=np.bool_)
    row = histories.row_of_event
    latest = np.arange(len(row)) >= histories.indptr[1:][row] - LATEST
    latest &= ~distaste.against[histories.kind]
    liked[row[latest], category[histories.item[latest]]] = True
    liked[:, -1] = False  # where those of no category went
    return liked


def of_lists(lists: Iterable[tuple[Picker, bool]], rows: int, k: int) -> Batch:
    """Lists made one by one, each with whether there was a history to go by."""
    codes = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    source = np.zeros((rows, k), dtype=np.uint8)
    known = np.zeros(rows, dtype=np.bool_)
    number: dict[str, int] = {}
    for row, (picker, known[row]) in enumerate(lists):
        n = min(len(picker.codes), k)
        codes[row, :n], scores[row, :n] = picker.codes[:n], picker.scores[:n]
        source[row, :n] = [number.setdefault(name, len(number)) for name in picker.sources[:n]]
    return Batch(codes, scores, source, tuple(number) or ("",), known)


def _by_index(
    model: VectorModel,
    index: ItemIndex,
    histories: Histories,
    k: int,
    now: int,
    exclude: sp.csr_matrix,
    shown: NDArray[np.bool_],
) -> tuple[Int32, Float32]:
    """As `Model.recommend`, from the index: the few whose lists come out short are scored in full."""
    rows = len(histories)
    codes = np.full((rows, k), -1, dtype=np.int32)
    scores = np.full((rows, k), -np.inf, dtype=np.float32)
    vectors = model.user_vectors(histories, now)
    taken = np.diff(exclude.indptr).astype(np.int64)
    asked = np.flatnonzero(vectors.any(axis=1))
    asked = asked[np.argsort(taken[asked], kind="stable")]  # long exclusions together
    share = max(float(shown.mean()), 0.05)
    short: list[NDArray[np.int64]] = []
    for start in range(0, len(asked), _ROWS):
        block = asked[start : start + _ROWS]
        want = min(int((k + taken[block].max()) / share * 1.1) + 8, len(shown))
        found, worth = index.search(vectors[block], want)
        worth[(found < 0) | ~shown[found] | (worth == 0)] = -np.inf
        worth[_member(found, exclude[block])] = -np.inf
        place, best = top_k(worth, k)
        codes[block] = np.where(place < 0, -1, np.take_along_axis(found, np.maximum(place, 0), axis=1))
        scores[block] = best
        short.append(block[(codes[block] < 0).any(axis=1)])
    again = np.concatenate(short) if short else np.zeros(0, np.int64)
    if len(again):
        codes[again], scores[again] = model.recommend(
            histories.rows(again), k, now, exclude=exclude[again], allowed=shown
        )
    return codes, scores


def _member(items: Int32, rows: sp.csr_matrix) -> NDArray[np.bool_]:
    """Which of `items`, shape (rows, n), are among the non-zeros of their row."""
    width = np.int64(rows.shape[1] + 1)
    held = np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr)) * width + rows.indices
    asked = np.arange(len(items), dtype=np.int64)[:, None] * width + items
    return np.isin(asked, held)


def _alike(histories: Histories) -> tuple[Int64, Int64]:
    """Rows with different histories, and which of them each row is like.

    Of the visitors of a large shop most did one thing, many of them the same. Its time counts for nothing: the age of
    an event is counted from the newest of its history.
    """
    length = np.diff(histories.indptr)
    single = np.flatnonzero(length == 1)
    event = histories.indptr[single]
    what = histories.item[event].astype(np.int64) * len(histories.kinds) + histories.kind[event]
    plain = histories.qty[event] == 1
    key = -2 - np.arange(len(length), dtype=np.int64)
    key[length == 0] = -1
    key[single[plain]] = what[plain]
    _, once, answer = np.unique(key, return_index=True, return_inverse=True)
    return once.astype(np.int64), answer.astype(np.int64)


def _rows_or_empty(histories: Histories, row: Int64) -> Histories:
    """The rows, empty ones for -1."""
    length = np.where(row >= 0, np.diff(histories.indptr)[np.maximum(row, 0)], 0) if len(histories) else row * 0
    found = histories.rows(row[row >= 0])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)]).astype(np.int64)
    return Histories(indptr, found.item, found.ts, found.kind, found.qty, found.kinds, found.kind_weight, found.variant)


def _fill(
    codes: Int32,
    scores: NDArray[np.float32],
    source: NDArray[np.uint8],
    filler: Int32,
    popular: NDArray[np.float32],
    exclude: sp.csr_matrix,
) -> None:
    """Put the first of `filler` that are neither in the list nor excluded into the empty places at its end."""
    k = codes.shape[1]
    short = np.flatnonzero((codes < 0).any(axis=1))
    n_items = len(popular)
    for start in range(0, len(short), 1024):
        rows = short[start : start + 1024]
        taken = np.zeros((len(rows), n_items), dtype=np.bool_)
        place, column = np.nonzero(codes[rows] >= 0)
        taken[place, codes[rows][place, column]] = True
        block = exclude[rows]
        taken[np.repeat(np.arange(len(rows)), np.diff(block.indptr)), block.indices] = True
        depth = min(len(filler), k + int(taken.sum(axis=1).max(initial=0)))
        free = ~taken[:, filler[:depth]]
        order = np.cumsum(free, axis=1) - 1 + (codes[rows] >= 0).sum(axis=1)[:, None]
        place, column = np.nonzero(free & (order < k))
        to, item = order[place, column], filler[:depth][column]
        codes[rows[place], to] = item
        scores[rows[place], to] = popular[item]
        source[rows[place], to] = np.where(popular[item] > 0, 1, 2)
