"""The state of a shop's data and set-up in plain words, worst first, each with what fixes it.

Every finding is made by one small function from figures that were counted before; nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SettingError
from ..evaluation.learning_curve import Standing
from ..ranking.outcome import RANKER, told
from ..settings import Settings
from ..store.figures import Figures
from . import data_checks, runtime_checks
from .examination import examine
from .findings import BROKEN, SEVERITIES, Finding


@dataclass(frozen=True)
class Diagnosis:
    """All findings, worst first, what was looked at, where the shop stands on the learning curve, and its ranker."""

    findings: tuple[Finding, ...]
    figures: Figures | None
    standing: Standing | None = None
    ranker: str = ""

    @property
    def broken(self) -> bool:
        return any(f.severity == BROKEN for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        counts = {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}
        found = {"ok": not self.broken, "counts": counts, "findings": [f.as_dict() for f in self.findings]}
        return found | {"standing": self.standing.as_dict() if self.standing else None, "ranker": self.ranker}


def diagnose(settings: Settings, refused: Sequence[SettingError] = ()) -> Diagnosis:
    """Look at the database, the artifacts and the machine; `refused` is what of the settings could not be read."""
    patient = examine(settings)
    unread = [Finding("settings", BROKEN, e.message, e.hint) for e in refused]
    found = [*unread, *runtime_checks.check(patient), *data_checks.check(patient)]
    ordered = tuple(sorted(found, key=lambda f: SEVERITIES.index(f.severity)))
    ranker = patient.version.manifest.get(RANKER) if patient.version else None
    sentence = f"Ranker: {told(ranker)}" if ranker else ""
    return Diagnosis(ordered, patient.figures, data_checks.where_it_stands(patient), sentence)
