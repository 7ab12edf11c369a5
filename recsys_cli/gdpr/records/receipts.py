"""Receipts: what was removed, what is kept and why, how it was checked. They name nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...artifacts import Artifacts
from ...durable_files import private_dir, write_many
from ...errors import ArtifactError
from ...identity import state_dir
from ...schema import DAY
from ...settings import Settings
from .journal import Journal

if TYPE_CHECKING:
    from ..proof.scan import Scan

FOLDER = "receipts"


@cache
def words(part: str) -> dict[str, Any]:
    """What papers say: in English (`en`) or German (`de`), on a `receipt`, and how `counts` are called."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_bytes())[part]
    return found


def in_words(kind: str, n: int) -> str:
    """A count with its noun, its thousands apart so that it never looks like somebody's id: 1 event, 2,000 profiles."""
    return f"{n:,} {words('counts').get(kind, (kind, kind))[n != 1]}"


def iso(seconds: float) -> str:
    """Epoch seconds as people write times, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(
    settings: Settings,
    artifacts: Artifacts,
    plan: Journal,
    scanned: Scan,
    originals: Sequence[str] = (),
    lakes: Sequence[Path] = (),
    accepted: Mapping[str, str] | None = None,
) -> dict[Path, bytes]:
    """The receipt of an erasure as JSON and as text, by the paths they belong to; the JSON first.

    Parameters
    ----------
    originals
        Files of the watched folder that still name them, without the name.
    lakes
        Not where they were exported to.
    accepted
        What a person noted who closed the erasure though something was left: `note`, `by`.
    """
    said, kept = (words("receipt"), _retained(settings, artifacts, plan) if plan.begun else [])
    for kind, noun, files in (("originals", "files", [*originals]), ("lakes", "lakes", [str(path) for path in lakes])):
        if files:
            kept.append(_kept(kind, said["until"], n=in_words(noun, len(files))) | {"files": files})
    document: dict[str, Any] = {
        "receipt": plan.request,
        "about": said["about"],
        "held": plan.known,
        "begun": iso(plan.started_at),
        "finished": iso(time.time()),
        "removed": plan.removed,
        "retained": kept,
        "checked": {
            "files": scanned.files,
            "bytes": scanned.bytes,
            "searched_for": said["searched_for"],
            "not_searched": said["outside"],
            "found": len(plan.left) if accepted else 0,
            "same_characters_meaning_something_else": sum(scanned.mentions.values()),
        },
        "made_by": f"recsys {__version__}",
    } | ({} if accepted is None else {"accepted": dict(accepted)})
    return _files(private_dir(private_dir(state_dir(settings.db)) / FOLDER) / f"{plan.request}.json", document)


def note_retrained(db: Path, version: str) -> None:
    """Change receipts to say that the model has been trained again since."""
    said = words("receipt")
    for path in (state_dir(db) / FOLDER).glob("*.json"):
        document = json.loads(path.read_bytes())
        kept = [kept for kept in document["retained"] if kept["what"] != said["kept"]["learned"][0]]
        if len(kept) < len(document["retained"]):
            again = said["again"].format(version=version)
            write_many(_files(path, document | {"retained": kept, "model": again}))


def _files(path: Path, document: Mapping[str, Any]) -> dict[Path, bytes]:
    return {path: json.dumps(document, indent=1).encode(), path.with_suffix(".txt"): as_text(document).encode()}


def retrain_by(artifacts: Artifacts, settings: Settings) -> int | None:
    """When what the served model learned from erased people must have been trained away; None when it holds nothing."""
    try:
        manifest = artifacts.current(verify=False).manifest
    except ArtifactError:
        return None
    forgotten = manifest.get("forgotten")
    return int(forgotten["first_at"] + settings.gdpr.retrain_days * DAY) if forgotten else None


def _retained(settings: Settings, artifacts: Artifacts, plan: Journal) -> list[dict[str, Any]]:
    """What stays after an erasure, why, and until when."""
    rules, kept = settings.gdpr, []
    if rules.suppress:
        kept.append(_kept("listed", iso(plan.started_at + rules.suppress_days * DAY)))
    if rules.grace_hours:
        kept.append(_kept("refused", iso(time.time() + rules.grace_hours * 3600)))
    kept.append(_kept("backups", words("receipt")["until"]))
    if settings.update.servers:  # a search of this machine proves nothing about theirs
        kept.append(_kept("servers", words("receipt")["until_servers"]) | {"files": list(settings.update.servers)})
    if due := retrain_by(artifacts, settings):
        kept.append(_kept("learned", iso(due)))
    return kept


def _kept(kind: str, until: str, **facts: str) -> dict[str, Any]:
    what, why = words("receipt")["kept"][kind]
    return {"what": what.format(**facts), "why": why, "until": until}


def as_text(document: Mapping[str, Any]) -> str:
    """The receipt for people."""
    removed = [f"  {in_words(kind, n)}" for kind, n in document["removed"].items()]
    kept = []
    for k in document["retained"]:
        kept.append(f"  {k['what']}, until {k['until']}: {k['why']}")
        kept += [f"    {name}" for name in k.get("files", ())]
    checked, accepted = document["checked"], document.get("accepted", {})
    by = f" by {accepted['by']}" if accepted.get("by") else ""
    lines = [
        f"Receipt {document['receipt']}: {document['about']}",
        f"Begun {document['begun']}, finished {document['finished']}, by {document['made_by']}.",
        "Removed:",
        *(removed or ["  nothing was held"]),
        "Kept:",
        *(kept or ["  nothing"]),
        *([f"Model: {document['model']}."] if "model" in document else []),
        f"Checked: {checked['files']:,} files, {checked['bytes']:,} bytes, searched for "
        f"{checked['searched_for']}. Found: {checked['found']}.",
        *([f"Looked at{by} and accepted: {accepted['note']}"] if accepted else []),
        f"Not searched: {checked['not_searched']}.",
    ]
    return "\n".join(lines) + "\n"
