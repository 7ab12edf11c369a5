"""Learning how much each model should say, from what customers did next in earlier windows.

Every window is turned into a small dense problem: for each customer the items that any member puts high, each with
one number from every member. On that, weights are first fitted as a conditional logit (which is convex, and uses all
that was wanted), then moved one at a time while NDCG@10 over all windows grows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...schema import PURCHASE, Float32, Histories
from ...splitting.holdout import Split
from ...splitting.interactions import weigh_ways
from ...splitting.task import Task
from ..base import Model
from .top_n import largest

_TOP = 150  # candidates that each member names, at most
_FEW, _SHARE = 50, 8  # and at least, where that many are more than an eighth of the catalogue
_VALUES = 60_000_000  # scores of all members held at a time: 240 MB
_LARGE = 20_000  # items from which on partitioning takes longer than the rest
_ASKED = 100_000_000  # scores of a member in all: of a large catalogue fewer customers are asked
_LEAST_ASKED = 500
_ABSENT = np.float32(-1e9)
_DEPTH = 10
OWN = ("had", "count", "week", "season")  # what `own_features` tells of an item that a customer has bought
_OWN_USERS = 1500
_LEAST_BLENDED = 0.05


@dataclass(frozen=True)
class Problem:
    """Candidates of one window.

    Parameters
    ----------
    features
        float32, shape (members, users, candidates).
    wanted, real
        bool, shape (users, candidates): what was wanted; what is a candidate and not padding.
    relevant
        int64, shape (users,): wanted items, among the candidates or not.
    """

    features: Float32
    wanted: NDArray[np.bool_]
    real: NDArray[np.bool_]
    relevant: NDArray[np.int64]

    def scores(self, weights: NDArray[np.float64]) -> Float32:
        """Blended scores, float32 of shape (users, candidates); padding lies below everything."""
        total = np.tensordot(weights.astype(np.float32), self.features, axes=1)
        return np.where(self.real, total, _ABSENT)

    def ndcg(self, scores: Float32) -> float:
        """Mean NDCG@10 of the lists by `scores`, as they come from `scores` of some weights."""
        depth = min(_DEPTH, scores.shape[1])
        top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        hits = np.take_along_axis(self.wanted, np.take_along_axis(top, order, axis=1), axis=1)
        discount = 1 / np.log2(np.arange(2, _DEPTH + 2))
        ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(self.relevant, _DEPTH)]
        return float(((hits @ discount[:depth]) / ideal).mean())

    def loss(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Negative mean log-likelihood of what was wanted, each user alike; and its gradient."""
        scores = self.scores(weights)
        scores -= scores.max(axis=1, keepdims=True)
        chance = np.exp(scores)
        total = chance.sum(axis=1, keepdims=True)
        share = (1 / (self.relevant * len(self.relevant)))[:, None]
        value = -float((np.where(self.wanted, scores - np.log(total), 0) * share).sum())
        found = self.wanted.sum(axis=1, keepdims=True)
        slope = ((chance / total * found - self.wanted) * share).astype(np.float32)
        return value, np.tensordot(self.features, slope, axes=([1, 2], [0, 1])).astype(np.float64)


def standardised(scores: Float32) -> Float32:
    """Each row's scores by its own mean and spread, long tails drawn in: what makes models comparable.

    A row that is all alike says nothing and comes out as zeros.
    """
    if scores.strides[0] == 0 and len(scores) > 1:  # the same for all
        return np.broadcast_to(standardised(scores[:1]), scores.shape)
    scaled, _, spread = _centred(scores)
    scaled /= spread  # and on in place: over everybody, memory is the time
    return drawn_in(scaled)


def drawn_in(scaled: Float32) -> Float32:
    """Inverse hyperbolic sines, in place, in a third of the time: log(1 + q) with q = h + h^2 / (1 + sqrt(1 + h^2)).

    The logarithm of 1 + q as it is rounded, times q over what was rounded to (Kahan), so that small numbers, of which
    popularity has many, do not all come out as the same.
    """
    held = np.abs(scaled)
    rest = np.square(held)
    rooted = rest + 1
    np.sqrt(rooted, out=rooted)
    rooted += 1
    rest /= rooted
    held += rest
    rounded = np.add(held, 1, out=rest)
    found = np.log(rounded, out=rooted)
    rounded -= 1
    small = rounded == 0
    rounded[small] = 1
    found *= held
    found /= rounded
    np.copyto(found, held, where=small)
    return np.copysign(found, scaled, out=scaled)


