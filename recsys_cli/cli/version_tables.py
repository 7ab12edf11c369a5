"""How versions look on a terminal: the list, one of them, and two beside each other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..artifacts import Version
    from ..updates.lineage import Diff, Entry

_BARS = "▁▂▃▄▅▆▇█"
_NUMBERS = ("NDCG@10", "events", "items", "MB")


def draw_list(out: Console, found: list[Entry], note: str) -> None:
    """All versions, newest first, with the course of their quality below."""
    if not found:
        out.print("There are no versions yet. Run recsys train.")
        return
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("", "version", "made by", "model", "when", *_NUMBERS):
        # Where lines are short, what a model comes from and when it was made take two; numbers are never cut.
        day = len("2026-11-20") if name == "when" else None
        justify: Any = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=justify, no_wrap=name not in ("model", "when"), min_width=day)
    for e in found:
        table.add_row(*_cells(e))
    out.print(table)
    if note:
        out.print(note, highlight=False, markup=False)
    for e in found:
        if e.kept_back:
            out.print(f"{e.name} was kept back: {e.kept_back}", highlight=False, markup=False)
    judged = [e.value for e in reversed(found) if e.value is not None and e.trained == e.name]
    if len(judged) > 1:
        out.print(f"NDCG@10 of the trainings, oldest first: {sparkline(judged)}", highlight=False)


def _cells(e: Entry) -> list[Text | str]:
    mark = Text("*", style="bold green") if e.current else Text("")
    if e.damaged and not e.model:
        return [mark, e.name, Text(e.kind or "damaged", style="red")]
    by = Text("damaged", style="red") if e.damaged else Text("kept back" if e.kept_back else e.kind)
    model = Text(e.model if e.trained == e.name else f"{e.model} of {e.trained}")
    value = "" if e.value is None else f"{e.value:.4f}"
    return [mark, e.name, by, model, when(e.created_at), value, f"{e.events:,}", f"{e.items:,}", f"{e.bytes / 1e6:.1f}"]


def sparkline(values: list[float]) -> str:
    """One bar for each value, from the least to the greatest."""
    low, high = min(values), max(values)
    if high == low:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((v - low) / (high - low) * (len(_BARS) - 1))] for v in values)


def draw_version(out: Console, version: Version) -> None:
    """Everything known of one version."""
    from ..evaluation.bench import fitted
    from ..updates.lineage import quality, size

    m, value = version.manifest, quality(version)
    rows = {
        "version": version.name,
        "made by": m["kind"],
        "when": when(m["created_at"]),
        "made from": m.get("parent") or "-",
        "model": m["model"]["name"],
        "trained as": fitted(version)["version"],
        **dict(_settings(m["model"]["config"])),
        "NDCG@10": "not judged" if value is None else f"{value:.4f}",
        "gate": m.get("gate", {}).get("reason", "-"),
        "events": f"{m['data']['events']:,} until {when(version.newest_ts)}",
        "customers": f"{m['data']['users']:,}",
        "items": f"{m['data']['items']:,}",
        "size": f"{size(version) / 1e6:.1f} MB in {len(m['files'])} files, all as published",
    }
    table = Table(box=None, show_header=False)
    for name, text in rows.items():
        table.add_row(Text(name, style="dim"), Text(str(text)))
    out.print(table)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Hyperparameters in one row; the members of a blend and other tables in a row each."""
    yield "settings", ", ".join(f"{k}={short(v)}" for k, v in config.items() if not isinstance(v, Mapping)) or "-"
    for name, table in config.items():
        if not isinstance(table, Mapping):
            continue
        members = [(k, v) for k, v in table.items() if isinstance(v, Mapping)]
        for member, value in sorted(members, key=lambda kv: -float(kv[1].get("weight", 0))):
            inner = value.get("config", {})
            said = ", ".join(f"{k}={short(v)}" for k, v in inner.items() if v not in (0, 0.0, "", None))
            yield f"  {member}", f"{float(value.get('weight', 0)):.0%}: {said}"
        rest = ", ".join(f"{k}={short(v)}" for k, v in table.items() if not isinstance(v, Mapping))
        if rest:
            yield f"  {name}", rest


def draw_diff(out: Console, found: Diff) -> None:
    """What differs between two versions, a value a row."""
    table = Table(box=None, header_style="dim")
    for name in ("", found.first, found.second):
        table.add_column(name, overflow="fold")
    for part in (found.config, found.data, found.metrics):
        for name, (old, new) in part.items():
            for leaf, a, b in _changed(name, old, new):
                time_of = leaf.endswith("_ts")
                table.add_row(leaf, *(Text(when(v) if time_of and v else short(v)) for v in (a, b)))
    out.print(table)
    for word, ids in (("Added", found.added), ("Removed", found.removed)):
        if ids:
            more = f" and {len(ids) - 10:,} more" if len(ids) > 10 else ""
            items = "item" if len(ids) == 1 else "items"
            out.print(f"{word} {len(ids):,} {items}: {', '.join(ids[:10])}{more}", highlight=False, markup=False)


def _changed(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The values below `name` that differ, by their dotted names; a member of one blend alone by its weight."""
    member = old or new
    if isinstance(member, Mapping) and "weight" in member and not (old and new):
        before, after = (f"{float(v['weight']):.0%}" if v else None for v in (old, new))
        yield name, before, after
        return
    if not isinstance(old, Mapping) and not isinstance(new, Mapping):
        yield name, old, new
        return
    one = old if isinstance(old, Mapping) else {}
    two = new if isinstance(new, Mapping) else {}
    for key in dict.fromkeys([*one, *two]):
        if one.get(key) != two.get(key):
            yield from _changed(f"{name}.{key}", one.get(key), two.get(key))


def short(value: Any) -> str:
    """A value as people read it: four digits, no quotes."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def when(ts: int) -> str:
    """Epoch seconds as a UTC date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(ts))
