"""`recsys simulate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

_NAMES = 20  # columns that names of ways get
_CATEGORIES = 8  # that are shown, of what was bought most
_MOST_BESIDE = 5  # ways whose categories stand beside each other on 80 columns
_LEGEND = (
    "hit rate: customers who bought something of their list. revenue touched: what they paid for it; share: of all "
    "that they paid. catalogue: shown to anybody. top tenth: places that the most shown tenth of it takes. sold out: "
    "places of items that have sold out or left the catalogue since. fallback: places filled by what sells anyway."
)
_RETURNS = (
    "This shop shows customers what they bought before (rules.bought_days, rules.consumables); here it is left out. "
    "--repeat shows and counts it."
)
_NOT_CAUSAL = (
    "Not causal: agreement with what was bought without these lists, not what they would have sold. What they would "
    "sell is told by recsys experiment."
)
_CAUSAL = (
    "Causal as far as clicks go by place and item alone: places were exchanged by chance. IPS counts what was never "
    "shown as not clicked; the others take it to be liked as items of its kind were."
)


def simulate(
    ways: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WAYS]...",
            help="Ways to make lists, beside served and popular: version:v000012, model:als, ranker:off, "
            "placement:home, rules:diversity=0.5,freshness=0.3.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[
        float, typer.Option("--days", min=0, max=3650, help="Days of orders to replay; 0 chooses from the data.")
    ] = 0.0,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="Items in a list.")] = 10,
    customers: Annotated[
        int, typer.Option("--customers", min=2, max=1_000_000, help="Replay a sample of this many.")
    ] = 5_000,
    repeat: Annotated[
        bool, typer.Option("--repeat", help="Count what the customer already had, too, and let lists contain it.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of all random choices.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay past orders under other models, versions or rules: how well they match what was bought."""
    run = start(db, artifacts, config, as_json, train__seed=seed)
    run.give_way()
    from ..artifacts import Artifacts
    from ..experiments.simulation import Question
    from ..experiments.simulation import simulate as replay
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    asked = Question(days=days, k=k, customers=customers, repeat=repeat)
    found = replay(store, Artifacts(run.settings.artifacts), run.settings, ways or (), asked, run.progress)
    run.emit(found, lambda out: _render(out, found))


def _render(out: Console, found: Mapping[str, Any]) -> None:
    import time

    ways = found["ways"]
    day = time.strftime("%Y-%m-%d", time.gmtime(found["since"]))
    what = "something" if found["repeat"] else "something new to them"
    title = (
        f"Lists of {found['k']} as of {day}, for {found['customers']:,} customers who bought {what} in the "
        f"{found['days']:.0f} days after it"
    )
    out.print(Text(title, style="bold"))
    if found["returns"] and not found["repeat"]:
        out.print(Text(_RETURNS, style="yellow"))
    for way in ways:
        out.print(Text(f"  {way['name']}: {way['made_of']}", style="dim"))
    out.print(_agreement(ways))
    out.print(_places(ways))
    out.print(Text(_LEGEND, style="dim"))
    out.print(_categories(ways[:_MOST_BESIDE], found["bought"]))
    out.print(Text(_NOT_CAUSAL, style="yellow"))
    _log(out, found)


def _log(out: Console, found: Mapping[str, Any]) -> None:
    log = found["log"]
    if not log["lists"]:
        out.print(Text(f"The log of seen lists tells nothing here: {log['reason']}", style="dim"))
        return
    told = f"{log['lists']:,} lists seen by {log['visitors']:,} visitors, {log['clicks_per_list']:.3f} clicks in a list"
    out.print(Text(f"\nClicks in a list, told from the log ({told})", style="bold"))
    out.print(_estimates(found["ways"]))
    sentence = _CAUSAL if found["causal"] else f"Not causal: {log['reason'][0].lower()}{log['reason'][1:]}"
    out.print(Text(sentence, style="dim" if found["causal"] else "yellow"))


def _grid(columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0))
    for n, name in enumerate(columns):
        table.add_column(name, justify="left" if n == 0 else "right", overflow="fold", min_width=0 if n else _NAMES)
    return table


def _agreement(ways: Sequence[Mapping[str, Any]]) -> Table:
    table = _grid(["lists by", "hit rate", "vs served", "revenue touched", "share", "ndcg"])
    for n, way in enumerate(ways):
        gain = way["against_served"]["hit_rate"]
        against = "" if n == 0 else f"{gain['value']:+.1%} ±{(gain['high'] - gain['low']) / 2:.1%}"
        share = "-" if way["revenue_share"] is None else f"{way['revenue_share']:.1%}"
        cells = [_share(way["hit_rate"]), against, f"{way['revenue_touched']:,.2f}", share]
        table.add_row(*(Text(c) for c in [way["name"], *cells, f"{way['ndcg']['value']:.4f}"]))
    return table


def _places(ways: Sequence[Mapping[str, Any]]) -> Table:
    table = _grid(["lists by", "catalogue", "top tenth", "sold out", "fallback"])
    for way in ways:
        names = ("coverage", "top_tenth_share", "sold_out_share", "fallback_share")
        cells = ["-" if way[name] is None else f"{way[name]:.1%}" for name in names]
        table.add_row(*(Text(c) for c in [way["name"], *cells]))
    return table


def _categories(ways: Sequence[Mapping[str, Any]], bought: Mapping[str, float]) -> Table:
    table = _grid(["places by category", "bought", *(way["name"] for way in ways)])
    for name, share in islice(bought.items(), _CATEGORIES):
        cells = [f"{way['categories'].get(name, 0.0):.1%}" for way in ways]
        table.add_row(*(Text(c) for c in [name or "(none)", f"{share:.1%}", *cells]))
    return table


def _estimates(ways: Sequence[Mapping[str, Any]]) -> Table:
    table = _grid(["lists", "IPS", "self-normalised", "doubly robust", "shown", "clicks"])
    for way in ways:
        one = way["estimates"]
        cells = [_clicks(one[name]) for name in ("ips", "self_normalised", "doubly_robust")]
        cells += [f"{one['shown_share']:.0%}", f"{one['effective_clicks']:,.0f}"]
        table.add_row(*(Text(c) for c in [way["name"], *cells]))
    return table


def _share(one: Mapping[str, float]) -> str:
    return f"{one['value']:.1%} ±{(one['high'] - one['low']) / 2:.1%}"


def _clicks(one: Mapping[str, float | None] | None) -> str:
    if one is None or one["value"] is None:
        return "-"
    if one["low"] is None or one["high"] is None:
        return f"{one['value']:.3f}"
    return f"{one['value']:.3f} ±{(one['high'] - one['low']) / 2:.3f}"
