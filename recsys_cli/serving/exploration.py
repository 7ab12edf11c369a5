"""A place for what is new: among a hundred thousand items it would else wait for its first buyers for ever."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..artifacts.bundle import Bundle
from ..models.base import Model
from ..models.support.vectors import VectorModel, unit_rows
from ..schema import Float32, Int32
from .catalogue import Allowed, Catalogue
from .history import Distaste, Past

SOURCE = "new"
SHORTEST = 10  # lists with fewer places have none to give away
_FEW = 3  # customers who make an item known
_NEAR = 0.5  # of the best likeness: what is less alike is not to the same taste
_MOST = 5000  # new items that are looked at, the newest
LATEST = 10  # events of a history whose categories are liked


def sees_unsold(items: Any) -> Any:
    """Whether somebody whose item codes sum up to this sees what nobody bought yet.

    Half of the customers do, always the same half until they do something.
    """
    return items % 2 == 0


@dataclass(frozen=True)
class Explorer:
    """Items that came after the model was trained and that hardly anybody has bought.

    Parameters
    ----------
    codes
        int32, newest first.
    unit
        Their vectors at length 1, shape (len(codes), d); None for models without.
    category
        Categories' codes of all items, -1 for none.
    sold
        bool, which of `codes` anybody bought.
    """

    codes: Int32
    unit: Float32 | None
    category: NDArray[np.int32]
    sold: NDArray[np.bool_]

    @staticmethod
    def of(bundle: Bundle, model: Model, catalogue: Catalogue, manifest: dict[str, Any]) -> Explorer:
        """The new items of a version; none right after a training."""
        known = manifest.get("trained", {}).get("data", {}).get("items", len(bundle.catalogue))
        codes = np.arange(len(bundle.catalogue) - 1, known - 1, -1, dtype=np.int32)[:_MOST]
        sold = np.zeros(len(bundle.catalogue), dtype=np.int64)
        if len(codes):
            h = bundle.histories
            pairs = np.unique(np.stack([h.item, h.row_of_event])[:, h.item >= known], axis=1)
            sold = np.bincount(pairs[0], minlength=len(sold))
            codes = codes[sold[codes] <= _FEW]
        unit = unit_rows(model.item_vectors()[codes]) if isinstance(model, VectorModel) else None
        return Explorer(codes, unit, catalogue.words["category"].code, sold[codes] > 0)

    def liked(self, past: Past, distaste: Distaste) -> NDArray[np.int32]:
        """Categories of what somebody did last, but for what they turned away from."""
        latest = slice(-LATEST, None)
        return self.category[past.item[latest][~distaste.against[past.kind[latest]]]]

    def codes_in(self, codes: list[int]) -> bool:
        """Whether a list has a new item already."""
        return not self._set.isdisjoint(codes)

    @cached_property
    def _set(self) -> frozenset[int]:
        return frozenset(self.codes.tolist())

    def best(
        self,
        vector: Float32 | None,
        liked: NDArray[np.int32],
        allowed: Allowed,
        skip: set[int],
        *,
        unsold: bool = False,
    ) -> int | None:
        """The new item that suits a visitor best; None when none does.

        Parameters
        ----------
        vector
            The customer's, for a model that has vectors.
        liked
            Categories of their latest items, for one that has not.
        unsold
            Prefer what nobody bought. What somebody did is always nearer to somebody's taste, so that it would be
            preferred by all.
        """
        if self.unit is not None and vector is not None:
            likeness = self.unit @ vector
            order = np.argsort(-likeness, kind="stable")
            order = order[likeness[order] > max(0.0, _NEAR * float(likeness.max(initial=0.0)))]
        else:
            order = np.flatnonzero(np.isin(self.category[self.codes], liked[liked >= 0]))
        order = order[np.argsort(self.sold[order] == unsold, kind="stable")]
        for code in self.codes[order].tolist():
            if allowed.mask[code] and code not in skip:
                return int(code)
        return None

    def best_of_many(
        self,
        vectors: Float32 | None,
        liked: NDArray[np.bool_],
        free: NDArray[np.bool_],
        unsold: NDArray[np.bool_],
    ) -> Int32:
        """As `best`, for many customers at once: -1 where there is none.

        Parameters
        ----------
        vectors
            Shape (customers, d), for a model that has vectors.
        liked
            Shape (customers, categories), for one that has not.
        free
            Which of `codes` each customer may be shown; shape (customers, len(codes)).
        unsold
            Shape (customers,).
        """
        if self.unit is not None and vectors is not None:
            worth = vectors @ self.unit.T
            fits = worth > np.maximum(0.0, _NEAR * worth.max(axis=1, initial=0.0))[:, None]
            worth = worth / np.maximum(np.abs(worth).max(axis=1, initial=0.0), 1e-30)[:, None]
        else:
            category = self.category[self.codes]
            fits = (category >= 0) & liked[:, np.maximum(category, 0)]
            worth = np.zeros(fits.shape, dtype=np.float32)  # all alike: the newest, which come first
        worth = worth + 4 * (self.sold[None, :] != unsold[:, None])
        worth[~(fits & free)] = -np.inf
        best = worth.argmax(axis=1)
        none = np.isneginf(worth[np.arange(len(worth)), best])
        return np.where(none, -1, self.codes[best]).astype(np.int32)
