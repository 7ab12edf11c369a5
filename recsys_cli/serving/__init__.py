"""Answers, live, from a published version and what was heard since. Knows nothing of the database."""

from .engine import Engine
from .request import Answer, Batch, Filters, Request

__all__ = ["Answer", "Batch", "Engine", "Filters", "Request"]
