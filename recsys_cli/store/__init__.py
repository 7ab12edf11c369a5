"""The DuckDB file: the only place with SQL. Open late, close early, take turns."""

from .connection import Store
from .reading import Snapshot

__all__ = ["Snapshot", "Store"]
