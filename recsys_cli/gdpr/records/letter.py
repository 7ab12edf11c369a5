"""An export as a folder for the person: JSON and CSV, a list of contents with checksums, and a page in plain words."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...csv_cells import csv_bytes
from ...settings import Settings
from .receipts import iso
from .written_exports import CONTENTS, DATA, PAGE, TABLES

_SHOWN = 200  # rows of a table on the page; the files hold all
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; font-size: 14px; width: 100%; table-layout: fixed }
th, td { text-align: left; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top;
         overflow-wrap: anywhere }
h2 { margin-top: 2rem } .note { color: #555 }
@media print { body { margin: 0; max-width: none } tr { break-inside: avoid } }
"""


def words(language: str) -> dict[str, Any]:
    """What papers say, in English or German."""
    found: dict[str, Any] = json.loads((Path(__file__).with_name("words.json")).read_bytes())[language]
    return found


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
    parts = "".join(_section(name, rows_of(document.get(name)), said) for name in said["sections"])
    told = {
        "logic": said["logic"],
        "sources": ", ".join(document.get("sources", ())) or "-",
        "kept": kept_in_words(settings, said),
    }
    facts = "".join(f"<h2>{title}</h2><p>{html.escape(text.format(**told))}</p>" for title, text in said["facts"])
    return f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{said["title"]}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head><body>
<h1>{said["title"]}</h1>
<p>{said["about"]} {about}. {said["made"]} {_day(document["made_at"], language)}. {said["same"]}</p>
{parts}{facts}
</body></html>
"""


def kept_in_words(settings: Settings, said: Mapping[str, Any]) -> str:
    """How long data of each kind is kept, as one sentence."""
    rules, kept = settings.retention, said["kept"]
    days = (("events", rules.events_days), ("guests", rules.guests_days), ("rejected", rules.rejected_days))
    told = [kept[k].format(n=kept["days"].format(n=f"{n:g}") if n else kept["unlimited"]) for k, n in days]
    return "; ".join(told) + "."


def _section(name: str, rows: Sequence[dict[str, Any]], said: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    title, note = said["sections"][name]
    shown = [_plain(row, said) for row in rows[:_SHOWN]]
    columns = list(dict.fromkeys(key for row in shown for key in row))
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row.get(c, ''))}</td>" for c in columns) + "</tr>" for row in shown
    )
    more = f'<p class="note">{said["more"].format(n=len(rows) - _SHOWN)}</p>' if len(rows) > _SHOWN else ""
    return f'<h2>{title}</h2><p class="note">{note}</p><table><tr>{head}</tr>{body}</table>{more}'


def _plain(row: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, str]:
    """A row in words: products by their titles, times as dates, and nothing of how we keep it."""
    names, values = said["columns"], said["values"]
    row = dict(row)
    for nested in ("attributes", "raw"):  # of a profile, and of a line of a file: the shop's own names
        inner = row.pop(nested, None)
        row |= {f" {key}": value for key, value in (inner if isinstance(inner, dict) else {}).items()}
    if row.get("title"):
        row.pop("item_id", None)
    if isinstance(row.get("ts"), int) and "time" not in row:
        row["time"] = iso(row["ts"])
    found = {}
    for key in [k for k in names if k in row] + [k for k in row if k.startswith(" ")]:
        text = _text(row[key])
        found[names.get(key, key.strip())] = text[:16].replace("T", " ") if key == "time" else values.get(text, text)
    return {key: text for key, text in found.items() if text}


def _day(time: str, language: str) -> str:
    year, month, day = time[:10].split("-")
    return f"{day}.{month}.{year}" if language == "de" else f"{year}-{month}-{day}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
