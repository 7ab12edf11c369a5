"""The tables of evaluation and tuning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..evaluation import Interval, Report
from ..evaluation.gate import Decision
from ..experiments.charts import sparkline
from ..publishing.segment_popularity import Judged
from ..ranking.outcome import NEW, REPEAT, clicks_told, rivals_told, told
from ..tuning.search import Tried

_CURVE = 50  # trials shown, the newest
_BAR = 16  # cells of the longest bar: with what stands beside it, 80 columns
_SEGMENT_MODELS = 5
_LISTS = {"coverage@10": "cover", "gini@10": "gini", "novelty@10": "novel", "diversity@10": "divers"}
_METRICS_LEGEND = (
    "ndcg: hits count more the higher they stand in the list; hr: share of customers with a hit. "
    "± is half of the 95 % interval, and the light part of a bar."
)
_ASKED = {  # by `splitting.holdout.By`
    "time": ("customers", "last {window_days:.0f} days"),
    "basket": ("next baskets", "each after what came before it"),
    "next": ("next items", "each after what came before it"),
}
_LISTS_LEGEND = (
    "recall: share of what was wanted that the list has. mrr: 1 / rank of the first hit. cover: share of the catalogue "
    "that somebody is shown. gini: 0 when all items are shown equally often, 1 when always the same. novel: the fewer "
    "have had it, the higher, in bits. divers: how unlike the items of a list are, 0 to 1. filled: places that the "
    "model left to popularity. fit and score in seconds, MB while fitting."
)


def leaderboard(report: Report, *, full: bool = False) -> RenderableType:
    """Models by NDCG@10 with 95 % intervals; with `full` also lists, cost and segments."""
    order = sorted(report.metrics, key=lambda name: -report.metrics[name]["ndcg@10"].value)
    parts: list[RenderableType] = [_metrics(report, order)]
    if full:
        parts += [_legend(_METRICS_LEGEND), _lists(report, order), _legend(_LISTS_LEGEND)]
        parts += [_segments(report, order)] if report.segments else []
    if report.split.get("note"):
        parts.append(Text(report.split["note"], style="yellow"))
    return Group(*parts)


def _metrics(report: Report, order: list[str]) -> Table:
    split = report.split
    by = split["by"]
    repeat = ", repeats count" if split["repeat"] or by == "next" else ", new items only"
    who, how = _ASKED.get(by, ("customers", f"split by {by}"))
    title = f"{split['users']:,} {who}, {how.format(**split)}{repeat}, full catalogue"
    table = _table(title, ["model", "ndcg@10", "", "hr@10", "vs popular"])
    longest = max((report.metrics[name]["ndcg@10"].high for name in order), default=0.0)
    for name in order:
        found = report.metrics[name]
        gain = report.differences.get(name, {}).get("popular", {}).get("ndcg@10")
        bar = _bar(found["ndcg@10"], longest)
        table.add_row(Text(name), _interval(found["ndcg@10"]), bar, _interval(found["hr@10"]), _gain(gain))
    return table


def _bar(found: Interval, longest: float) -> Text:
    """As long as the value is beside the longest, light where the interval leaves it open."""
    cells = _BAR / longest if longest > 0 else 0.0
    sure, open_to = round(max(found.low, 0) * cells), round(max(found.high, 0) * cells)
    return Text("█" * sure + "░" * (open_to - sure) + " " * (_BAR - open_to))


def _legend(text: str) -> Text:
    return Text(text, style="dim")


def _lists(report: Report, order: list[str]) -> Table:
    columns = ["model", "recall", "mrr", *_LISTS.values(), "filled", "fit", "score", "MB"]
    table = _table("At 10, the lists as a whole, and cost", columns)
    for name in order:
        lists, cost = report.lists.get(name, {}), report.cost.get(name, {})
        cells = [f"{report.metrics[name][f].value:.4f}" for f in ("recall@10", "mrr@10")]
        cells += [f"{lists[key]:.3f}" if key in lists else "" for key in _LISTS]
        cells.append(f"{lists.get('fallback_share', 0):.0%}")
        cells += [_number(cost, "fit_seconds", 1), _number(cost, "score_seconds", 1), _number(cost, "memory_mb", 0)]
        table.add_row(Text(name), *cells)
    return table


def _segments(report: Report, order: list[str]) -> Table:
    """Segments down, models across: there are more of the former."""
    shown = order[:_SEGMENT_MODELS]
    names = list(dict.fromkeys(s for name in shown for s in report.segments.get(name, {})))
    table = _table("NDCG@10 by segment", ["segment", "customers", *shown])
    for part in names:
        found = {name: report.segments.get(name, {}).get(part) for name in shown}
        users = next(f["users"] for f in found.values() if f)
        cells = [f"{f['ndcg@10']:.4f}" if f else "" for f in found.values()]
        table.add_row(Text(part), f"{users:,.0f}", *cells)
    return table


def newcomer_board(judged: Sequence[Judged]) -> Table:
    """What sells to customers of one kind against what sells, by those who came for the first time."""
    table = _table("Newcomers by their profiles, NDCG@10", ["attribute", "customers", "segment", "popular", "lead", ""])
    for one in judged:
        lead = "too few" if one.lead is None else f"{one.lead.value:+.4f} ({one.lead.low:+.4f} to {one.lead.high:+.4f})"
        values = [f"{one.ndcg:.4f}", f"{one.popular:.4f}"] if one.lead else ["", ""]
        table.add_row(Text(one.attribute), f"{one.customers:,}", *values, lead, "used" if one.used else "not used")
    return table


def trials(tried: Iterable[Tried], rows: int = 12) -> Table:
    """The best trials so far, best first."""
    best = sorted(tried, key=lambda t: (t.finished, t.score), reverse=True)[:rows]
    table = _table("Trials, scored on earlier windows", ["#", "model", "score", "s", "hyperparameters"])
    for t in best:
        score = f"{t.score:.4f}" if t.finished else f"({t.score:.4f})"
        table.add_row(str(t.number), Text(t.model), score, f"{t.seconds:.1f}", Text(settings_line(t.config)))
    return table


def curve(tried: Sequence[Tried]) -> str:
    """The best score after each trial, as a line of blocks; empty for fewer than two."""
    finished = [t.score for t in tried if t.finished]
    best = list(accumulate(finished, max))[-_CURVE:]
    if len(best) < 2:
        return ""
    return f"Best of the trials so far: {sparkline(best)} {best[0]:.4f} to {best[-1]:.4f}"


def settings_line(config: Mapping[str, Any]) -> str:
    """Hyperparameters on one line."""
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in config.items() if _short(v))


def _short(value: Any) -> bool:
    return isinstance(value, (int, float, str))


def _table(title: str, columns: list[str]) -> Table:
    table = Table(
        title=Text(title), title_justify="left", title_style="bold", header_style="dim", box=None, padding=(0, 1, 0, 0)
    )
    for name in columns:
        wide = name == "hyperparameters"
        left = name in ("", "model", "head", "segment", "hyperparameters")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not wide)
    return table


def _interval(found: Interval) -> str:
    return f"{found.value:.4f} {_give(found)}"


def _gain(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:+.4f} {_give(found)}"


def _give(found: Interval) -> str:
    """Half the width of the 95 % interval, without the zero that all have."""
    return f"±{(found.high - found.low) / 2:.3f}".replace("0.", ".", 1)


def _number(cost: Mapping[str, float], key: str, digits: int) -> str:
    return f"{cost[key]:.{digits}f}" if key in cost else ""


def gate_told(version: str, model: str, decision: Decision, force: bool, seconds: float) -> str:
    """What became of a new version, in a line."""
    if decision.promote or force:
        word = "Published" if decision.promote else f"{decision.reason} Published anyway:"
        return f"{word} [bold]{version}[/] ({model}) in {seconds:.1f} s."
    return (
        f"Kept back [bold]{version}[/] ({model}): {decision.reason} "
        f"The served version stays. To serve it anyway: recsys models promote {version}"
    )


def ranker_board(found: Mapping[str, Any]) -> RenderableType:
    """A ranker beside its first stage, list kind by list kind; `found` as in a manifest, see `ranking.outcome`."""
    if not found["verdicts"]:
        return Text(f"Ranker {told(found)}")
    table = _table("Ranker, NDCG@10 over the same customers", ["lists of", "model", "ranker", "gain", "customers", ""])
    words = {NEW: "new items", REPEAT: "new and own items"}
    for kind, verdict in found["verdicts"].items():
        gain = f"{verdict['gain']:+.4f} [{verdict['low']:+.4f}, {verdict['high']:+.4f}]"
        values = [f"{verdict[name]:.4f}" for name in ("first", "ranked")]
        on = "on" if kind in found["on"] else "off"
        table.add_row(Text(words[kind]), *values, Text(gain), f"{verdict['users']:,}", on)
    parts: list[RenderableType] = [table, *_heads(found.get("heads") or {})]
    more = (rivals_told(found), clicks_told(found.get("clicks") or {}))
    return Group(*parts, *(Text(line) for line in more if line))


def _heads(found: Mapping[str, Any]) -> list[RenderableType]:
    """How well each head foretells the newest days."""
    if not found:
        return []
    table = _table("Its heads, on the newest days", ["head", "auc", "log loss", "of one chance", "ece", "rows"])
    for name, told_by in found.items():
        cells = [f"{told_by[key]:.4f}" if key in told_by else "" for key in ("auc", "log_loss", "constant", "ece")]
        table.add_row(Text(name), *cells, f"{told_by['rows']:,}")
    return [table]
