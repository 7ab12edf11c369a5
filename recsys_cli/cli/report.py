"""`recsys report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

_STYLE = {"broken": "bold red", "warning": "yellow", "hint": "dim"}


def report(
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="Days to report, including today.")] = 28,
    out: Annotated[Path | None, typer.Option("--out", help="Write one HTML file with plots.")] = None,
    prometheus_rules: Annotated[
        bool, typer.Option("--prometheus-rules", help="Print only alert rules for Prometheus (YAML).")
    ] = False,
    grafana: Annotated[bool, typer.Option("--grafana", help="Print only a dashboard for Grafana (JSON).")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the lists were worth: what was seen, clicked and bought, by day, placement, version and arm."""
    run = start(db, artifacts, config, as_json)
    if prometheus_rules or grafana:
        from ..experiments import monitoring

        typer.echo(monitoring.text("rules" if prometheus_rules else "grafana", as_json=as_json), nl=False)
        return
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{out} is not HTML by its name.", "End it in .html; a browser prints it, or saves it as PDF.")
    from ..artifacts import Artifacts
    from ..doctor.diagnosis import diagnose
    from ..experiments import report_page, sales_report, verdicts
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    folder = Artifacts(run.settings.artifacts)
    with run.progress.stage("Joining what was seen with what was bought"):
        found = sales_report.make_report(store, folder, run.settings, days)
    findings = diagnose(run.settings).findings
    found["feed"]["findings"] = [finding.as_dict() for finding in findings]
    found["experiments"] = [v.as_dict() for v in verdicts.all_of(store, folder, run.settings)]
    if out is not None:
        from ..durable_files import write_atomic

        write_atomic(out, report_page.page(found, found["experiments"]).encode())
        found["page"] = str(out)
    run.emit(found, lambda console: _render(console, found))


def _render(out: Console, found: dict[str, Any]) -> None:
    from ..experiments.charts import sparkline
    from ..experiments.report_page import in_words, money

    daily, exposure = found["daily"], found["exposure"]
    out.print(Text(f"{found['since']} to {found['until']}", style="dim"))
    out.print(Text(in_words(found), style="bold"))
    lines = (
        ("sales attributed to lists", "revenue"),
        ("sales of the shop", "shop_revenue"),
        ("items seen", "seen"),
        ("clicks", "clicks"),
    )
    for name, key in lines:
        values = [row[key] for row in daily]
        total = money(sum(values)) if "revenue" in key else f"{sum(values):,}"
        out.print(Text(f"{name:<20} {sparkline(values[-60:])}  {total}"))
    for key, title in (("placements", "placement"), ("versions", "version"), ("arms", "arm"), ("sources", "source")):
        if found[key] and not (key == "versions" and len(found[key]) == 1):
            out.print(_table(title, found[key]))
    if exposure["for_sale"]:
        share = exposure["coverage"] or 0
        text = f"{exposure['shown']:,} of {exposure['for_sale']:,} items for sale were in a list ({share:.0%})"
        if exposure["top_tenth_share"] is not None:
            text += f"; a tenth of them took {exposure['top_tenth_share']:.0%} of the places"
        out.print(Text(text + "."))
    for title, key in (("Sell best in lists", "top"), ("Seen and never clicked", "ignored")):
        if exposure[key]:
            out.print(Text(f"{title}: " + ", ".join(_item(row) for row in exposure[key][:5])))
    judged = [v for v in found["quality"] if v["quality"]]
    if judged:
        newest, values = judged[-1], [v["quality"]["value"] for v in judged]
        popular = f", popular items {newest['popular']['value']:.4f}" if newest["popular"] else ""
        served = "served" if newest["served"] else "kept back"
        told = f"{values[-1]:.4f}{popular} ({newest['version']}, {served})"
        out.print(Text(f"NDCG@10 of trainings {sparkline(values)}  {told}"))
    for one in found["experiments"]:
        out.print(Text.assemble((f"{one['name']} ({one['state']}): ", "bold"), one["sentence"]))
    _feed(out, found)


def _feed(out: Console, found: dict[str, Any]) -> None:
    feed = found["feed"]
    files = f"{len(feed['files'])} file{'' if len(feed['files']) == 1 else 's'} taken in"
    rejected = sum(feed["rejected"].values())
    rows = "row" if rejected == 1 else "rows"
    out.print(Text(f"{files}, {feed['received']:,} events received, {rejected:,} {rows} rejected."))
    for finding in feed["findings"]:
        if finding["severity"] != "hint":
            out.print(Text.assemble((f"{finding['severity']}: ", _STYLE[finding["severity"]]), finding["sentence"]))
    if "page" in found:
        out.print(Text(f"Written to {found['page']}."))


def _item(row: dict[str, Any]) -> str:
    return (
        f"{row['title'] or row['item_id']} ({row['revenue']:,.2f})"
        if row["revenue"]
        else f"{row['title'] or row['item_id']}"
    )


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    from ..experiments.report_page import money, percent

    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in (title, "lists", "seen", "CTR", "carts", "orders", "sales", "per 1,000 seen", "fallback"):
        table.add_column(name, justify="left" if name == title else "right", overflow="fold")
    for row in rows:
        name = " ".join(str(row[key]) for key in ("experiment", title) if row.get(key)) or "-"
        cells = [name, f"{row['lists']:,}", f"{row['seen']:,}", percent(row["ctr"]), f"{row['carts']:,}"]
        cells += [f"{row['orders']:,}", money(row["revenue"]), money(row["per_thousand_seen"])]
        table.add_row(*(Text(c) for c in [*cells, percent(row["fallback_share"], 0)]))
    return table
