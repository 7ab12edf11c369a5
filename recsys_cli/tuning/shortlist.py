"""Which models data of a given size allows on two cores and four gigabytes."""

from __future__ import annotations

import importlib.util

from ..models import registry
from ..models.session_knn import SessionKNN, clicks
from ..schema import Dataset

# The likelier winners first: in a budget of time, the others are measured against them.
_FIRST = (
    "ease",
    "next-item",
    "next-ridge",
    "session-knn",
    "als",
    "item-knn",
    "rp3beta",
    "spectral",
    "popular",
    "content",
)
# The quicker first: where time is short, more of them are compared and blended.
_QUICK = (
    "next-item",
    "session-knn",
    "item-knn",
    "rp3beta",
    "als",
    "spectral",
    "next-ridge",
    "ease",
    "popular",
    "content",
)


def affordable(data: Dataset) -> tuple[str, ...]:
    """Names of the models that can be fitted in minutes on this data, and whose libraries are installed."""
    able = [name for name, cls in registry.MODELS.items() if cls.affordable(data) and _installed(cls.needs)]
    return tuple(sorted(able, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)))


def quicker(data: Dataset) -> tuple[str, ...]:
    """Those of `affordable` that take no minutes: what `evaluate` compares where no model is named."""
    return tuple(name for name in affordable(data) if not registry.get(name).slow)


def quick(data: Dataset) -> tuple[str, ...]:
    """Those of `affordable` whose fit has a closed form or few passes: what `train --model auto` tries."""
    able = set(affordable(data)) - ({SessionKNN.name} if not clicks(data) else set())
    return tuple(name for name in _QUICK if name in able)


def _installed(library: str) -> bool:
    return not library or importlib.util.find_spec(library) is not None
