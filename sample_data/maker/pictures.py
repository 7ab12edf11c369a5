"""Pictures of the products: a drawing per shape, in the variant's colours and with the category's emblem."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

DRAWINGS = Path(__file__).with_name("drawings.toml")


def draw(shape: str, emblem: str, palette: str) -> str:
    """The SVG of a product; the three names are those of drawings.toml."""
    table = _drawings()
    colours, form = table["palette"][palette], table["shape"][shape]
    parts = [
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 240 240' width='240' height='240'>",
        f"<rect width='240' height='240' fill='{colours['g']}'/>",
        "<circle cx='120' cy='112' r='98' fill='#fff' opacity='.45'/>",
        f"<ellipse cx='120' cy='207' rx='78' ry='9' fill='{colours['d']}' opacity='.16'/>",
        form["drawing"].format(**colours),
    ]
    if "emblem" in form:
        x, y, size = form["emblem"]
        on_main = form.get("on_main", False)
        drawn = table["emblem"][emblem].format(
            e=colours["l" if on_main else "d"], g=colours["m" if on_main else "l"]
        )
        parts.append(f"<g transform='translate({x} {y}) scale({size})'>{drawn}</g>")
    return "\n".join([*parts, "</svg>\n"])


@cache
def _drawings() -> dict[str, Any]:
    return tomllib.loads(DRAWINGS.read_text(encoding="utf-8"))
