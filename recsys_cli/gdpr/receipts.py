"""Receipts: what was removed, what is kept and why, how it was checked; to hand to whoever asks, naming nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..artifacts import Artifacts
from ..durable_files import private_dir, write_atomic
from ..errors import ArtifactError
from ..schema import DAY
from ..settings import Settings
from .journal import Journal, state_dir
from .scanning import Scan

FOLDER = "receipts"
LEARNED = "what the items' side of the model learned from all customers together"

OUTSIDE = (
    "files that recsys recommend --all wrote, and other copies outside of the state directories; they are to be "
    "written anew, or deleted"
)

SEARCHED_FOR = (
    "the identifiers as text (UTF-8, UTF-16, UTF-32, Latin-1; e-mails in any case), escaped as JSON, "
    "HTML and in URLs, in base64 and hex, their MD5, SHA-1 and SHA-256 (raw, hex, base64) and our keyed hash; in the "
    "bytes of every file and inside gzip, zstd, lz4, bzip2, xz, zip, npz, tar, Parquet, Arrow, SQLite and DuckDB files"
)


def write(
    settings: Settings,
    artifacts: Artifacts,
    plan: Journal,
    scanned: Scan,
    originals: Sequence[tuple[str, str]] = (),
    emptied: Sequence[str] = (),
) -> Path:
    """Write the receipt of an erasure as JSON and as text; returns the path of the JSON.

    Parameters
    ----------
    originals
        Files of the watched folder that still name them, and why; see `originals.Originals.shown`.
    emptied
        Files of the watched folder that were removed because nothing was left in them.
    """
    folder = private_dir(private_dir(state_dir(settings.db)) / FOLDER)
    document = _document(settings, artifacts, plan, scanned)
    if originals:
        document["retained"].append(
            {
                "what": f"{len(originals)} of the shop's own export files in the watched folder",
                "why": _why_originals(settings),
                "until": "the shop deletes them",
                "files": [{"name": name, "why": why or "has rows of theirs"} for name, why in originals],
            }
        )
    if emptied:
        document["files_removed"] = [{"name": name, "why": "nothing was left in it"} for name in emptied]
    path = folder / f"{plan.request}.json"
    write_atomic(path.with_suffix(".txt"), as_text(document).encode())
    write_atomic(path, json.dumps(document, indent=1).encode())
    return path


def _why_originals(settings: Settings) -> str:
    if settings.gdpr.originals == "rewrite":
        return "no rows can be cut out of them, for the reasons below"
    return "they are the shop's; recsys does not take in the person from them again"


def note_retrained(path: Path, version: str) -> None:
    """Change a receipt to say that the model has been trained anew since."""
    document = json.loads(path.read_bytes())
    document["retained"] = [kept for kept in document["retained"] if kept["what"] != LEARNED]
    document["model"] = f"trained anew as {version}; no older version is kept"
    write_atomic(path.with_suffix(".txt"), as_text(document).encode())
    write_atomic(path, json.dumps(document, indent=1).encode())


def retrain_by(artifacts: Artifacts, settings: Settings) -> int | None:
    """When what the served model learned from erased people must have been trained away; None when it holds nothing."""
    try:
        manifest = artifacts.current(verify=False).manifest
    except ArtifactError:
        return None
    forgotten = manifest.get("forgotten")
    return int(forgotten["first_at"] + settings.gdpr.retrain_days * DAY) if forgotten else None


def _document(settings: Settings, artifacts: Artifacts, plan: Journal, scanned: Scan) -> dict[str, Any]:
    return {
        "receipt": plan.request,
        "about": "erasure of personal data (GDPR article 17)",
        "people": len(plan.asked) - len(plan.unknown) if plan.asked else len(plan.sessions),
        "unknown": len(plan.unknown),
        "begun": iso(plan.started_at),
        "finished": iso(int(time.time())),
        "removed": plan.removed,
        "retained": _retained(settings, artifacts, plan),
        "checked": {
            "files": scanned.files,
            "bytes": scanned.bytes,
            "searched_for": SEARCHED_FOR,
            "not_searched": OUTSIDE,
            "found": len(scanned.findings),
            "same_digits_meaning_something_else": len(scanned.coincidences),
        },
        "made_by": f"recsys {__version__}",
    }


def _retained(settings: Settings, artifacts: Artifacts, plan: Journal) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    if plan.begun and settings.gdpr.suppress:
        until = int(plan.started_at + settings.gdpr.suppress_days * DAY)
        kept.append(
            {
                "what": "one keyed hash a person on the suppression list",
                "why": "so that an old export or a backup does not bring them back (article 6(1)(c))",
                "until": iso(until),
            }
        )
    if plan.begun and settings.gdpr.grace_hours:
        kept.append(
            {
                "what": "one keyed hash a person in the servers' list of choices",
                "why": "so that events still under way are refused",
                "until": iso(int(time.time() + settings.gdpr.grace_hours * 3600)),
            }
        )
    if plan.begun:
        kept.append(
            {
                "what": "backups made before, wherever the shop keeps them",
                "why": "recsys restore erases the person from them before anything is served",
                "until": "the shop deletes them",
            }
        )
    due = retrain_by(artifacts, settings)
    if due is not None:
        kept.append(
            {
                "what": LEARNED,
                "why": "it names nobody and holds no row of theirs, and the next training replaces it",
                "until": iso(due),
            }
        )
    return kept


def as_text(document: dict[str, Any]) -> str:
    """The receipt for people."""
    removed = [f"  {grouped(n)} {kind.replace('_', ' ')}" for kind, n in document["removed"].items()]
    removed += [f"  the file {f['name']}: {f['why']}" for f in document.get("files_removed", ())]
    kept = []
    for k in document["retained"]:
        kept.append(f"  {k['what']}, until {k['until']}: {k['why']}")
        kept += [f"    {f['name']}: it {f['why']}" for f in k.get("files", ())]
    checked = document["checked"]
    lines = [
        f"Receipt {document['receipt']}: {document['about']}",
        f"Begun {document['begun']}, finished {document['finished']}, by {document['made_by']}.",
        f"People erased: {grouped(document['people'])}. Asked for and not known: {grouped(document['unknown'])}.",
        "Removed:",
        *(removed or ["  nothing was held"]),
        "Kept:",
        *(kept or ["  nothing"]),
        *([f"Model: {document['model']}."] if "model" in document else []),
        f"Checked: {grouped(checked['files'])} files, {grouped(checked['bytes'])} bytes unpacked, searched for "
        f"{checked['searched_for']}. Found: {checked['found']}.",
        *([f"Not searched: {checked['not_searched']}."] if "not_searched" in checked else []),
    ]
    return "\n".join(lines) + "\n"


def grouped(number: int) -> str:
    """A number with its thousands apart: for reading, and so that a count never looks like somebody's id."""
    return f"{number:,}"


def iso(seconds: int) -> str:
    """Epoch seconds as people write times, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
