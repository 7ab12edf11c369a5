"""Trees asked by bit vectors: many candidates at once in NumPy, and what never changes asked only once.

After QuickScorer (Lucchese et al., SIGIR 2015). The leaves of a tree are bits of a word, the leftmost the lowest. A
node whose test fails rules out the leaves on its left; the lowest bit that all failed tests leave is the leaf. Which
tests of a feature fail depends on nothing but its value, so each feature has a table: between which of its thresholds
a value lies -> the leaves of every tree that are still possible. One row of it for each candidate, and a bitwise AND
over the features, in any order: those of items can be taken together for a whole version, see `masks`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..schema import Float32

Masks = NDArray[np.uint32]
Float64 = NDArray[np.float64]
Begun = tuple[Masks, NDArray[np.integer[Any]]]
_ALL = ~np.uint32(0)
_WORD = 32  # bits, and leaves of a tree at most
_ROWS = 512  # candidates asked at a time: their words stay in the cache
_MOSTLY = 0.75  # share of the rows
DEFAULT_LEFT, MISSING_NAN = 2, 8  # of LightGBM's decision types
_OTHERS = 1 | 4  # categories, and zero as what is missing


class _Test(NamedTuple):
    """A node: of which tree, and the word that is left when its test fails."""

    feature: int
    threshold: float
    decision: int
    tree: int
    word: np.uint32


@dataclass(frozen=True)
class _Table:
    """Of one feature: its thresholds, ascending, and words of shape (len(thresholds) + 2, trees), the last for NaN."""

    thresholds: Float64
    words: Masks
    ascending: Sequence[float]  # the same, quicker to look one value up in

    def place_of(self, value: float) -> int:
        """The row of the words for a value."""
        return bisect_left(self.ascending, value) if value == value else len(self.ascending) + 1


@dataclass(frozen=True)
class _Tables:
    """Of several features, in which their values are looked up together.

    One binary search for all of them, step by step: that of `np.searchsorted` waits at every step for a branch that
    nobody can foresee, and took half of the time of the trees.

    Parameters
    ----------
    columns
        Where the features are among those asked about.
    tables
        Of each feature.
    thresholds
        float32, all of them, each feature's filled up with infinity to `width`, a power of 2: what is above a number
        of 64 bits is, among those of 32, what is above the next lower one of 32.
    """

    columns: NDArray[np.intp]
    tables: Sequence[_Table]
    thresholds: Float32
    width: int

    @staticmethod
    def of(columns: Sequence[int], tables: Sequence[_Table]) -> _Tables:
        width = 1 << max((len(table.thresholds) for table in tables), default=1).bit_length()
        held = np.full((len(tables), width), np.inf, np.float32)
        for row, table in zip(held, tables, strict=True):
            row[: len(table.thresholds)] = _not_above(table.thresholds)
        return _Tables(np.array(columns, np.intp), tables, held.ravel(), width)

    def places(self, which: NDArray[np.intp], values: Float32) -> NDArray[np.intp]:
        """The row of the words for each value of some of the features: shape (len(which), rows), as `values`."""
        begin = (which * self.width)[:, None]
        place = np.repeat(begin, values.shape[1], axis=1)
        step = self.width >> 1
        while step:
            place += step * (self.thresholds.take(place + (step - 1)) < values)
            step >>= 1
        place -= begin
        return place


class Forest:
    """A weighted sum of trees. Not for several threads at a time.

    Parameters
    ----------
    texts
        Models as LightGBM writes them, and the weight of each.

    Raises
    ------
    ValueError
        A tree of more than 32 leaves, or with a test that is not of a number against a threshold.
    """

    def __init__(self, texts: Sequence[tuple[str, float]]) -> None:
        trees = [(tree, weight) for text, weight in texts for tree in trees_of(text)]
        self.size = len(trees)
        leaves = np.zeros((self.size, _WORD))
        found: dict[int, list[_Test]] = {}
        for number, (tree, weight) in enumerate(trees):
            value = np.array(tree["leaf_value"].split(), dtype=np.float64) * weight
            order, tests = _walked(tree, number)
            leaves[number, : len(order)] = value[order]
            for test in tests:
                found.setdefault(test.feature, []).append(test)
        self._leaf = leaves.ravel()
        # Of a word's lowest bit as a float, the exponent is the bit's number and 127.
        self._begin = np.arange(self.size, dtype=np.int64) * _WORD - 127
        self._tests = {feature: self._tabled(tests) for feature, tests in sorted(found.items())}
        self._together: dict[tuple[int, ...], _Tables] = {}
        # Kept, because the system hands out memory of this size page by page, which takes longer than the trees.
        shape = (_ROWS, self.size)
        self._words, self._held = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
        self._place, self._worth = np.empty(shape, np.int64), np.empty(shape)

    def _tabled(self, tests: Sequence[_Test]) -> _Table:
        thresholds = np.unique([test.threshold for test in tests])
        words = np.full((len(thresholds) + 2, self.size), _ALL)
        zero = int(np.searchsorted(thresholds, 0.0))
        for test in tests:
            at = int(np.searchsorted(thresholds, test.threshold))
            words[at + 1 : -1, test.tree] &= test.word  # beyond the threshold the test fails
            # Trees that were grown without NaN take it for 0.
            if (zero > at) if not test.decision & MISSING_NAN else not test.decision & DEFAULT_LEFT:
                words[-1, test.tree] &= test.word
        return _Table(thresholds, words, thresholds.tolist())

    def tests(self, feature: int) -> bool:
        """Whether any tree looks at this feature."""
        return feature in self._tests

    def _tables(self, columns: Sequence[int]) -> _Tables:
        """Of the features of these numbers, those that any tree looks at."""
        asked = tuple(columns)
        if asked not in self._together:
            some = [(at, self._tests[feature]) for at, feature in enumerate(asked) if feature in self._tests]
            self._together[asked] = _Tables.of([at for at, _ in some], [table for _, table in some])
        return self._together[asked]

    def masks(self, values: Float32, columns: Sequence[int]) -> Masks:
        """What some features leave of the trees: uint32, shape (rows, trees).

        Parameters
        ----------
        values
            float32, shape (rows, len(columns)), NaN where not known.
        columns
            Numbers of the features.
        """
        out = np.empty((len(values), self.size), np.uint32)
        for start in range(0, len(values), _ROWS):
            out[start : start + _ROWS] = self._left(values[start : start + _ROWS], columns, ())
        return out

    def predict(self, values: Float32, columns: Sequence[int] | None = None, begun: Sequence[Begun] = ()) -> Float64:
        """Scores of rows, shape (rows,).

        Parameters
        ----------
        values
            float32, shape (rows, len(columns)), NaN where not known.
        columns
            Numbers of the features, all of them by default.
        begun
            What `masks` has told of other features, and which of its rows each row has.
        """
        out = np.empty(len(values))
        columns = range(values.shape[1]) if columns is None else columns
        for start in range(0, len(values), _ROWS):
            part = slice(start, start + _ROWS)
            left = self._left(values[part], columns, [(masks, row[part]) for masks, row in begun])
            out[part] = self._sums(left)
        return out

    def _left(self, values: Float32, columns: Sequence[int], begun: Sequence[Begun]) -> Masks:
        """As `masks`, of _ROWS rows at most, in memory that the next call uses again."""
        rows = len(values)
        out, held = self._words[:rows], self._held[:rows]
        out[...] = _ALL
        for masks, row in begun:
            np.take(masks, row, axis=0, out=held, mode="clip")
            out &= held
        asked = self._tables(columns)
        if rows == 1:
            for column, table in zip(asked.columns.tolist(), asked.tables, strict=True):
                out &= table.words[table.place_of(float(values[0, column]))]
            return out
        by_column = np.ascontiguousarray(values.T[asked.columns])
        unknown = np.isnan(by_column)
        missing = np.count_nonzero(unknown, axis=1)
        mostly = missing > _MOSTLY * rows
        which = np.flatnonzero(~mostly)
        for feature, place in zip(which.tolist(), asked.places(which, by_column[which]), strict=True):
            table = asked.tables[feature]
            if missing[feature]:
                place[unknown[feature]] = len(table.words) - 1
            table.words.take(place, axis=0, out=held, mode="clip")
            out &= held
        if mostly.any():
            # What customers never bought has no features of their purchases: the same words for nearly all rows.
            few = np.flatnonzero(~unknown[mostly].all(axis=0))
            left, common = out[few], np.full(self.size, _ALL)
            which = np.flatnonzero(mostly)
            places = asked.places(which, by_column[np.ix_(which, few)])
            for feature, place in zip(which.tolist(), places, strict=True):
                table = asked.tables[feature]
                place[unknown[feature, few]] = len(table.words) - 1
                left &= table.words[place]
                common &= table.words[-1]
            out &= common
            out[few] = left
        return out

    def _sums(self, left: Masks) -> Float64:
        rows = len(left)
        held, place, worth = self._held[:rows], self._place[:rows], self._worth[:rows]
        np.negative(left, out=held)
        held &= left  # the lowest bit
        exponent = left.view(np.float32)
        exponent[...] = held
        bits = exponent.view(np.int32)
        bits >>= 23
        np.add(bits, self._begin, out=place)
        np.take(self._leaf, place, out=worth, mode="clip")
        return np.asarray(worth.sum(axis=1))


def _not_above(numbers: Float64) -> Float32:
    """The largest numbers of 32 bits that are not above these."""
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near)


def trees_of(text: str) -> list[Mapping[str, str]]:
    """The trees of a model as LightGBM writes it, name to text."""
    parts = text.partition("\nend of trees\n")[0].split("\nTree=")[1:]
    return [dict(line.split("=", 1) for line in part.splitlines()[1:] if "=" in line) for part in parts]


def _walked(tree: Mapping[str, str], number: int) -> tuple[list[int], list[_Test]]:
    """Its leaves from the left, and its tests."""
    if int(tree["num_leaves"]) > _WORD:
        raise ValueError("a tree has too many leaves")
    if int(tree["num_leaves"]) < 2:
        return [0], []
    feature, decision, left, right = (
        [int(word) for word in tree[name].split()]
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    if any(kind & _OTHERS for kind in decision):
        raise ValueError("a tree tests something else than a number")
    threshold = [float(word) for word in tree["threshold"].split()]
    order: list[int] = []
    tests: list[_Test] = []
    waiting = [(0, -1)]  # nodes, and for those whose left side is done how many leaves there were before it
    while waiting:
        node, begin = waiting.pop()
        if begin >= 0:
            word = _ALL ^ np.uint32((1 << len(order)) - (1 << begin))
            tests.append(_Test(feature[node], threshold[node], decision[node], number, word))
        elif node < 0:
            order.append(~node)
        else:
            waiting += [(right[node], -1), (node, len(order)), (left[node], -1)]
    return order, tests
