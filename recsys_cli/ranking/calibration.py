"""How well scores tell what comes about: AUC, log loss, and whether chances are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 10
_LEAST = 1e-7  # chance that a log loss reckons with at least

Floats = NDArray[np.floating[Any]]


def foretold(
    raw: NDArray[np.float64], label: NDArray[np.bool_], weight: Floats | None = None, *, chances: bool = True
) -> dict[str, Any]:
    """How well scores foretell labels of which some are true and some are not.

    Parameters
    ----------
    raw
        Shape (rows,): the higher, the likelier; with `chances`, log odds.
    weight
        Of rows; all alike when None.
    chances
        Whether they are log odds.

    Returns
    -------
    dict
        rows, positives, auc (the share of pairs in the right order, ties by half); with `chances` also log_loss,
        constant (the log loss of one chance for all), ece (expected calibration error: how far chances are from what
        came about, over ten bins of equally many rows) and reliability: for each bin chance, rate and rows.
    """
    found: dict[str, Any] = {
        "rows": len(label),
        "positives": int(label.sum()),
        "auc": round(auc(raw, label), 4),
    }
    if not chances:
        return found
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=np.float64)
    chance = np.clip(1 / (1 + np.exp(-np.clip(raw, -500, 500))), _LEAST, 1 - _LEAST)
    base = np.full(len(label), np.average(label, weights=weight))
    bins = reliability(chance, label, weight)
    whole = sum(one["weight"] for one in bins)
    error = sum(one["weight"] * abs(one["chance"] - one["rate"]) for one in bins) / whole
    return found | {
        "log_loss": round(log_loss(chance, label, weight), 5),
        "constant": round(log_loss(base, label, weight), 5),
        "ece": round(error, 5),
        "reliability": [{name: round(value, 5) for name, value in one.items()} for one in bins],
    }


def auc(raw: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    """The share of pairs of a true and a false row in which the true one scores higher; ties count half."""
    false = np.sort(raw[~label])
    below = np.searchsorted(false, raw[label], "left") + np.searchsorted(false, raw[label], "right")
    return float(below.mean() / 2 / len(false))


def log_loss(chance: Floats, label: NDArray[np.bool_], weight: Floats) -> float:
    """Mean of minus the logarithm of the chance of what came about."""
    return float(np.average(-np.log(np.where(label, chance, 1 - chance)), weights=weight))


def reliability(chance: Floats, label: NDArray[np.bool_], weight: Floats) -> list[dict[str, float]]:
    """Mean chance and rate of up to ten bins of about equally many rows, the least likely first; ties stay together."""
    edges = np.unique(np.quantile(chance, np.arange(1, _BINS) / _BINS))
    of_row = np.searchsorted(edges, chance, side="right")
    found = []
    for part in (np.flatnonzero(of_row == number) for number in range(len(edges) + 1)):
        if len(part):
            mean, rate = (float(np.average(of[part], weights=weight[part])) for of in (chance, label))
            found.append({"chance": mean, "rate": rate, "rows": len(part), "weight": float(weight[part].sum())})
    return found
