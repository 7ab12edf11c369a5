"""Receipts: what was removed, what is kept and why, how it was checked. They name nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...artifacts import Artifacts
from ...durable_files import private_dir, write_many
from ...errors import ArtifactError
from ...identity import state_dir
from ...schema import DAY
from ...settings import Settings
from ..proof.scan import Scan
from .journal import Journal

FOLDER = "receipts"
LEARNED = "what the items' side of the model learned from all customers together"
OUTSIDE = (
    "files that recsys recommend --all and the export of rejected rows wrote, and other copies outside of the state "
    "directories; write them again or delete them"
)
SEARCHED_FOR = (
    "the person's rows, received events and histories, by the columns that name people; and in the bytes of every file "
    "the identifiers of five characters and more as text and in JSON, and the keyed hashes as they are and in hex"
)


def made(
    settings: Settings,
    artifacts: Artifacts,
    plan: Journal,
    scanned: Scan,
    originals: Sequence[str] = (),
    accepted: Mapping[str, str] | None = None,
) -> dict[Path, bytes]:
    """The receipt of an erasure as JSON and as text, by the paths they belong to; the JSON first.

    Parameters
    ----------
    originals
        Files of the watched folder that still name them, without the name.
    accepted
        What a person noted who closed the erasure though something was left: `note`, `by`.
    """
    document: dict[str, Any] = {
        "receipt": plan.request,
        "about": "erasure of personal data (GDPR article 17)",
        "held": plan.known,
        "begun": iso(plan.started_at),
        "finished": iso(int(time.time())),
        "removed": plan.removed,
        "retained": _retained(settings, artifacts, plan),
        "checked": {
            "files": scanned.files,
            "bytes": scanned.bytes,
            "searched_for": SEARCHED_FOR,
            "not_searched": OUTSIDE,
            "found": len(plan.left) if accepted else 0,
            "same_characters_meaning_something_else": sum(scanned.mentions.values()),
        },
        "made_by": f"recsys {__version__}",
    }
    if originals:
        document["retained"].append(
            {
                "what": f"{in_words('files', len(originals))} of the shop's own in the watched folder",
                "why": "they are the shop's; recsys does not take the person in from them again",
                "until": "the shop deletes them",
                "files": list(originals),
            }
        )
    if accepted is not None:
        document["accepted"] = dict(accepted)
    return _files(private_dir(private_dir(state_dir(settings.db)) / FOLDER) / f"{plan.request}.json", document)


def note_retrained(db: Path, version: str) -> None:
    """Change receipts to say that the model has been trained again since."""
    for path in (state_dir(db) / FOLDER).glob("*.json"):
        document = json.loads(path.read_bytes())
        kept = [kept for kept in document["retained"] if kept["what"] != LEARNED]
        if len(kept) == len(document["retained"]):
            continue
        document["retained"] = kept
        document["model"] = f"trained again as {version}; no older version is kept"
        write_many(_files(path, document))


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
    rules, kept = settings.gdpr, []
    if plan.begun and rules.suppress:
        what, until = "one keyed hash a person on the suppression list", plan.started_at + rules.suppress_days * DAY
        why = "so that an old export or a backup does not bring them back (article 6(1)(c))"
        kept.append({"what": what, "why": why, "until": iso(int(until))})
    if plan.begun and rules.grace_hours:
        what, until = "one keyed hash a person in the servers' list of choices", time.time() + rules.grace_hours * 3600
        kept.append({"what": what, "why": "so that events still under way are refused", "until": iso(int(until))})
    if plan.begun:
        why = "recsys restore erases the person from them before anything is served"
        what = "backups made before, wherever the shop keeps them"
        kept.append({"what": what, "why": why, "until": "the shop deletes them"})
    if plan.begun and (due := retrain_by(artifacts, settings)) is not None:
        why = "it names nobody and holds no row of theirs, and the update worker trains again by then"
        kept.append({"what": LEARNED, "why": why, "until": iso(due)})
    return kept


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
        f"Checked: {grouped(checked['files'])} files, {grouped(checked['bytes'])} bytes, searched for "
        f"{checked['searched_for']}. Found: {checked['found']}.",
        *([f"Looked at{by} and accepted: {accepted['note']}"] if accepted else []),
        f"Not searched: {checked['not_searched']}.",
    ]
    return "\n".join(lines) + "\n"


# One and several of each kind of data that is counted; of others the plural is their name.
_WORDS = {
    "events": "event events",
    "users": "profile profiles",
    "guest_events": "guest_event guest_events",
    "rejected": "rejected_row rejected_rows",
    "served": "entry_of_the_log_of_lists entries_of_the_log_of_lists",
    "spool_lines": "received_line received_lines",
    "version_rows": "history_in_a_version histories_in_versions",
    "exports": "export exports",
    "damaged_versions": "damaged_version damaged_versions",
    "receipts": "receipt receipts",
    "log_entries": "entry_of_the_log_of_requests entries_of_the_log_of_requests",
    "changed_users": "note_of_a_change notes_of_changes",
    "files": "file files",
}


def in_words(kind: str, n: int) -> str:
    """A count with its noun: 1 event, 2 profiles."""
    one, _, many = _WORDS.get(kind, f"{kind} {kind}").partition(" ")
    return f"{grouped(n)} {(one if n == 1 else many).replace('_', ' ')}"


def grouped(number: int) -> str:
    """A number with its thousands apart: for reading, and so that a count never looks like somebody's id."""
    return f"{number:,}"


def iso(seconds: int) -> str:
    """Epoch seconds as people write times, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
