"""What the shop's lists did: one document for the terminal, the page and the dashboard. It names nobody."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import numpy as np
import pyarrow as pa

from ..artifacts import Artifacts, choices
from ..artifacts.bundle import read_bundle
from ..errors import RecsysError
from ..identity import load_secret
from ..ranking.outcome import RANKER
from ..serving.campaigns import hits
from ..serving.catalogue import Catalogue
from ..serving.rules import Rules
from ..settings import RuleSettings, Settings
from ..settings_table import table
from ..store import Store, reading, sales
from ..store.attribution import Windows, attribute

FORMAT = 1
_METRIC = "ndcg@10"
_SPANS = (7, 28)  # days of which buyers are counted too: somebody who came in two spans is one buyer
# Sums of no lists, for days on which nothing happened.
_NOTHING: dict[str, Any] = {
    "lists": 0, "items": 0, "fallbacks": 0, "looked": 0, "seen": 0, "clicks": 0, "carts": 0, "orders": 0, "buyers": 0,
    "revenue": 0.0, "refunds": 0.0, "slow": None, "ctr": None, "per_thousand_seen": None, "fallback_share": None,
}  # fmt: skip


def make_report(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    days: int = 28,
    *,
    now: float | None = None,
    findings: Sequence[dict[str, str]] = (),
) -> dict[str, Any]:
    """Everything about the last `days` days, today included, in the shop's time zone.

    Parameters
    ----------
    now
        Epoch seconds; the present when not given.
    findings
        Of the doctor, as dictionaries.

    Returns
    -------
    dict
        JSON values. `daily` has a row for every day; `placements`, `versions`, `arms` and `sources` have the sums of
        each; `rows` those of each day, placement, version and arm. Money is in the shop's currency.

    Raises
    ------
    StoreMissing, StoreBusy, StoreError
    """
    at = time.time() if now is None else now
    zone = settings.ingest.timezone
    dates = _dates(at, days, zone)
    since, until = _midnight(dates[0], zone), int(at) + 1
    with store.reading() as con:
        prepare(con, store, artifacts, settings, since, until)
        found = _figures(con, dates, zone, since, until)
        found["currency"] = settings.serve.currency or reading.currency(con)
        found["buyers"] = [
            {"days": span, **sales.buyers(con, _midnight(dates[-span], zone))}
            for span in (*_SPANS, days)
            if span <= days
        ]
        found["rules"] = _rules(settings)
        found["campaigns"] = _campaigns(con, artifacts, settings, at)
        found["feed"] = sales.imports(con, since) | {"findings": list(findings)}
    quality = versions_quality(artifacts)
    return {
        "format": FORMAT,
        "made_at": int(at),
        "days": days,
        "since": dates[0].isoformat(),
        "until": dates[-1].isoformat(),
        "windows": {"click_days": settings.report.click_days, "seen_days": settings.report.seen_days},
        **found,
        "quality": quality,
        "heads": heads_quality(artifacts),
        "drift": _drift(artifacts),
    }


def prepare(
    con: duckdb.DuckDBPyConnection, store: Store, artifacts: Artifacts, settings: Settings, since: int, until: int
) -> None:
    """Attribute what happened from `since` to before `until` (epoch seconds), as people allow."""
    barred = {name: choice.mode for name, choice in choices.read(artifacts.root).items()}
    windows = Windows(settings.report.click_days, settings.report.seen_days)
    attribute(con, since, until, windows, barred=barred, secret=load_secret(store.path))
    sales.prepare(con, since, until, settings.ingest.timezone)


def _figures(con: duckdb.DuckDBPyConnection, dates: list[date], zone: str, since: int, until: int) -> dict[str, Any]:
    totals = sales.figures(con)[0]
    shop = {row["day"]: row for row in sales.shop_totals(con, zone)}
    by_day = {row["day"]: row for row in sales.figures(con, ("day",))}
    daily = []
    for day in (d.isoformat() for d in dates):
        whole = shop.get(day, {"orders": 0, "revenue": 0.0})
        row = by_day.get(day, _NOTHING)
        daily.append({**row, "day": day, "shop_orders": whole["orders"], "shop_revenue": whole["revenue"]})
    totals |= sales.buyers(con) | {
        "shop_orders": sum(row["orders"] for row in shop.values()),
        "shop_revenue": round(sum(row["revenue"] for row in shop.values()), 2),
    }
    totals["share_of_revenue"] = totals["revenue"] / totals["shop_revenue"] if totals["shop_revenue"] > 0 else None
    return {
        "totals": totals,
        "daily": daily,
        "placements": _placements(con, dates),
        "versions": sales.figures(con, ("version",)),
        "arms": [row for row in sales.figures(con, ("experiment", "arm")) if row["experiment"]],
        "sources": [row for row in sales.figures(con, ("source",)) if row["source"]],
        "rows": sales.figures(con, ("day", "placement", "version", "experiment", "arm")),
        "exposure": sales.exposure(con, since, until),
    }


def _campaigns(
    con: duckdb.DuckDBPyConnection, artifacts: Artifacts, settings: Settings, at: float
) -> list[dict[str, Any]]:
    """What the items of each campaign did in lists while it ran, within the days of the report."""
    rules = Rules.of(settings.rules)
    if not rules.campaigns:
        return []
    try:
        catalogue = Catalogue(read_bundle(artifacts.current(verify=False).path), rules)
    except RecsysError:
        return []
    found = []
    for number, one in enumerate(rules.campaigns, 1):
        codes = np.flatnonzero(hits(one, catalogue.attributes, catalogue.code_of, len(catalogue)))
        ids = pa.array(sorted({name for code in codes.tolist() for name in catalogue.all_names(code)}), pa.string())
        did = sales.of_items(con, ids, max(one.start, 0.0), min(one.end, at + 1))
        found.append({"number": number, **one.as_dict(), "runs": one.runs(at), "matched": len(codes), **did})
    return found


def _rules(settings: Settings) -> list[dict[str, Any]]:
    """Rules that differ from their defaults, each with what it does."""
    rows = [row for row in table(RuleSettings) if row.name not in ("campaigns", "words")]
    held = {row.name: (getattr(settings.rules, row.name), row) for row in rows}
    return [
        {"name": name, "value": value, "help": row.help} for name, (value, row) in held.items() if value != row.default
    ]


def _placements(con: duckdb.DuckDBPyConnection, dates: list[date]) -> list[dict[str, Any]]:
    """The sums of each placement, what earns most first, with its revenue of every day for a line."""
    earned = {(row["placement"], row["day"]): row["revenue"] for row in sales.figures(con, ("placement", "day"))}
    rows = sorted(sales.figures(con, ("placement",)), key=lambda row: (-row["revenue"], -row["seen"], row["placement"]))
    return [r | {"daily_revenue": [earned.get((r["placement"], d.isoformat()), 0.0) for d in dates]} for r in rows]


def _dates(at: float, days: int, zone: str) -> list[date]:
    today = datetime.fromtimestamp(at, _zone(zone)).date()
    return [today - timedelta(days=n) for n in range(days - 1, -1, -1)]


def _midnight(day: date, zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=_zone(zone)).timestamp())


def _zone(name: str) -> Any:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except ZoneInfoNotFoundError:  # a slim container without the list of zones: DuckDB's days are a few hours off
        return UTC


def heads_quality(artifacts: Artifacts) -> dict[str, Any]:
    """How well the heads of the served version's ranker foretell, see `ranking.outcome.Outcome.heads`."""
    try:
        manifest = artifacts.current(verify=False).manifest
    except RecsysError:
        return {}
    return dict((manifest.get(RANKER) or {}).get("heads") or {})


