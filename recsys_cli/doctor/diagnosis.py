"""The state of a shop's data and set-up in plain words, worst first, each with what fixes it.

Every finding is made by one small function from figures that were counted before; nothing is changed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..settings import Settings
from ..store.figures import Figures
from . import data_checks, runtime_checks
from .examination import examine
from .findings import BROKEN, SEVERITIES, Finding


@dataclass(frozen=True)
class Diagnosis:
    """All findings, worst first, and what was looked at."""

    findings: tuple[Finding, ...]
    figures: Figures | None

    @property
    def broken(self) -> bool:
        return any(f.severity == BROKEN for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        counts = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        return {"ok": not self.broken, "counts": counts, "findings": [f.as_dict() for f in self.findings]}


def diagnose(settings: Settings) -> Diagnosis:
    """Look at the database, the artifacts and the machine."""
    patient = examine(settings)
    found = [*runtime_checks.check(patient), *data_checks.check(patient)]
    return Diagnosis(tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity))), patient.figures)
