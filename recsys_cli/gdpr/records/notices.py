"""Drafts in plain words, made from the settings as they are: what customers are told, and the record of processing.

What only the shop knows stands in square brackets. The texts are `notice.*.md` and `records.*.md` beside this file.
"""

from __future__ import annotations

from pathlib import Path

from ...artifacts import Artifacts
from ...errors import ArtifactError
from ...settings import Settings
from .letter import kept_in_words, words


def notice(settings: Settings, artifacts: Artifacts, language: str = "en") -> str:
    """A notice for customers (articles 13, 14, 15(1)(h), 21(4)), to be completed by the shop."""
    return _filled("notice", settings, artifacts, language)


def records(settings: Settings, artifacts: Artifacts, language: str = "en") -> str:
    """An entry for the record of processing activities (article 30), to be completed by the shop."""
    return _filled("records", settings, artifacts, language)


def _filled(name: str, settings: Settings, artifacts: Artifacts, language: str) -> str:
    spoken, rules = words(language), settings.gdpr
    said = spoken["notice"]
    used = sorted(((kind, w) for kind, w in settings.events.weights.items() if w), key=lambda e: -e[1])
    text = Path(__file__).with_name(f"{name}.{language}.md").read_text(encoding="utf-8")
    return text.format(
        emails=said["hash" if settings.ingest.emails == "hash" else "keep"],
        more=", ".join(f"{kind} ({w:g})" for kind, w in used if w > 0),
        less=", ".join(f"{kind} ({w:g})" for kind, w in used if w < 0) or said["nothing"],
        weights=", ".join(f"{kind} {w:g}" for kind, w in settings.events.weights.items()),
        logic=spoken["logic"],
        kept=kept_in_words(settings, spoken),
        suppression=said["suppression"].format(n=rules.suppress_days) if rules.suppress else said["nothing"],
        model=_model(artifacts) or said["model"],
        retrain=f"{rules.retrain_days:g}",
    )


def _model(artifacts: Artifacts) -> str:
    try:
        return str(artifacts.current(verify=False).manifest["model"]["name"])
    except ArtifactError:
        return ""
