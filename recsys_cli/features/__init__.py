"""Named values of items, customers and pairs at a moment: one code for training and for serving."""

from __future__ import annotations

from .feature import FEATURES, Feature
from .feature_columns import learned, matrix
from .item_table import ItemTable
from .lookup import FeatureStore
from .people import People

__all__ = ["FEATURES", "Feature", "FeatureStore", "ItemTable", "People", "learned", "matrix"]
