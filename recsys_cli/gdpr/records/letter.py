"""Papers in plain words: an export as a folder for the person, with JSON, CSV, a list of contents with checksums and a
page; and drafts, made from the settings as they are, of the notice for customers and of the record of processing.

What only the shop knows stands in square brackets. The texts are `words.json`, `notice.*.md` and `records.*.md`.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...artifacts import Artifacts
from ...csv_cells import csv_bytes
from ...errors import ArtifactError
from ...settings import Settings
from .receipts import iso, words
from .written_exports import CONTENTS, DATA, PAGE, TABLES

_SHOWN = 200  # rows of a table on the page; the files hold all
_COMMAS = str.maketrans(",.", ".,")


def folder_of(document: Mapping[str, Any], data: bytes, settings: Settings, language: str) -> dict[str, bytes]:
    """The files of an export's folder by name.

    Parameters
    ----------
    document
        See `rights.export`.
    data
        The same as JSON.
    """
    contents: dict[str, bytes] = {DATA: data}
    for name in TABLES:
        rows = rows_of(document.get(name))
        if rows:
            contents[f"{name}.csv"] = _csv(rows)
    contents[PAGE] = _page(document, settings, words(language), language).encode()
    listed = {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in contents.items()}
    manifest = {"made_at": document["made_at"], "counts": document["counts"], "files": listed}
    contents[CONTENTS] = json.dumps(manifest, indent=1).encode()
    return contents


def rows_of(part: Any) -> list[dict[str, Any]]:
    """A part of the document as rows: lists of objects, and objects of such lists with the name in front."""
    if isinstance(part, Mapping):
        return [{"of": name} | row for name, rows in part.items() if isinstance(rows, list) for row in rows]
    return [row for row in part or [] if isinstance(row, dict)]


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_bytes(columns, ([_cell(row.get(name)) for name in columns] for row in rows))


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _page(document: Mapping[str, Any], settings: Settings, said: Mapping[str, Any], language: str) -> str:
    about = html.escape(", ".join(document["asked_for"]))
    speech = _Speech(said, language, settings.ingest.timezone)
    parts = "".join(_section(name, rows_of(document.get(name)), speech) for name in said["sections"])
    told = {
        "logic": said["logic"],
        "sources": ", ".join(document.get("sources", ())) or "-",
        "kept": kept_in_words(settings, said),
    }
    facts = "".join(f"<h2>{title}</h2><p>{html.escape(text.format(**told))}</p>" for title, text in said["facts"])
    made = f"{said['made']} {speech.days(document['made_at'][:10])}. {said['same']}"
    page = Path(__file__).with_name("letter.html").read_text(encoding="utf-8")
    return page.format(
        language=language, title=said["title"], about=f"{said['about']} {about}", made=made, body=parts + facts
    )


def kept_for(settings: Settings, said: Mapping[str, Any]) -> dict[str, str]:
    """How long data of each kind is kept, in words."""
    rules, kept = settings.retention, said["kept"]
    days = {"events": rules.events_days, "guests": rules.guests_days, "rejected": rules.rejected_days}
    return {
        kind: kept[kind].format(n=kept["days"].format(n=f"{n:g}") if n else kept["unlimited"])
        for kind, n in days.items()
    }


def kept_in_words(settings: Settings, said: Mapping[str, Any]) -> str:
    """The same as one sentence."""
    text = "; ".join(kept_for(settings, said).values()) + "."
    return text[0].upper() + text[1:]


def _section(name: str, rows: Sequence[dict[str, Any]], speech: _Speech) -> str:
    said = speech.said
    shown = [told for row in rows[:_SHOWN] if {*(told := speech.row(row))} - {said["columns"]["user_id"]}]
    if not shown:
        return ""
    title, note = said["sections"][name]
    columns = list(dict.fromkeys(key for row in shown for key in row))
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row.get(c, ''))}</td>" for c in columns) + "</tr>" for row in shown
    )
    more = f'<p class="note">{said["more"].format(n=len(rows) - _SHOWN)}</p>' if len(rows) > _SHOWN else ""
    return f'<h2>{title}</h2><p class="note">{note}</p><table><tr>{head}</tr>{body}</table>{more}'


class _Speech:
    """Rows in the words of a language, with times of the shop's clock."""

    def __init__(self, said: Mapping[str, Any], language: str, zone: str) -> None:
        self.said, self._german = said, language == "de"
        self._zone: tzinfo = UTC
        with suppress(ZoneInfoNotFoundError, ValueError):  # a slim container has none
            self._zone = ZoneInfo(zone)

    def row(self, row: Mapping[str, Any]) -> dict[str, str]:
        """By heading: products by their titles, and nothing of how we keep it."""
        names, row = self.said["columns"], dict(row)
        for nested in ("attributes", "raw"):  # of a profile, and of a line of a file: the shop's own names
            inner = row.pop(nested, None)
            row |= {f" {key}": value for key, value in (inner if isinstance(inner, dict) else {}).items()}
        if row.get("title"):
            row.pop("item_id", None)
        if isinstance(row.get("ts"), int) and "time" not in row:
            row["time"] = iso(row["ts"])
        found = {}
        for key in [k for k in names if k in row] + [k for k in row if k.startswith(" ")]:
            heading = names.get(key) or key.strip().replace("_", " ").capitalize()
            found[heading] = self._cell(key, row[key], str(row.get("currency") or ""))
        return {heading: text for heading, text in found.items() if text}

    def days(self, text: str) -> str:
        """The same with its dates as people write them."""
        return re.sub(r"\b(\d{4})-(\d\d)-(\d\d)\b", r"\3.\2.\1", text) if self._german else text

    def _cell(self, key: str, value: Any, currency: str) -> str:
        text = "" if value is None else str(_cell(value))
        if key == "price" and isinstance(value, int | float):
            amount = f"{value:,.2f}"
            return f"{amount.translate(_COMMAS) if self._german else amount} {currency}".strip()
        if key == "time":
            there = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(self._zone)
            return self.days(f"{there:%Y-%m-%d %H:%M}")
        if key == "reason":
            for pattern, words in self.said.get("reasons", ()):
                text = re.sub(f"^{pattern}$", words, text)
            return self.days(text)
        # The shop's own words stay as they are: a segment called `view` was not looked at.
        return str(self.said["values"].get(text, text)) if key in ("event_type", "choice", "consent") else text


