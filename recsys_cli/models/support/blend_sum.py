"""The sum that a blend is, over all items; `blend_search` adds up what is proposed alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...schema import Float32, Histories
from ..base import Model
from .blend_weights import standardised


@dataclass(frozen=True)
class Alike:
    """What a member tells all customers alike.

    Parameters
    ----------
    scaled, shared
        float32, shape (1, n_items): standardised scores, and those times the member's weight.
    known
        bool, of the same shape: which items it has an opinion of.
    """

    scaled: Float32
    shared: Float32
    known: NDArray[np.bool_]

    @staticmethod
    def of(member: Model, share: float) -> Alike:
        scores = member.score(Histories.of([[]]), 0)
        scaled = standardised(scores)
        return Alike(scaled, np.float32(share) * scaled, scores != 0)


def blended(
    members: Mapping[str, Model],
    shares: Mapping[str, float],
    histories: Histories,
    now: int,
    kept: dict[str, Float32] | None = None,
    alike: Mapping[str, Alike] = MappingProxyType({}),
) -> tuple[Float32, NDArray[np.bool_]]:
    """The members' standardised scores, weighted and added; and of which items any of them has an opinion.

    The standardised scores of each are put into `kept`, where it is given. What `alike` has is not asked for again.
    """
    shape = (len(histories), next(iter(members.values())).n_items)
    total, known = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
    for label, member in members.items():
        if member.capabilities.personal:
            scores = member.score(histories, now)
            known |= scores != 0
            scaled = standardised(scores)
            total += np.float32(shares[label]) * scaled
        else:
            told = alike[label] if label in alike else Alike.of(member, shares[label])
            known |= told.known
            scaled = told.scaled
            total += told.shared
        if kept is not None:
            kept[label] = scaled
    return total, known