def versions_quality(artifacts: Artifacts) -> list[dict[str, Any]]:
    """How each training was judged, oldest first: NDCG@10 with its interval beside popularity, and the gate's word."""
    found: list[dict[str, Any]] = []
    current = artifacts.current_name()
    for name in artifacts.names():
        try:
            manifest = artifacts.open(name, verify=False).manifest
        except RecsysError:
            continue  # recsys doctor tells of it
        if manifest.get("kind") != "train":
            continue
        model, judged = manifest["model"]["name"], manifest.get("metrics", {})
        gate, metrics = manifest.get("gate", {}), judged.get("metrics", {})
        found.append(
            {
                "version": name,
                "created_at": int(manifest["created_at"]),
                "model": model,
                "quality": metrics.get(model, {}).get(_METRIC),
                "popular": metrics.get("popular", {}).get(_METRIC),
                "lead": judged.get("differences", {}).get(model, {}).get("popular", {}).get(_METRIC),
                "served": name == current or bool(gate.get("promote", True) or gate.get("forced")),
                "reason": gate.get("reason", ""),
                "why": manifest.get("reason", ""),
                "events": manifest["data"].get("events"),
                "items": manifest["data"].get("items"),
            }
        )
    return found


def _drift(artifacts: Artifacts) -> dict[str, Any]:
    """The newest look at how far the shop has moved since the model was trained."""
    try:
        watch = artifacts.current().manifest.get("watch")
    except RecsysError:
        return {}
    return dict(watch or {})
