"""What shops export, as it comes, into the store: formats, columns, checks, and exactly once."""

from .import_report import FileReport, Reason, Report
from .pipeline import Request, StrictRefusal, ingest

__all__ = ["FileReport", "Reason", "Report", "Request", "StrictRefusal", "ingest"]
