"""Nothing that came from a file speaks to the terminal: the only escape sequences printed are our own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

# C0 and C1 and DEL, without tab and newline: one of them in a column's name could repaint or retitle the terminal.
_SPEAKING = {n: "\N{REPLACEMENT CHARACTER}" for n in (*range(32), *range(0x7F, 0xA0)) if n not in (9, 10)}


def plain(text: str) -> str:
    """The text with every control character replaced by a visible one."""
    return text.translate(_SPEAKING)


_ESCAPED = {n: f"\\u{n:04x}" for n in range(0x7F, 0xA0)}  # C0 is escaped in any JSON, these need not be


def plain_json(document: bytes) -> str:
    """A JSON document that says the same without a control character in it: these only stand inside its texts."""
    return document.decode().translate(_ESCAPED)


def printable_json(text: str, encoding: str) -> str:
    """The same document in letters that the encoding has: outside of them JSON has its own way to write a letter."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    return text


class PlainConsole(Console):
    """A console whose texts cannot hold control characters; its own styles and cursor moves are segments apart."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
