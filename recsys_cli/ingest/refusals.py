"""Files that are not taken, each with the sentence that says why and the line to type."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import InputError
from .columns import EVENTS, FIELDS, ITEMS, KINDS, USERS, Field, plain, tier_of
from .event_values import EVENT_WORDS
from .nobody import is_nobody
from .readers import Source
from .recognition import candidates, event_field, looks_like, rank_of

if TYPE_CHECKING:
    from .understanding import Understanding

_PERSONAL = frozenset(
    ["email", "mail", "phone", "telephone", "billing", "shipping", "customer", "client", "kunde", "address"]
)

# Exports that look right and hold nothing to learn from; what to export instead.
_DEAD_ENDS: Sequence[tuple[tuple[str, ...], str]] = (
    (
        ("Reference", "New client", "Delivery", "Payment"),
        "This is PrestaShop's list of orders, which does not say what was bought. In Advanced Parameters > Database > "
        "SQL Manager, export id_order, reference, id_customer, email, date_add, current_state, product_id, "
        "product_name, product_quantity, product_quantity_refunded and unit_price_tax_incl.",
    ),
    (
        ("Purchase Point", "Purchase Date", "Bill-to Name"),
        "This is Magento's grid of orders, which does not say what was bought. Export the lines of the orders "
        "(sales_order joined with sales_order_item: increment_id, created_at, status, customer_id, customer_email, "
        "sku, qty_ordered, price).",
    ),
    (
        ("Gross Sales", "Total Collected", "Transaction ID", "Payment ID"),
        "This is Square's list of payments, which does not say what was bought. Under Transactions, export \"Items "
        'Detail CSV", which has a row for each item sold.',
    ),
    (
        ("settlement-id", "transaction-type", "amount-type"),
        "This is Amazon's settlement report, which has several amounts for each sale and no customers. Under Reports > "
        'Fulfilment or Order Reports, export "Amazon Fulfilled Shipments" or "All Orders", which has a row for each '
        "item sold.",
    ),
    (
        ("Date", "Order #", "Product(s)", "Items sold"),
        "This is WooCommerce's analytics table, which has one line an order. Use an order export with one row per "
        "item (order number, date, status, customer, SKU, quantity).",
    ),
)


def dead_end(columns: Sequence[str]) -> str | None:
    """What to export instead, when the columns are those of an export without products."""
    names = {plain(c) for c in columns}
    return next((advice for telling, advice in _DEAD_ENDS if {plain(t) for t in telling} <= names), None)


def names_people(columns: Sequence[str]) -> bool:
    """Whether a file has columns about customers; such columns must not become attributes of items."""
    customer = next(f for f in FIELDS[EVENTS] if f.name == "user_id")
    return any(tier_of(customer, plain(c)) is not None or _PERSONAL & set(plain(c).split("_")) for c in columns)


def refuse_dealings(source: Source, understood: Understanding, rows: int, things: int) -> None:
    """Stop where sales would be taken for a catalogue, or visits for a list of customers, without a known name.

    Parameters
    ----------
    rows, things
        Good rows of the file, and the products or customers they are about.

    Raises
    ------
    InputError
        The kind was guessed, and the rows are not one for each product or customer.
    """
    if not understood.guessed or understood.kind == EVENTS:
        return
    bought = understood.kind == USERS and any(_named_like(source, name) for name in ("qty", "order_id"))
    if rows <= 1.2 * things and not bought:
        return
    dealing = [i for name in ("order_id", "session_id", "ts") for i in _named_like(source, name)]
    if understood.kind == ITEMS and not dealing:
        return  # sizes and colours of the same product, in a row each
    what, lacking = ("products", "user_id") if understood.kind == ITEMS else ("customers", "item_id")
    also = f" and has the column {source.columns[dealing[0]]!r}" if dealing else ""
    raise InputError(
        f"{source.path} would be read as a list of {what}, but has {rows:,} rows of {things:,} of them{also}, "
        f"as a list of events has; its columns: {listed(source.columns)}.",
        f"If it holds events, say what is in place of {lacking}: --map {lacking}=COLUMN; if not, --type "
        f"{understood.kind}.",
    )


def _named_like(source: Source, name: str) -> list[int]:
    return [i for i, column in enumerate(source.columns) if tier_of(event_field(name), plain(column)) is not None]


def no_times(name: str, values: Sequence[str]) -> str:
    """What a column holds whose values are no times, without a full stop."""
    shown = list(dict.fromkeys(v[:20] for v in values))
    if not shown:
        return f"{name} is empty"
    what = "numbers of days or rows, not times" if all(v.isdecimal() and len(v) < 6 for v in shown) else "not times"
    return f"{name} holds {', '.join(shown[:3])}{' …' if len(shown) > 3 else ''}, which are {what}"


def _named_but_none(source: Source, field: Field, taken: set[int]) -> str:
    """A sentence on each column that is named like the field and cannot be it, because of what it holds."""
    said = []
    for i, name in enumerate(source.columns):
        if field.value != "time" or i in taken or tier_of(field, plain(name)) is None:
            continue
        said.append(f" {no_times(name, source.texts(i))}.")
    return "".join(said)


def missing(source: Source, kind: str, field: Field, taken: set[int]) -> InputError:
    """No column is recognised as a field that is needed."""
    names = source.columns
    guess = next(
        (
            i
            for i in range(len(names))
            if i not in taken
            and looks_like(field, source, i)
            and (field.value != "time" or _are_times(source.texts(i)))
        ),
        None,
    )
    example = shlex.quote(names[guess]) if guess is not None else "COLUMN"
    return InputError(
        f"{source.path} has no column recognised as {field.name}; it has: {listed(names)}."
        + _named_but_none(source, field, taken),
        f"Say which one it is: --map {field.name}={example}"
        + ("" if kind == EVENTS else f" (read as {kind}; --type says otherwise)")
        + (" (where it has no times, say one date for all rows: --date 2025-01-31)" if field.name == "ts" else "")
        + (_guests(source) if field.name == "user_id" and kind == EVENTS else ""),
    )


def _guests(source: Source) -> str:
    """What to do with sales that name no customers, where they have numbers."""
    receipts = [i for i in range(len(source.columns)) if rank_of(source, event_field("order_id"), i) is not None]
    if not receipts:
        return ""
    receipt = shlex.quote(source.columns[receipts[0]])
    return f" (where it has no customers, learn from what was bought together: --map session_id={receipt})"


def unknown_kind(source: Source) -> InputError:
    """Neither customers nor products can be told."""
    totals = [i for i, c in enumerate(source.columns) if _TOTALS & set(plain(c).split("_"))]
    if len(totals) >= 2:
        return InputError(
            f"{source.path} has totals of products and no customers ({listed(source.columns)}).",
            "Export one row for each order line or event, with a customer, a product and a time.",
        )
    if source.form.name == "csv" and not source.form.dialect.header:
        return _headerless(source)
    return InputError(
        f"{source.path} has no column recognised as a customer or a product; it has: {listed(source.columns)}.",
        "Say which they are: --map user_id=COLUMN --map item_id=COLUMN --map ts=COLUMN "
        f"(and --type {'|'.join(KINDS)}){_guests(source)}.",
    )


def _headerless(source: Source) -> InputError:
    """Columns without names: what they hold, and the line to type as far as that tells."""
    names = source.columns
    first = [next(iter(source.texts(i)), "") for i in range(len(names))]
    shown = ", ".join(f"{n} ({v[:30]})" for n, v in list(zip(names, first, strict=True))[:12])
    texts = [source.texts(i) for i in range(len(names))]
    when = next((i for i, v in enumerate(texts) if _are_times(v) and looks_like(event_field("ts"), source, i)), None)
    what = next((i for i, v in enumerate(texts) if i != when and are_event_types(v)), None)
    stars = next((i for i in reversed(range(len(names))) if i not in (when, what) and _are_ratings(texts[i])), None)
    # An amount or a place is no id; and small numbers are ids where there are no others.
    whole = [i for i in range(len(names)) if i not in (when, what) and not all(map(_DECIMAL.fullmatch, texts[i]))]
    stars = stars if len([i for i in whole if i != stars]) > 1 else None
    others = [i for i in (whole if len(whole) > 1 else range(len(names))) if i not in (when, what, stars)]
    said = {"user_id": others[:1], "item_id": others[1:2]}
    parts = [f"--map {field}={names[at[0]] if at else 'COLUMN'}" for field, at in said.items()]
    # Without a time of their own, all rows are of one day.
    parts.append("--date YYYY-MM-DD" if when is None else f"--map ts={names[when]}")
    if what is not None:
        parts.append(f"--map event_type={names[what]}")
    if stars is not None:
        parts.append(f"--map rating={names[stars]} --ratings-from 4")
    return InputError(
        f"{source.path} has no header; its columns are: {shown}.",
        f"Say which is which, perhaps: --no-header {' '.join(parts)} (and --type {'|'.join(KINDS)}).",
    )


_DECIMAL = re.compile(r"-?\d+\.\d+")
_DATE = re.compile(
    r"(?i)[\d.]+|(\d|(mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b)"
    r".*(\d[-./:]\d|\b(19|20)\d\d\b).*"
)


def _are_times(values: Sequence[str]) -> bool:
    """Whether nearly all begin as dates do, or are numbers: a title with a year in it is not a time."""
    return bool(values) and sum(bool(_DATE.fullmatch(v)) for v in values) * 10 >= len(values) * 9


def are_event_types(values: Sequence[str]) -> bool:
    """Whether a column holds a few words of which some are events that are known."""
    different = {plain(v) for v in values}
    known = {word for name, words in EVENT_WORDS.items() for word in (name, *words.split())}
    return len(different) <= 12 and bool(different & known) and not any(v.isdigit() for v in different)


def _are_ratings(values: Sequence[str]) -> bool:
    """Whether a column holds few different small numbers, as stars are; where one is the usual, they are pieces."""
    different = set(values)
    return (
        3 <= len(different) <= 11 < len(values)
        and all(v.replace(".", "", 1).isdigit() for v in different)
        and max(float(v) for v in different) <= 10
        and sorted(float(v) for v in values)[len(values) // 2] > 1
    )


_TOTALS = frozenset(
    ["viewed", "purchased", "revenue", "added", "sold", "sessions", "clicks", "impressions", "conversions"]
)


def ambiguous(source: Source, field: Field, best: Sequence[int]) -> InputError:
    """Several columns can be a field that is needed."""
    lines = " or ".join(f"--map {field.name}={shlex.quote(source.columns[i])}" for i in best)
    return InputError(f"{source.path} has {len(best)} columns that can be {field.name}.", f"Say which one: {lines}")


_PACKED = (
    (re.compile(r"\s*[\[{]\s*([\"'{]|\d|\])"), "JSON or a list"),
    (re.compile(r"a:\d+:\{"), "what PHP has serialised"),
    (re.compile(r"\s*\d{1,4}\s*[xX×]\s+\S.*[|;,\n]\s*\d{1,4}\s*[xX×]\s"), "several order lines in one cell"),
    (
        re.compile(r"(?s)[A-Za-z ]{2,30}[:=].*[|,;\n]\s*[A-Za-z ]{2,30}[:=].*[|,;\n]\s*[A-Za-z ]{2,30}[:=]"),
        "keys and values",
    ),
    (re.compile(r"[^|;\s]{1,40}([|;][^|;\s]{1,40})+$"), "several values in one cell"),
)


def refuse_packed_products(source: Source, columns: Mapping[str, tuple[int, ...]]) -> None:
    """Stop where the ids of products or customers would be whole baskets or pieces of JSON.

    Raises
    ------
    InputError
    """
    for name, what in (("item_id", "product"), ("user_id", "customer")):
        for i in columns.get(name, ()):
            values = source.texts(i)
            for pattern, kind in _PACKED:
                packed = [v for v in values if pattern.match(v)]
                if packed and len(packed) * 5 >= len(values):
                    raise InputError(
                        f"The column {source.columns[i]!r} of {source.path} holds {kind} (such as {packed[0][:60]!r}), "
                        f"which is not a {what} number.",
                        "Export one row for each order line, with a column for the product's number, or JSON of the "
                        "shop's API as it is.",
                    )


_VIEWED = frozenset(
    ["view", "views", "viewed", "pageview", "pageviews", "click", "clicks", "clickstream", "impressions", "browsing"]
)
_LISTENED = frozenset(
    ["listen", "listens", "listening", "plays", "played", "scrobbles", "streams", "watched", "watches", "checkins"]
)
_VIEW_COLUMNS = frozenset(
    """listen_count play_count playcount plays listens views clicks pageviews dwell_time dwelltime time_on_page
    page_url referrer referer scroll_depth listened_at watched_at viewed_at clicked_at play_duration
    ms_played""".split()  # noqa: SIM905
)


def views_by_name(source: Source) -> bool:
    """Whether the file's own name says that it holds page views or clicks."""
    words = set(re.split(r"[^a-z]+", source.path.stem.lower()))
    return bool(words & _VIEWED) and not words & {"order", "orders", "sales", "purchases", "buys", "transactions"}


