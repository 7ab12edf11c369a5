"""Which models data of a given size allows on two cores and four gigabytes."""

from __future__ import annotations

import importlib.util

from ..models import registry
from ..schema import Dataset


def affordable(data: Dataset) -> tuple[str, ...]:
    """Names of the models that can be fitted in minutes on this data, and whose libraries are installed."""
    return tuple(name for name, cls in registry.MODELS.items() if cls.affordable(data) and _installed(cls.needs))


def _installed(library: str) -> bool:
    return not library or importlib.util.find_spec(library) is not None
