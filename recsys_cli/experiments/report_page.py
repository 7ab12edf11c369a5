"""The report as one HTML file: no script, nothing from elsewhere, to be opened, printed or mailed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from typing import Any

from . import charts

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: dict[str, Any], experiments: Sequence[dict[str, Any]] = ()) -> str:
    """The whole document.

    Parameters
    ----------
    report
        See `sales_report.make_report`.
    experiments
        See `verdicts.judge`, as dictionaries.
    """
    style = resources.files(__package__).joinpath("report_page.css").read_text(encoding="utf-8")
    parts = [_head(report), _tiles(report), _money(report), _placements(report)]
    parts += [_experiments(experiments)] if experiments else []
    parts += [_products(report), _quality(report), _heads(report), _feed(report), _counted(report)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>What the lists sold, '
        f"{report['since']} to {report['until']}</title><style>{style}</style></head><body><main>"
        + "".join(parts)
        + "</main></body></html>\n"
    )


def money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def with_unit(report: dict[str, Any], value: float | None) -> str:
    """Money with the shop's currency, where one is known."""
    return f"{money(value)} {report['currency']}" if value is not None and report.get("currency") else money(value)


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def count(value: float) -> str:
    return f"{value:,.0f}"


def in_words(report: dict[str, Any]) -> str:
    """The owner's answer, in a sentence or two."""
    t = report["totals"]
    if not t["seen"]:
        return (
            "No impressions have been received yet: embed the carousel with data-consent, or post impressions and "
            "clicks with the answer's request_id to /events."
        )
    share = "" if t["share_of_revenue"] is None else f", {percent(t['share_of_revenue'])} of what the shop sold"
    found = f" {t['buyers_touched']:,} of {t['buyers']:,} buyers found something in a list that they then bought."
    return f"Sales of {with_unit(report, t['revenue'])} followed a list{share}.{found if t['buyers'] else ''}"


def _head(report: dict[str, Any]) -> str:
    return (
        f"<h1>What your lists sold</h1><p class=muted>{report['since']} to {report['until']}</p>"
        f'<p class="lead">{escape(in_words(report))}</p>'
    )


def _tiles(report: dict[str, Any]) -> str:
    t, exposure = report["totals"], report["exposure"]
    tiles = [
        (
            "Sales attributed to lists",
            with_unit(report, t["revenue"]),
            f"of {money(t['shop_revenue'])} in the shop, refunds taken off",
        ),
        ("Orders with an item from a list", count(t["orders"]), f"of {count(t['shop_orders'])}"),
        ("Sales per 1,000 items seen", with_unit(report, t["per_thousand_seen"]), f"{count(t['seen'])} items seen"),
        ("Clicked of what was seen", percent(t["ctr"]), f"{count(t['clicks'])} clicks"),
        ("Only popular items", percent(t["fallback_share"]), "of what was answered, because nothing better was known"),
        (
            "Catalogue shown",
            percent(exposure["coverage"], 0),
            f"{count(exposure['never_shown_count'])} items never were",
        ),
    ]
    boxes = "".join(
        f"<div class=tile><span>{escape(name)}</span><b>{value}</b><small>{escape(note)}</small></div>"
        for name, value, note in tiles
    )
    return f"<div class=tiles>{boxes}</div>"


def _money(report: dict[str, Any]) -> str:
    daily = report["daily"]
    days = [row["day"][5:] for row in daily]
    sold = charts.bars("Sales by day", days, [r["revenue"] for r in daily], [r["shop_revenue"] for r in daily])
    rates = [None if r["ctr"] is None else 100 * r["ctr"] for r in daily]
    shares = [None if r["fallback_share"] is None else 100 * r["fallback_share"] for r in daily]
    clicked = charts.lines("Clicked of what was seen, %", days, [("clicked", rates)])
    fallback = charts.lines("Only popular items, %", days, [("popular only", shares)])
    key = (
        '<p class=key><span><i style="background:var(--accent)"></i>attributed to lists</span>'
        '<span><i style="background:var(--pale)"></i>the whole shop</span></p>'
    )
    return (
        f"<h2>Sales by day</h2><div class=card>{key}{sold}</div><div class=two style='margin-top:.9rem'>"
        f"<div class=card><p class=muted>Clicked of what was seen, %</p>{clicked}</div>"
        f"<div class=card><p class=muted>Only popular items, %</p>{fallback}</div></div>"
    )


