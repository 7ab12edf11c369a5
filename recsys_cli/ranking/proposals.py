"""What the first stage says of the items that its sources propose: in a large catalogue, all that is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models.base import Model
from ..models.blend import Blend
from ..models.support import blend_search
from ..models.support.blend_search import Flat, Look, Search
from ..models.support.top_n import highest, largest
from ..schema import Float32, Histories, Int32, Int64
from .opinions import FIRST, LEARNED, SERVED, Depth, Opinions, Told, sortable, stepped

WHOLE_ITEMS = 20_000  # up to here all items are scored for an answer
_FEW = 2_000  # allowed items that are all looked at


class FirstStage:
    """A model as a ranker asks it, in training and in serving alike.

    Parameters
    ----------
    model
        The first stage.
    whole
        Whether all items are scored. What a ranker has learned from is the same only with what it learned with.
    """

    def __init__(self, model: Model, *, whole: bool) -> None:
        self.model = model
        self.whole = whole
        self._search = None if whole else _search(model)

    @classmethod
    def of(cls, model: Model) -> FirstStage:
        """As is right for the size of the catalogue."""
        return cls(model, whole=model.n_items <= WHOLE_ITEMS)

    @property
    def depth(self) -> Depth:
        """How many candidates are served; in a large catalogue, where fewer were not tried, as in learning."""
        return SERVED if self.whole else LEARNED

    def look(self, histories: Histories, owned: sp.csr_matrix, now: int) -> Opinions | Proposals:
        """What it says to some histories.

        Parameters
        ----------
        owned
            What each owns: CSR of shape (rows, n_items).
        now
            As for `Model.score`.
        """
        if self._search is None:
            return Opinions.of(self.model, histories, owned, now)
        return Proposals(self.model, self._search, histories, owned, now)


def _search(model: Model) -> Search:
    if isinstance(model, Blend):
        return model.search()
    members = {model.name: model}
    shown = np.ones(model.n_items, np.bool_)
    return Search(members, {model.name: 1.0}, blend_search.indices_of(members), shown, 0, 1, LEARNED.first)


@dataclass(frozen=True)
class Proposals:
    """As `Opinions`, of what is proposed and of items that somebody asks for.

    Parameters
    ----------
    search
        Over the model.
    histories, owned, now
        As for `FirstStage.look`.
    """

    model: Model
    search: Search
    histories: Histories
    owned: sp.csr_matrix
    now: int

    def candidates(self, allowed: NDArray[np.bool_] | None, depth: Depth = LEARNED) -> tuple[Int64, Int32]:
        """Rows and items of the pairs that are worth the second stage's time, in order.

        The best of the first stage and of each source among what they propose, and own items. Where most items are not
        allowed they propose again, of those that are.
        """
        n, mine = self.search.n_items, self._mine
        places = self._look.proposed
        if allowed is not None:
            mine = mine[allowed[mine % n]]
            count = int(np.count_nonzero(allowed))
            if count <= _FEW:
                every = np.arange(len(self.histories))[:, None] * n + np.flatnonzero(allowed)
                places = np.setdiff1d(every.ravel(), self._mine, assume_unique=True)
            elif 2 * count < n:
                places = self._looked(allowed).proposed
            else:
                places = places[allowed[places % n]]
        total, columns = self._scores(places)
        known = total != 0
        chosen = _best(places // n, np.where(known, total, -np.inf), len(self.histories), depth.first)
        for label in self._members:
            scores = np.where(known, columns[label], -np.inf)
            chosen |= _best(places // n, scores, len(self.histories), depth.other)
        own = mine[self._scores(mine)[0] != 0]
        row, item = np.divmod(np.sort(np.concatenate([places[chosen & known], own])), n)
        return row, item.astype(np.int32)

    def pairs(self, row: Int64, item: Int32) -> Told:
        """What is said of pairs."""
        place = row * self.search.n_items + item
        total, scaled = self._scores(place)
        columns = {f"score:{FIRST}": stepped(scaled[FIRST])}
        columns |= {f"score:{label}": stepped(scaled[label]) for label in self._members}
        columns[f"rank:{FIRST}"] = self._ranks(row, total)
        return Told(total, np.isin(place, self._mine), columns)

    @property
    def _members(self) -> tuple[str, ...]:
        return tuple(self.model.members) if isinstance(self.model, Blend) else ()

    @cached_property
    def _mine(self) -> Flat:
        """Places of own items, ascending."""
        row = np.repeat(np.arange(self.owned.shape[0], dtype=np.int64), np.diff(self.owned.indptr))
        return np.sort(row * self.search.n_items + self.owned.indices)

    @cached_property
    def _look(self) -> Look:
        return self._looked(None)

    def _looked(self, allowed: NDArray[np.bool_] | None) -> Look:
        own = self.model.own(self.histories) if isinstance(self.model, Blend) else None
        return self.search.look(own, self.histories, self.owned, allowed=allowed, now=self.now, apart=True)

    @cached_property
    def _usual(self) -> tuple[Flat, Float32, dict[str, Float32]]:
        """Places of what is proposed and of own items, and what is said of them."""
        places = np.sort(np.concatenate([self._look.proposed, self._mine]))
        return places, *self._asked(places)

    def _scores(self, places: Flat) -> tuple[Float32, dict[str, Float32]]:
        """The first stage's scores of places, and by source, and for itself, the standardised ones."""
        usual, total, columns = self._usual
        if places is usual:
            return total, columns
        at = np.minimum(np.searchsorted(usual, places), max(len(usual) - 1, 0))
        if len(usual) and np.array_equal(usual[at], places):
            return total[at], {label: scores[at] for label, scores in columns.items()}
        once, back = np.unique(places, return_inverse=True)
        total, columns = self._asked(once)
        return total[back], {label: scores[back] for label, scores in columns.items()}

    def _asked(self, places: Flat) -> tuple[Float32, dict[str, Float32]]:
        columns: dict[str, Float32] = {}
        total = self._look.total(places, columns)
        if isinstance(self.model, Blend):
            return total, columns | {FIRST: total}
        return self._look.raw(self.model.name, places), {FIRST: columns[self.model.name]}

    def _ranks(self, row: Int64, total: Float32) -> Float32:
        """As `opinions.ranks`, among what is proposed."""
        places = self._look.proposed
        first = self._scores(places)[0]
        places, first = places[first != 0], first[first != 0]
        line = np.sort((places // self.search.n_items).astype(np.uint64) << np.uint64(32) | sortable(-first))
        asked = row.astype(np.uint64) << np.uint64(32)
        above = np.searchsorted(line, asked | sortable(-total)) - np.searchsorted(line, asked)
        return np.asarray(np.log1p(above), dtype=np.float32)


def _best(row: Int64, scores: Float32, rows: int, n: int) -> NDArray[np.bool_]:
    """Which are the n largest of their row, but for those that are infinitely small; rows in order."""
    if rows == 1:
        chosen = np.zeros(len(row), np.bool_)
        chosen[highest(scores, n, np.arange(len(row)))] = True
        return chosen & np.isfinite(scores)
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    width = int(count.max(initial=0))
    if width <= n:
        return np.isfinite(scores)
    side_by_side = np.full((rows, width), -np.inf, dtype=np.float32)
    side_by_side[row, place] = scores
    best = np.zeros((rows, width), np.bool_)
    np.put_along_axis(best, largest(side_by_side, n), True, axis=1)
    return np.asarray(best[row, place] & np.isfinite(scores))
