"""What we say ourselves, beside a file set aside, of why it was not taken: it quotes the file, people included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .cutting import Uncuttable
from .whose import Whose

ASIDE, REPORT = "set-aside", ".report.json"  # as `ingest.watching` names them
_NAMES = ("file", "moved_to", "at")  # of files on disk; without them nobody finds what the report is about


def is_report(path: Path) -> bool:
    """Whether a file of the watched folder is a report of ours."""
    return path.parent.name == ASIDE and path.name.endswith(REPORT)


def without_quotes(content: bytes, whose: Whose) -> bytes | None:
    """The report without them in what it quotes; None when it does not quote them.

    Raises
    ------
    Uncuttable
        It is no report of ours.
    """
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Uncuttable("is no report that can be read")
    left = {key: value if key in _NAMES else _blanked(value, whose) for key, value in said.items()}
    return None if left == said else json.dumps(left, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _blanked(value: Any, whose: Whose) -> Any:
    if isinstance(value, dict):
        return {key: _blanked(inner, whose) for key, inner in value.items()}
    if isinstance(value, list):
        return [_blanked(inner, whose) for inner in value]
    return whose.without_names(value) if isinstance(value, str) else value
