"""Findings about the data: events, customers, the catalogue and what was rejected of them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..artifacts import Version
from ..evaluation.learning_curve import Standing, standing
from ..ingest.checks import LEFT_OUT_FOR
from ..schema import CART, CLICK, DAY, VIEW
from ..store.figures import CatalogueFigures, EventFigures
from .examination import Patient
from .findings import BROKEN, HINT, WARNING, Finding


def check(p: Patient) -> list[Finding]:
    """All of them; none while somebody writes the database."""
    return [] if p.busy else [finding for look in (_enough, _catalogue, _events, _rejected) for finding in look(p)]


def where_it_stands(p: Patient) -> Standing | None:
    """On the learning curve, by the events that weigh something; None where they cannot be counted."""
    e, weights = p.figures.events if p.figures else None, p.settings.events.weights
    if e is None:
        return None
    counted = sum(n for kind, n in e.types.items() if weights.get(kind, 0) > 0)
    served = str(p.version.manifest["model"]["name"]) if p.version else ""
    return standing(counted, name=served, pairs=not _one_timers(e))


def _one_timers(e: EventFigures) -> bool:
    """Whether most who buy have to do with one product only."""
    return e.purchases_of_learners < 0.3 * e.types.get("purchase", 0)


def _enough(p: Patient) -> list[Finding]:
    if p.figures is None or p.figures.events is None:
        if p.trouble:
            return []
        return [Finding("no_events", BROKEN, "There is no event to learn from.", "Run: recsys ingest ORDERS.csv")]
    e = p.figures.events
    found = []
    here = where_it_stands(p)
    if here is not None and here.below:
        advice = "Ingest older orders, or clicks: recsys ingest FILE"
        found.append(Finding("few_events", WARNING, here.sentence, advice))
    if e.customers + e.guests < 100:
        sentence = f"{e.customers + e.guests:,} customers and guests are few: shared tastes hardly show."
        found.append(Finding("few_customers", WARNING, sentence, "Ingest older orders: recsys ingest FILE"))
    purchases = e.types.get("purchase", 0)
    if _one_timers(e):
        share = e.purchases_of_learners / purchases
        sentence = (
            f"Only {share:.0%} of purchases are by customers or guests who bought or looked at more than one item: "
            "tastes hardly show."
        )
        advice = "Check that customer and session ids stay the same from click to purchase."
        if not any(e.types.get(kind) for kind in (VIEW, CLICK, CART)):
            advice = "Send clicks as well (POST /events, or ingest them); check that customer ids stay the same."
        found.append(Finding("one_timers", WARNING, sentence, advice))
    if e.customers > 100 and e.returning < 0.05 * e.customers and _judged(p.version) < 100:
        sentence = (
            f"Only {e.returning:,} of {e.customers:,} customers came back, so the model cannot be evaluated well."
        )
        found.append(Finding("few_return", HINT, sentence, "Check that guests' orders carry the same id each time."))
    return found


def _judged(version: Version | None) -> int:
    """Customers by whom the served model was judged; where times tell nothing, parts of histories did."""
    split = version.manifest["metrics"].get("split", {}) if version else {}
    return int(split.get("users", 0))


def _people(e: EventFigures) -> list[Finding]:
    found = []
    who, n = e.biggest
    if e.customers > 50 and n > max(0.05 * e.events, 20 * e.events / max(e.customers, 1), 1000):
        sentence = f"One customer ({who}) has {n:,} events, {n / e.events:.0%} of all: a till, or all guests in one?"
        found.append(Finding("one_guest", WARNING, sentence, "Export guests with an empty customer, or their e-mail."))
    robots, clicks = e.robots
    if robots:
        sentence = f"{robots:,} customers made {clicks:,} events at more than 500 a day: robots, or a script."
        found.append(
            Finding("robots", WARNING, sentence, "Leave them out of the export; ask how the clicks are counted.")
        )
    if e.testers:
        sentence = f"{e.testers:,} events are of customers or items called test, demo or admin."
        advice = "Leave them out of the export, or add the items to ingest.non_products in recsys.toml."
        found.append(Finding("test_orders", WARNING if e.testers > 0.001 * e.events else HINT, sentence, advice))
    return found


def _weights(e: EventFigures, weights: Mapping[str, float]) -> list[Finding]:
    unknown = {kind: n for kind, n in sorted(e.types.items(), key=lambda x: -x[1]) if kind not in weights}
    if not unknown:
        return []
    what = ", ".join(f"{kind[:40]} ({n:,})" for kind, n in list(unknown.items())[:5])
    more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
    sentence = f"{sum(unknown.values()):,} events count for nothing, because their type has no weight: {what}{more}."
    advice = "Set one under [events.weights] in recsys.toml; 0 if that is intended."
    return [Finding("no_weight", HINT, sentence, advice)]


def _doubles(e: EventFigures) -> list[Finding]:
    found = []
    purchases = max(e.types.get("purchase", 0), 1)
    if e.twofold:
        sentence = f"{e.twofold:,} purchases are there twice, with and without their order number: two kinds of export."
        advice = "Keep to one kind of export; start a new database with it."
        found.append(Finding("twice", WARNING, sentence, advice))
    if e.repeated > 0.05 * purchases:
        sentence = (
            f"{e.repeated:,} purchases ({e.repeated / purchases:.0%}) repeat one of the same customer, item, time."
        )
        found.append(
            Finding(
                "duplicates", WARNING, sentence, "Check whether the export writes one line per piece or per parcel."
            )
        )
    return found


def _returns(e: EventFigures) -> list[Finding]:
    found = []
    refunds, purchases = e.types.get("refund", 0), e.types.get("purchase", 0)
    if purchases and refunds > 0.3 * purchases:
        sentence = f"{refunds:,} refunds stand against {purchases:,} purchases; are cancelled orders read as refunds?"
        found.append(
            Finding("returns", WARNING, sentence, "Check the setting ingest.cancelled and the orders' status.")
        )
    if refunds > 100 and e.refunds_alone > 0.5 * refunds:
        sentence = f"{e.refunds_alone:,} of {refunds:,} refunds are of items that the customer never bought here."
        advice = "Right for orders refunded or cancelled whole; for other returns, ingest the older orders as well."
        found.append(Finding("refunds_alone", HINT, sentence, advice))
    return found


def _clock(e: EventFigures, now: float) -> list[Finding]:
    found = []
    if e.events > 100 and e.midnight > 0.5 * e.events:
        sentence = (
            f"{e.midnight / e.events:.0%} of events happened at exactly midnight: the export has dates without times."
        )
        found.append(Finding("midnight", WARNING, sentence, "Export the time of day; the order of clicks matters."))
    elif quiet := _quiet_by_day(e.hours):
        sentence = f"Nobody buys from {quiet[0]:02}:00 to {quiet[1]:02}:00 UTC: the times look shifted by hours."
        found.append(
            Finding(
                "timezone", WARNING, sentence, "Ingest with --timezone (for example Europe/Berlin) into a new database."
            )
        )
    days, since = e.longest_gap
    if days >= 9 and days > 3 * max(e.usual_gap, 1):
        day = time.strftime("%Y-%m-%d", time.gmtime(since))
        sentence = f"Nothing happened for {days:.0f} days after {day}: is an export missing?"
        found.append(
            Finding("gap", WARNING, sentence, "Export that time and ingest it; what is known is not taken twice.")
        )
    silent = (now - e.last) / DAY
    if silent >= 9 and silent > 3 * max(e.usual_gap, 1):
        sentence = f"The newest event is {silent:,.0f} days old."
        advice = "Ingest a newer export, or let the shop send events (POST /events)."
        found.append(Finding("silence", WARNING if silent < 400 else HINT, sentence, advice))
    if e.future:
        found.append(
            Finding("future", WARNING, f"{e.future:,} events are in the future.", "Check the clock and --timezone.")
        )
    return found


def _quiet_by_day(hours: tuple[int, ...]) -> tuple[int, int] | None:
    """Six hours between 09:00 and 21:00 UTC in which a shop that is busy at other hours sells nothing."""
    total = sum(hours)
    if total < 2000:
        return None
    quietest = min(range(24), key=lambda h: sum(hours[(h + i) % 24] for i in range(6)))
    if 9 <= quietest <= 15 and sum(hours[quietest : quietest + 6]) < 0.02 * total:
        return quietest, quietest + 6
    return None


def _catalogue(p: Patient) -> list[Finding]:
    if p.figures is None or p.figures.events is None:
        return []
    c = p.figures.catalogue
    if c is None:
        sentence = "There is no catalogue: recommendations have ids, but no titles, prices or pictures."
        return [Finding("no_catalogue", WARNING, sentence, "Run: recsys ingest PRODUCTS.csv --type items")]
    return [*_fit(c, p.figures.events), *_completeness(c)]


def _fit(c: CatalogueFigures, e: EventFigures) -> list[Finding]:
    found = []
    unknown, events = c.unknown
    if unknown:
        share = events / e.events
        sentence = f"{unknown:,} items of {events:,} events ({share:.0%}) are not in the catalogue."
        if share > 0.5:
            sentence += " Do events and catalogue name items the same way?"
        if c.only_heard:
            sentence += f" Lists leave out {c.only_heard:,} of them that are known only from events received over HTTP."
        severity = BROKEN if share > 0.9 else WARNING if share > 0.02 else HINT
        advice = "Run: recsys ingest PRODUCTS.csv --type items"
        if share > 0.5:
            advice += " (where orders name sizes or colours: a file of them, with their product as parent_id)"
        found.append(Finding("unknown_items", severity, sentence, advice))
    if c.available and c.never_seen > 0.5 * c.available:
        sentence = f"{c.never_seen:,} of {c.available:,} items for sale were never bought or looked at."
        found.append(Finding("never_seen", HINT, sentence, "They are shown to people who like their category."))
    if c.items and not c.available:
        found.append(
            Finding("nothing_for_sale", BROKEN, "No item is for sale.", "Ingest the catalogue as it is today.")
        )
    return found


def _completeness(c: CatalogueFigures) -> list[Finding]:
    found = []
    for column, what in (("title", "title"), ("price", "price"), ("img_url", "picture"), ("category", "category")):
        missing = c.without[column]
        if missing > 0.05 * max(c.available, 1):
            sentence = f"{missing:,} of {c.available:,} items for sale have no {what}."
            severity = WARNING if column in ("title", "price") or missing > 0.5 * c.available else HINT
            found.append(
                Finding(f"no_{what}", severity, sentence, f"Export it as {column}, and ingest the catalogue again.")
            )
    if c.available and c.without["url"] == c.available:
        sentence = "No item for sale has a link: cards of the carousel lead nowhere."
        way = "Ingest the catalogue with a url column, or give the carousel data-link: /product/{item_id}."
        found.append(Finding("no_link", WARNING, sentence, way))
    if c.same_title > 0.2 * max(c.available, 1):
        sentence = f"{c.same_title:,} items share their title with another: variants, probably."
        found.append(Finding("same_title", HINT, sentence, "Give variants of one product a common parent_id."))
    return found


def _rejected(p: Patient) -> list[Finding]:
    if p.figures is None or not p.figures.rejected:
        return []
    by_reason = p.figures.rejected
    wrong = {name: n for name, n in by_reason.items() if name not in LEFT_OUT_FOR}
    if not wrong:
        return []
    total, events = sum(wrong.values()), p.figures.events.events if p.figures.events else 0
    what = ", ".join(f"{n:,} {name}" for name, n in list(wrong.items())[:4])
    severity = WARNING if total > 0.05 * (events + total) else HINT
    # `recsys status` counts both together.
    left_out = sum(by_reason.values()) - total
    also = f"; {left_out:,} more were left out, as rows that are not sales or products" if left_out else ""
    sentence = f"{total:,} {'row was' if total == 1 else 'rows were'} rejected ({what}){also}."
    return [Finding("rejected", severity, sentence, "Run: recsys ingest rejected")]


def _events(p: Patient) -> list[Finding]:
    e = p.figures.events if p.figures else None
    if e is None:
        return []
    weights = p.settings.events.weights
    return [*_people(e), *_weights(e, weights), *_doubles(e), *_returns(e), *_clock(e, p.now)]