def draft(name: str, settings: Settings, artifacts: Artifacts, language: str = "en") -> str:
    """A draft to be completed by the shop: the `notice` for customers (articles 13, 14, 15(1)(h), 21(4)), or the entry
    for the `records` of processing activities (article 30)."""
    spoken, rules = words(language), settings.gdpr
    said = spoken["notice"]
    used = sorted(((kind, w) for kind, w in settings.events.weights.items() if w), key=lambda e: -e[1])
    model = said["model"]
    with suppress(ArtifactError):
        model = artifacts.current(verify=False).manifest["model"]["name"]
    text = Path(__file__).with_name(f"{name}.{language}.md").read_text(encoding="utf-8")
    return text.format(
        emails=said["hash" if settings.ingest.emails == "hash" else "keep"],
        more=", ".join(f"{kind} ({w:g})" for kind, w in used if w > 0),
        less=", ".join(f"{kind} ({w:g})" for kind, w in used if w < 0) or said["nothing"],
        weights=", ".join(f"{kind} {w:g}" for kind, w in settings.events.weights.items()),
        logic=spoken["logic"],
        kept=kept_in_words(settings, spoken),
        suppression=said["suppression"].format(n=rules.suppress_days) if rules.suppress else said["nothing"],
        model=model,
        retrain=f"{rules.retrain_days:g}",
    )
