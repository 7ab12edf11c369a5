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

SOURCE = "new"
SHORTEST = 10  # lists with fewer places have none to give away
_FEW = 3  # customers who make an item known
_NEAR = 0.5  # of the best likeness: what is less alike is not to the same taste
_MOST = 5000  # new items that are looked at, the newest


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
        Their categories' codes, -1 for none.
    sold
        bool, which of them anybody bought.
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
        return Explorer(codes, unit, catalogue.words["category"].code[codes], sold[codes] > 0)

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
        """The new item most to somebody's taste; None when there is none to it.

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
            order = np.flatnonzero(np.isin(self.category, liked[liked >= 0]))
        order = order[np.argsort(self.sold[order] == unsold, kind="stable")]
        for code in self.codes[order].tolist():
            if allowed.mask[code] and code not in skip:
                return int(code)
        return None