def _centred(scores: Float32) -> tuple[Float32, Float32, Float32]:
    """Scores less the mean of their row, and mean and standard deviation of each row, an infinite one where all are
    alike: shapes (rows, n), (rows, 1) and (rows, 1).

    What `ndarray.mean` and `ndarray.std` do, step by step, but for looking twice at the mean.
    """
    n = np.float32(scores.shape[1])
    middle = np.asarray(np.add.reduce(scores, axis=1, keepdims=True) / n, dtype=np.float32)
    scaled = np.subtract(scores, middle)
    spread = np.asarray(np.sqrt(np.add.reduce(np.square(scaled), axis=1, keepdims=True) / n), dtype=np.float32)
    spread[spread == 0] = np.inf
    return scaled, middle, spread


def moments(scores: Float32) -> tuple[Float32, Float32]:
    """Mean and standard deviation of each row, an infinite one where all are alike."""
    if scores.strides[0] == 0 and len(scores):  # the same for all
        middle, spread = moments(scores[:1].copy())
        return np.repeat(middle, len(scores)), np.repeat(spread, len(scores))
    _, middle, spread = _centred(scores)
    return middle[:, 0], spread[:, 0]


def _standard(scores: Float32, middle: Float32, spread: Float32) -> Float32:
    return drawn_in(np.asarray((scores - middle) / spread, dtype=np.float32))