Column = tuple[str, Callable[[dict[str, Any]], str], bool]  # heading, HTML of a cell, whether it is text


def _table(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> str:
    head = "".join(f"<th{' class=text' if text else ''}>{escape(name)}</th>" for name, _, text in columns)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=text' if text else ''}>{show(row)}</td>" for _, show, text in columns) + "</tr>"
        for row in rows
    )
    region = f"class='card scroll' tabindex=0 role=region aria-label='{escape(title)}'"
    return f"<div {region}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _titled(title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> str:
    return f"<div><p class=muted>{escape(title)}</p>{_table(title, rows, columns)}</div>"


def _named(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: escape(str(row.get(key) or "–"))


_SUMS: tuple[Column, ...] = (
    ("Lists", lambda r: count(r["lists"]), False),
    ("Items seen", lambda r: count(r["seen"]), False),
    ("Clicked", lambda r: percent(r["ctr"]), False),
    ("Orders", lambda r: count(r["orders"]), False),
    ("Sales", lambda r: money(r["revenue"]), False),
    ("per 1,000 seen", lambda r: money(r["per_thousand_seen"]), False),
)


def _placements(report: dict[str, Any]) -> str:
    line: Column = ("by day", lambda r: charts.spark(r["daily_revenue"], f"Sales by day, {r['placement']}"), False)
    named: Column = ("Placement", _named("placement"), True)
    parts = "<h2>By placement</h2>" + _table("By placement", report["placements"], [named, *_SUMS, line])
    if len(report["versions"]) > 1:
        parts += "<h2>By version</h2>" + _table(
            "By version", report["versions"], [("Version", _named("version"), True), *_SUMS]
        )
    if report["sources"]:
        parts += "<h2>By source of the item</h2>" + _table(
            "By source of the item", report["sources"], [("Source", _named("source"), True), *_SUMS[1:]]
        )
    return parts


def _experiments(experiments: Sequence[dict[str, Any]]) -> str:
    parts = "<h2>Experiments</h2>"
    for one in experiments:
        name, said = escape(one["name"]), escape(one["sentence"])
        parts += f"<div class=card><b>{name}</b> <span class=muted>{escape(one['state'])}</span><p>{said}</p>"
        history = one.get("history", [])
        if len(history) > 1:
            bounds = [(h["value"], h["low"], h["high"]) for h in history]
            parts += charts.funnel(f"{one['measure']} by day", [h["day"][5:] for h in history], bounds)
        parts += "</div>"
    return parts


def _products(report: dict[str, Any]) -> str:
    exposure = report["exposure"]
    name: Column = ("Product", lambda r: escape(r["title"] or r["item_id"]), True)
    seen: Column = ("Seen", lambda r: count(r["seen"]), False)
    parts = "<h2>Products</h2><div class=two>"
    if exposure["top"]:
        more: list[Column] = [
            ("Clicks", lambda r: count(r["clicks"]), False),
            ("Sold", lambda r: count(r["units"]), False),
            ("Sales", lambda r: money(r["revenue"]), False),
        ]
        parts += _titled("Sell best in lists", exposure["top"], [name, seen, *more])
    if exposure["ignored"]:
        parts += _titled("Seen and never clicked", exposure["ignored"], [name, seen])
    if exposure["never_shown"]:
        names = ", ".join(escape(r["title"] or r["item_id"]) for r in exposure["never_shown"])
        total = count(exposure["never_shown_count"])
        parts += f"<div><p class=muted>Never shown: {total} items</p><div class=card>{names}, …</div></div>"
    top = exposure["top_tenth_share"]
    told = f"<p class=muted>A tenth of the items takes {percent(top, 0)} of all places.</p>" if top is not None else ""
    return parts + "</div>" + told


def _quality(report: dict[str, Any]) -> str:
    judged = [v for v in report["quality"] if v["quality"]]
    if not judged:
        return ""
    labels = [v["version"] for v in judged]
    values = [(v["quality"]["value"], v["quality"]["low"], v["quality"]["high"]) for v in judged]
    floor = [v["popular"]["value"] if v["popular"] else None for v in judged]
    plot = charts.whiskers("NDCG@10 of each training, beside popularity", labels, values, floor)
    key = (
        '<p class=key><span><i style="background:var(--accent)"></i>the model, with its 95 % interval</span>'
        '<span><i style="background:var(--second)"></i>popular items alone</span></p>'
    )
    columns: list[Column] = [
        ("Version", _named("version"), True),
        ("Model", _named("model"), True),
        ("NDCG@10", lambda v: f"{v['quality']['value']:.4f}", False),
        ("Popular", lambda v: f"{v['popular']['value']:.4f}" if v["popular"] else "–", False),
        ("Served", lambda v: "yes" if v["served"] else "kept back", True),
        ("Why", _named("reason"), True),
    ]
    return f"<h2>Models</h2><div class=card>{key}{plot}</div><br>{_table('Trainings', judged[::-1][:12], columns)}"


def _heads(report: dict[str, Any]) -> str:
    """Reliability of the ranker's heads: what was foretold beside what came about, in ten parts."""
    plots = ""
    for name, found in report.get("heads", {}).items():
        bins = found.get("reliability")
        if not bins:
            continue
        series = [(key, [100 * one[key] for one in bins]) for key in ("chance", "rate")]
        plot = charts.lines(f"Reliability of {name}, %", [percent(one["chance"]) for one in bins], series)
        told = f"AUC {found['auc']:.3f}, log loss {found['log_loss']:.4f} (a constant guess: {found['constant']:.4f})"
        told += f", calibration error {found['ece']:.4f}, {count(found['rows'])} candidates"
        plots += f"<div class=card><p class=muted>{escape(name)}: {told}</p>{plot}</div>"
    if not plots:
        return ""
    key = (
        '<p class=key><span><i style="background:var(--accent)"></i>predicted, %</span>'
        '<span><i style="background:var(--second)"></i>observed, %</span></p>'
    )
    return f"<h2>Chances that the ranker reckons with</h2>{key}<div class=two>{plots}</div>"


def _feed(report: dict[str, Any]) -> str:
    feed, psi = report["feed"], (report["drift"] or {}).get("psi") or {}
    parts = "<h2>Data</h2>"
    for finding in feed["findings"]:
        parts += (
            f"<p><b>{escape(finding['severity'])}</b>: {escape(finding['sentence'])} {escape(finding['advice'])}</p>"
        )
    if psi:
        moved = ", ".join(f"{escape(name)} {value:.2f}" for name, value in psi.items())
        parts += f"<p>Moved since the model was trained (PSI; 0.25 or more is a large change): {moved}.</p>"
    parts += f"<p>{count(feed['received'])} events received by the server.</p>"
    if feed["rejected"]:
        reasons = ", ".join(f"{escape(reason)} ({count(n)})" for reason, n in feed["rejected"].items())
        parts += f"<p>Rejected rows: {reasons}. See <code>recsys ingest rejected</code>.</p>"
    if feed["files"]:
        columns: list[Column] = [("File", _named("source"), True)]
        for name in ("read", "new", "known", "rejected"):
            columns.append((name.capitalize(), lambda r, name=name: count(r[name] or 0), False))  # type: ignore[misc]
        parts += _table("Files taken in", feed["files"], columns)
    return parts


def _days(n: float) -> str:
    return "day" if n == 1 else f"{n:g} days"


def _counted(report: dict[str, Any]) -> str:
    w, t = report["windows"], report["totals"]
    notes = [
        "An item counts as seen when half of its card was on the screen for a second.",
        "A purchase is attributed to at most one list: the one its request_id names, else the last that the same "
        f"customer or visit clicked in {_days(w['click_days'])} or saw in {_days(w['seen_days'])} before it.",
        "Sales attributed to lists followed a list; whether they would have happened without it is answered by an "
        "experiment with a hold-out.",
    ]
    if t["unpriced"]:
        notes.append(f"{t['unpriced']:,} purchases name no price and count at the catalogue's.")
    if t["foreign_money"]:
        notes.append(f"{t['foreign_money']:,} purchases in another currency count as orders without money.")
    return "<h2>How it is counted</h2><ul>" + "".join(f"<li>{escape(n)}</li>" for n in notes) + "</ul>"