def refuse_views_as_purchases(
    source: Source, columns: Mapping[str, tuple[int, ...]], preset: bool, event_type: str | None
) -> None:
    """Stop where a file that speaks of listening or looking would be taken for sales.

    Raises
    ------
    InputError
    """
    if (
        preset
        or event_type is not None
        or {"event_type", "order_id", "price", "qty", "status", "rating"} & set(columns)
    ):
        return
    words = set(re.split(r"[^a-z]+", source.path.stem.lower()))
    read = {i for at in columns.values() for i in at}
    told = [(i, plain(c)) for i, c in enumerate(source.columns)]
    # A German `Tag` is the day of a sale; a `tag` that is read as nothing is what somebody wrote on a film.
    telling = [source.columns[i] for i, c in told if c in _VIEW_COLUMNS or (c == "tag" and i not in read)]
    if telling or words & _LISTENED:
        sign = f"has the column {telling[0]!r}" if telling else "speaks of plays in its name"
        raise InputError(
            f"{source.path} {sign} and no type of events: its rows may not be purchases.",
            "Say what they are: --event-type view, or --event-type purchase.",
        )


def refuse_half_orders(source: Source, kind: str) -> None:
    """Stop where a table of orders without lines, or of lines without customers, would be taken for something else.

    Raises
    ------
    InputError
    """
    dated = bool(candidates(source, event_field("ts"), set()))
    orders = [
        i
        for i in range(len(source.columns))
        if (rank := rank_of(source, event_field("order_id"), i)) is not None and rank <= (2 if dated else 1)
    ]
    if not orders or kind == EVENTS:
        return
    key = source.columns[orders[0]]
    if kind == ITEMS:
        raise InputError(
            f"{source.path} has order lines ({key!r}) and no customers.",
            f"Give the file of the orders with it, which is joined on {key!r}: "
            f"recsys ingest ORDERS {source.path.name}. "
            "Or say which column is the customer: --map user_id=COLUMN; where there are none, learn from what was "
            f"bought together: --map session_id={shlex.quote(key)}; or read it as a catalogue: --type items.",
        )
    if candidates(source, event_field("qty"), set()):
        raise InputError(
            f"{source.path} has order lines ({key!r}) and no column recognised as a product; it has: "
            f"{listed(source.columns)}.",
            "Say which one it is: --map item_id=COLUMN",
        )
    raise InputError(
        f"{source.path} has orders ({key!r}) and does not say what was bought.",
        f"Give the file of their lines with it, which is joined on {key!r}: recsys ingest {source.path.name} LINES. "
        f"Or say which column is the product: --map item_id=COLUMN; or read it as customers: --type users.",
    )


