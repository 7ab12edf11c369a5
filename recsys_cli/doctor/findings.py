"""One thing that the doctor found."""

from __future__ import annotations

from dataclasses import dataclass

BROKEN, WARNING, HINT = "broken", "warning", "hint"
SEVERITIES = (BROKEN, WARNING, HINT)  # worst first


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing.

    Parameters
    ----------
    name
        What to call it in monitoring.
    severity
        broken: recommendations do not work, or not safely. warning: they are worse than need be. hint: good to know.
    sentence
        What is the case, in plain words, with figures.
    advice
        What to do; a command where there is one.
    """

    name: str
    severity: str
    sentence: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"name": self.name, "severity": self.severity, "sentence": self.sentence, "advice": self.advice}