def problem(members: Mapping[str, Model], split: Split, users: int, seed: int) -> Problem:
    """The candidates of a window by members fitted on its past, for at most `users` customers."""
    n_items = split.train.interactions.n_items
    task = Task.of(split, max_users=_asked(users, n_items), seed=seed)
    step = int(np.clip(_VALUES // (len(members) * n_items), 8, 256))
    one = task.rows(np.arange(1)).histories
    alike = {n: m.score(one, split.now) for n, m in members.items() if not m.capabilities.personal}
    parts = []
    for start in range(0, len(task.users), step):
        some = task.rows(np.arange(start, min(start + step, len(task.users))))
        values = [
            np.broadcast_to(alike[name], some.wanted.shape) if name in alike else m.score(some.histories, split.now)
            for name, m in members.items()
        ]
        wanted = some.wanted.toarray() > 0
        taken = np.zeros_like(wanted) if some.seen is None else some.seen.toarray() > 0
        parts.append(_candidates(values, taken, wanted, standard=True))
    return _joined(parts)


def _asked(users: int, n_items: int) -> int:
    """How many of `users` customers are asked where there are so many items."""
    return min(users, max(_ASKED // max(n_items, 1), _LEAST_ASKED))


def _joined(parts: list[Problem]) -> Problem:
    """One problem of several, of the same members and other customers."""
    width = max(part.real.shape[1] for part in parts)
    return Problem(
        np.concatenate([_padded(p.features, width) for p in parts], axis=1),
        np.concatenate([_padded(p.wanted, width) for p in parts]),
        np.concatenate([_padded(p.real, width) for p in parts]),
        np.concatenate([p.relevant for p in parts]),
    )


def _high(scores: Float32, top: int) -> NDArray[np.intp]:
    """Columns of the best of each row.

    Of a neighbourhood model's many zeros any may be among them, and should be: were it always the first of the
    catalogue, weights of a small shop would be learned against the same few items for everybody.
    """
    if scores.shape[1] > _LARGE:
        return largest(scores, top)
    return np.argpartition(-scores, top - 1, axis=1)[:, :top]


def _candidates(
    values: Sequence[Float32], taken: NDArray[np.bool_], wanted: NDArray[np.bool_], *, standard: bool = False
) -> Problem:
    """What any of some scores puts high, and each of them for it; with `standard` as `standardised` has it."""
    chosen = np.zeros(taken.shape, dtype=np.bool_)
    top = min(int(np.clip(taken.shape[1] // _SHARE, _FEW, _TOP)), taken.shape[1])
    for member in values:
        np.put_along_axis(chosen, _high(np.where(taken, _ABSENT, member), top), True, axis=1)
    chosen &= ~taken
    flat = np.flatnonzero(chosen)
    row, column = flat // taken.shape[1], flat % taken.shape[1]
    count = chosen.sum(axis=1)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    shape = (len(taken), int(count.max(initial=1)))
    features = np.zeros((len(values), *shape), dtype=np.float32)
    for feature, member in zip(features, values, strict=True):
        told = member[row, column]
        # Standardising all scores of a large catalogue to use a hundredth of them took most of the time of a blend.
        feature[row, place] = _standard(told, *(moment[row] for moment in moments(member))) if standard else told
    hits, real = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    hits[row, place] = wanted[row, column]
    real[row, place] = True
    return Problem(features, hits, real, wanted.sum(axis=1).astype(np.int64))


def _padded(array: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])])


def own_features(histories: Histories, n_items: int) -> tuple[sp.csr_matrix, Float32]:
    """What each history bought already, how often, how lately.

    Models of what goes with what say next to nothing of an item that is already in the history, and many shops live on
    what is bought again. Purchases only: they are left out of lists unless repeats are asked for, while what was
    merely looked at would fill every list.

    Returns
    -------
    What was bought and kept, float32 CSR of shape (rows, n_items), and for each of its entries, in the order of its
    `indices`, the features named in `OWN`: float32, at least 0, shape (len(OWN), entries).
    """
    counted = histories.is_kind(PURCHASE) | (histories.kind_weight[histories.kind] < 0)
    bought = histories if counted.all() else histories.where(counted)
    ways = [(0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0, 0.0), (7.0, 0.0, 0.0, 0.0, 0.0), (60.0, 0.0, 0.0, 0.0, 0.0)]
    plain, *others = weigh_ways(bought, n_items, ways)
    features = np.ones((len(OWN), plain.nnz), np.float32)
    for feature, other in zip(features[1:], others, strict=True):
        np.divide(other.data, plain.data, out=feature)
    np.log(np.maximum(features[1], 1), out=features[1])
    return plain, features


def learn_own(blended: Callable[[Histories, int], Float32], split: Split, seed: int) -> dict[str, float]:
    """What to add to the blended score of a customer's own items, by `OWN`; empty where nobody ever comes back to one.

    Learned where everything counts that was got later, had before or not. The order of what is new is not touched.
    """
    if not split.future.is_kind(PURCHASE).any():
        return {}
    wanted = split.wanted(repeat=True)
    n_items, before = wanted.shape[1], split.train.interactions.histories
    chosen = split.judged(wanted, _asked(_OWN_USERS, n_items), seed)
    parts = []
    step = int(np.clip(_VALUES // (2 * len(OWN) * n_items), 8, 256))
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        block = before.rows(rows)
        owned, features = own_features(block, n_items)
        values = np.zeros((1 + len(OWN), len(rows), n_items), dtype=np.float32)
        values[0] = blended(block, split.now)
        values[1:, np.repeat(np.arange(len(rows)), np.diff(owned.indptr)), owned.indices] = features
        parts.append(_candidates([*values], np.zeros(values.shape[1:], np.bool_), wanted[rows].toarray() > 0))
    if not parts:
        return {}
    weights, _ = learn([_joined(parts)], 1 + len(OWN))
    if weights[0] <= _LEAST_BLENDED:  # the blend says nothing at all beside them: what is had comes first
        weights[0] = _LEAST_BLENDED
    own = dict(zip(OWN, (weights[1:] / weights[0]).tolist(), strict=True))
    return {name: round(value, 4) for name, value in own.items()} if any(own.values()) else {}


def learn(problems: list[Problem], members: int) -> tuple[NDArray[np.float64], float]:
    """Weights, not negative and summing to 1, and the mean NDCG@10 they reach.

    Newer windows come first and count no more than older ones: which month the next will be like is not known.
    """
    likely = _likeliest(problems, members)
    return _climb(problems, likely / max(likely.sum(), 1e-12) if likely.any() else np.full(members, 1 / members))


def _likeliest(problems: list[Problem], members: int) -> NDArray[np.float64]:
    from scipy.optimize import minimize  # here, because it takes a server half a second to load for nothing

    def total(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        found = [p.loss(weights) for p in problems]
        value = sum(v for v, _ in found) / len(found) + 1e-3 * float(weights @ weights)
        return value, sum((g for _, g in found), np.zeros(members)) / len(found) + 2e-3 * weights

    start = np.full(members, 1 / members)
    best = minimize(total, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * members, options={"maxiter": 50})
    return np.asarray(best.x, dtype=np.float64)


def _climb(problems: list[Problem], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Move one weight at a time while the mean NDCG grows, in smaller and smaller steps.

    What a move changes is added to the scores: summing up all members for each of a hundred moves took most of the
    time of a blend. How large the sum of the weights is changes no order.
    """
    weights = weights.copy()
    scores = [p.scores(weights) for p in problems]

    def value(of: list[Float32]) -> float:
        return sum(p.ndcg(s) for p, s in zip(problems, of, strict=True)) / len(problems)

    best = value(scores)
    for step in (0.3, 0.15, 0.07):
        for member in range(len(weights)):
            for move in (-step, step):
                moved = max(weights[member] + move * weights.sum(), 0.0) - weights[member]
                if not moved or weights.sum() + moved <= 0:
                    continue
                tried = [s + np.float32(moved) * p.features[member] for p, s in zip(problems, scores, strict=True)]
                if (reached := value(tried)) > best + 1e-6:
                    weights[member] += moved
                    scores, best = tried, reached
    return weights / weights.sum(), best
