"""What shops export, as it comes, into the store: formats, columns, checks, and exactly once."""

from .pipeline import Request, StrictRefusal, ingest
from .report import FileReport, Reason, Report

__all__ = ["FileReport", "Reason", "Report", "Request", "StrictRefusal", "ingest"]
