"""An export as a folder for the person: JSON and CSV, a list of contents with checksums, and a page in plain words."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...settings import Settings
from .written_exports import CONTENTS, DATA, PAGE, TABLES

_WORDS = {
    "profile": ("Your profile", "What the shop has told the recommender about you."),
    "choices": ("Your choices", "What you have decided about the use of your data."),
    "events": ("What you did", "Products you bought, put in the basket or looked at."),
    "received": ("Just received", "What the shop's pages have reported and has not been filed yet."),
    "rejected_rows": ("Not taken in", "Lines about you that could not be read and wait for the shop to mend them."),
    "sessions": ("Your visits", "Numbers of visits that were yours."),
    "sources": ("Where it came from", "Files and feeds that the data was taken from."),
    "versions": ("Models", "Models that hold your history, under a number only the shop can tell is yours."),
    "recommended_now": ("Recommended now", "What would be recommended to you at this moment, and why."),
    "other_tables": ("Other", "Other rows about you."),
    "retention": ("How long", "How long data of each kind is kept."),
    "experiments": ("Experiments", "Which variant of the shop's experiments you see."),
}
_SHOWN = 200  # rows of a table on the page; the files hold all


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
            contents[f"{name}.csv"] = _csv(rows).encode()
    contents[PAGE] = _page(document).encode()
    listed = {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in contents.items()}
    manifest = {"made_at": document["made_at"], "counts": document["counts"], "files": listed}
    contents[CONTENTS] = json.dumps(manifest, indent=1).encode()
    return contents


def rows_of(part: Any) -> list[dict[str, Any]]:
    """A part of the document as rows: lists of objects, and objects of such lists with the name in front."""
    if isinstance(part, Mapping):
        return [{"of": name} | row for name, rows in part.items() if isinstance(rows, list) for row in rows]
    return [row for row in part or [] if isinstance(row, dict)]


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    # A spreadsheet would run a text that begins like a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t") else value


def _page(document: Mapping[str, Any]) -> str:
    about = html.escape(", ".join(document["asked_for"]))
    parts = "".join(_section(name, document[name]) for name in _WORDS if document.get(name))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Your data</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }}
th, td {{ text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }}
h2 {{ margin-top: 2rem }} .note {{ color: #555 }}
</style></head><body>
<h1>Everything the shop's recommender holds about {about}</h1>
<p>Made on {html.escape(document["made_at"])}. The same is in <a href="{DATA}">{DATA}</a> and the CSV files beside
this page, which other programs can read. Nothing here was given to anyone else by the recommender: it runs on the
shop's own computer.</p>
<p>You may ask the shop to correct this data, to erase it, to stop using it, or to stop using it for
recommendations.</p>
{parts}
</body></html>
"""


def _section(name: str, part: Any) -> str:
    title, words = _WORDS[name]
    rows = rows_of(part)
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row.get(c)))}</td>" for c in columns) + "</tr>"
            for row in rows[:_SHOWN]
        )
        more = f'<p class="note">And {len(rows) - _SHOWN} more in the file.</p>' if len(rows) > _SHOWN else ""
        shown = f"<table><tr>{head}</tr>{body}</table>{more}"
    elif isinstance(part, Mapping):
        shown = _list([f"{k}: {_text(v)}" for k, v in part.items()])
    else:
        shown = _list([_text(v) for v in part])
    return f'<h2>{title}</h2><p class="note">{words}</p>{shown}'


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