def refuse_one_customer(source: Source, at: int, said: bool) -> str:
    """Stop where one value stands for nearly all customers: a cashier, or a word for nobody. Returns a note instead
    where somebody said that this is the column.

    Raises
    ------
    InputError
    """
    values = [v for v in source.texts(at) if not is_nobody(v)]
    name = source.columns[at]
    if len(values) < 50:
        return ""
    (value, most), *rest = Counter(values).most_common(2)
    second = rest[0][1] if rest else 0
    whole, giant = most >= 0.9 * len(values), len(values) >= 200 and most >= 0.3 * len(values) and most > 10 * second
    if not whole and not giant:
        return ""
    shown = f"{value[:40]!r} in {most:,} of {len(values):,} rows"
    if said or plain(name) == "user_id":
        return f"The customer {value[:40]!r} has {most:,} of the first {len(values):,} rows."
    what = "a cashier or the shop itself is not a customer" if whole else "is that one customer?"
    raise InputError(
        f"The column {name!r} of {source.path} says {shown}: {what}.",
        f"If it is right, say so: --map user_id={shlex.quote(name)}. If {value[:40]!r} stands for nobody: --nobody "
        f"{shlex.quote(value[:40])}. If it is another column: --map user_id=COLUMN{_guests(source)}.",
    )


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
