"""Which columns can be a field: by their names, their place among nested objects, and their content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from .columns import (
    AIDS,
    EMAIL_TIER,
    EVENTS,
    FIELDS,
    NAME_TIER,
    OWN_COLUMNS,
    PARTNER_TIER,
    VISITOR_TIER,
    Field,
    field,
    in_utc,
    plain,
    tier_of,
)
from .order_states import are_numbers, speaks_of_orders
from .readers import Source

_TIME = (
    r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{9,19}(\.\d+)?$|(19|20)\d{6}"
    r"|\d{4}\. ?\d{1,2}\. ?\d{1,2}|[2-7]\d{4}([.,]\d+)?\s*$|\pL{2,12}\.?,? \d{1,2}[ ./-]|\pL{3,9}\.? \d|"
    r"\pL{3}-\d\d?-\d\d|\d{1,2}\.?[ -](de )?\pL{3}"
    r"|[A-Za-z]{3},? \d{1,2} [A-Za-z]{3}|[A-Za-z]{3} [A-Za-z]{3} \d)"
)
_CLOCK = re.compile(
    r"\d{1,2}[:.]\d\d([:.]\d\d(\.\d+)?)?( ?[AaPp]\.?[Mm]\.?)?( (Uhr|uur|h))?|([01]?\d|2[0-3])[0-5]\d([0-5]\d)?"
)
_CLOCKS = frozenset(("time", "uhrzeit", "zeit", "heure", "hora", "ora", "tijd", "tid", "godzina", "cas", "clock"))
_BROWSER, _BROWSER_NUMBER = ("client_id", "clientid"), re.compile(r"(GA\d\.\d\.)?\d{5,11}\.1\d{9}")
_NAME = re.compile(r"[^\W\d_][^\d_@]*[,.]? [^\d_@]*[^\W\d_]\.?")
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_OF_LINES = ("item_id", "qty", "price", "position", "title_of_line", "line_total", "refunded_qty")
_FAR = 20.0  # a field of lines told of the whole order, or the other way round
_UTC = 0.2
_SHORTENED = 0.4  # `sku` of `payload.sku`
_PATH = re.compile(r"[^.\s]+(\.[^.\s]+)+")  # not `Art.-Nr.`
_AMOUNTS = ("amount", "value")
_ENVELOPES = ("data", "attributes", "relationships", "node", "shopMoney")  # of JSON:API and GraphQL
_TYPES = re.compile(r"\.\$(oid|date|numberLong|numberInt|numberDouble|numberDecimal)$")  # of MongoDB: createdAt.$date
_UNITS = re.compile(r"_(ms|us|ns|s|sec|secs|seconds|millis|milliseconds|micros|microseconds|unix|epoch|utc)$")
# What is told of a line of an order, in tables whose other columns are of the order: `order_item_sku`.
_OF_LINE = re.compile(
    r"(?>((order|sale)_?)?lines?(_?items?)?|order_?items?)_"  # all of it: no `item_id` of `line_item_id`
    # Neither its own number nor how many there are.
    r"(?!(id|number|no|nr|reference|ref|count)$)(?!(?<=items_)(quantity|qty)$)(?=\w)"
)


def aid(name: str) -> Field:
    """One of the fields that help to judge a row."""
    return next(f for f in AIDS if f.name == name)


def event_field(name: str) -> Field:
    """A field of events."""
    return field(EVENTS, name)


def rank_of(source: Source, field: Field, at: int) -> float | None:
    """How telling the column at this position is for the field; smaller is more, None not at all."""
    name = source.columns[at]
    if name in OWN_COLUMNS:
        return None
    if plain(name).endswith(_BROWSER) and field.name in ("user_id", "session_id") and _of_analytics(source, at):
        return 0.5 if field.name == "session_id" else None  # a guest, though `client` is French for a customer
    found = _named(field, name)
    if found is not None and field.name == "item_id" and name.endswith(".id") and _has_product_beside(source, at):
        return None  # the number of the line
    if found is None or not source.levels:
        return found
    level, deepest = source.levels[at], max(source.levels)
    if field.name in _OF_LINES:
        return found + _FAR * (deepest - level)
    # An order's time and customer stand with the order; those of an action within a visit, with the action.
    return found + (_FAR if level == deepest else 0.0) + (0.1 if field.name == "ts" and level == 0 else 0.0)


def _has_product_beside(source: Source, at: int) -> bool:
    """Whether the object whose `id` this is has a product's number, too: {"id": 1, "product_id": 501, …}."""
    around = source.columns[at].removesuffix("id")
    beside = [name.removeprefix(around) for name in source.columns if name.startswith(around)]
    numbers = [plain(n) for n in beside if n != "id" and "." not in n]  # a product may have a code beside its id
    return any(n in ("item_id", "itemid", "product_id", "productid", "article_id", "artikel_id") for n in numbers)


def _of_analytics(source: Source, at: int) -> bool:
    """Whether the values number browsers as Google Analytics does: 1234567890.1735689600."""
    values = source.texts(at)[:200]
    return bool(values) and all(_BROWSER_NUMBER.fullmatch(v) for v in values)


def _named(field: Field, name: str) -> float | None:
    """By the whole name, else by the last two parts of a path, or the last."""
    name = _TYPES.sub("", name.replace(".$date.$numberLong", "")) if "$" in name else name
    whole: float | None = tier_of(field, plain(name), translated=not _PATH.fullmatch(name))
    if whole is None and field.value == "time" and in_utc(name):
        local = tier_of(field, plain(name)[: -len("_gmt")])
        whole = None if local is None else local + _UTC  # after the shop's own time, where a file has both
    if whole is None and field.value == "time" and (bare := _UNITS.sub("", plain(name))) != plain(name):
        whole = tier_of(field, bare)
    if whole is None and field.name in _OF_LINES and (line := _OF_LINE.match(plain(name))):
        whole = tier_of(field, plain(name)[line.end() :], translated=False)
    if whole is not None or "." not in name:
        return whole
    parts = name.split(".")
    if field.name == "price" and parts[-1] in _AMOUNTS:  # `unit_price: {amount: 12.5, currency: EUR}`
        return _named(field, ".".join(parts[:-1]))
    plainly = [p for p in parts if p not in _ENVELOPES]
    if 0 < len(plainly) < len(parts) and (tier := _tier_within(field, plainly)) is not None:
        return max(tier, 1) + 0.5 * _SHORTENED
    for n, shortened in enumerate((parts[-2:], parts[-1:], plainly[-1:]), 1):
        if shortened and len(shortened) < len(parts) and (tier := _tier_within(field, shortened)) is not None:
            return max(tier, 1) + _SHORTENED * n
    return None


def _tier_within(field: Field, parts: Sequence[str]) -> int | None:
    """The tier of a part of a path; of several joined, only as it stands: `items.sku` names no `item`."""
    return tier_of(field, plain("_".join(parts)), translated=len(parts) == 1)


def candidates(source: Source, field: Field, taken: set[int]) -> list[int]:
    """Positions of the columns that are most telling by name, and whose content can be the field."""
    ranks: dict[float, list[int]] = {}
    for i in range(len(source.columns)):
        rank = None if i in taken else rank_of(source, field, i)
        if rank is not None and (rank == 0 or can_be(field, source.sample().column(f"c{i}"))):
            ranks.setdefault(rank, []).append(i)
    if not ranks:
        return []
    best = ranks[min(ranks)]
    return best[:1] if min(ranks) == 0 or source.levels else best


def of_tier(source: Source, field: Field, tier: int, taken: set[int]) -> list[int]:
    """Positions of columns called as in one tier of the field's names, whose content can be the field."""
    found = [
        i
        for i in range(len(source.columns))
        if i not in taken and (rank := rank_of(source, field, i)) is not None and int(rank % _FAR) == tier
    ]
    return [i for i in found if can_be(field, source.sample().column(f"c{i}"))]


def substitutes(source: Source, field: Field, best: int, taken: set[int]) -> tuple[int, ...]:
    """Columns to read where the best one is empty: e-mail address and visit of a customer without a number, the
    product of an action that has no list of lines."""
    found: list[int] = []
    if field.name == "user_id":
        rank = rank_of(source, field, best)
        for tier in (EMAIL_TIER, VISITOR_TIER):
            if rank is not None and int(rank % _FAR) < tier:
                found += of_tier(source, field, tier, {*taken, best, *found})[:1]
    elif field.name in _OF_LINES and source.levels:
        levels = list(range(source.levels[best] - 1, -1, -1))
        for level in levels:
            there = [i for i, at in enumerate(source.levels) if at == level and i not in taken]
            ranked = [(r, i) for i in there if (r := rank_of(source, field, i)) is not None]
            if ranked and can_be(field, source.sample().column(f"c{min(ranked)[1]}")):
                found.append(min(ranked)[1])
        if field.name != "item_id" and not _sold_above(source):
            return ()
    return tuple(found)


def _sold_above(source: Source) -> bool:
    """Whether products are named above the list of lines, too: then prices there are theirs, not of the order."""
    item = event_field("item_id")
    deepest = max(source.levels)
    return any(
        level < deepest and _named(item, source.columns[i]) is not None and _named(item, source.columns[i]) < 3  # type: ignore[operator]
        for i, level in enumerate(source.levels)
    )


def can_be(field: Field, column: pa.ChunkedArray) -> bool:
    """Whether the content speaks for the field, or at least not against it."""
    text = pc.cast(column, pa.string(), safe=False) if not pa.types.is_string(column.type) else column
    filled = text.filter(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(text), ""), False))
    if len(filled) == 0:
        return len(column) == 0
    if field.value == "time" and pa.types.is_string(column.type):
        return bool(pc.sum(pc.match_substring_regex(filled, _TIME)).as_py() * 2 >= len(filled))
    if field.name in ("status", "payment_status"):
        different = [str(v) for v in filled.unique().to_pylist()]
        return speaks_of_orders(different) or (field.name == "status" and are_numbers(different))
    if field.name == "stock":
        return bool(pc.sum(pc.match_substring_regex(filled, r"^\s*-?\d+([.,]\d+)?\s*$")).as_py() * 2 >= len(filled))
    return True


def clock_beside(source: Source, dates: int, others: Sequence[int]) -> int | None:
    """The column that has the hours and minutes of a column with days alone."""
    days = source.texts(dates)
    if not days or any(":" in day.removesuffix(":00").removesuffix(" 00:00").removesuffix("T00:00") for day in days):
        return None
    for at in others:
        if _CLOCKS & set(plain(source.columns[at]).split("_")):
            values = source.texts(at)
            if values and sum(bool(_CLOCK.fullmatch(v)) for v in values) >= 0.9 * len(values):
                return at
    return None


def looks_like(field: Field, source: Source, at: int) -> bool:
    """Whether the content alone speaks for the field, whatever the column is called."""
    column = source.sample().column(f"c{at}")
    if field.value == "time" and not _plausible_epochs(source.texts(at)):
        return False  # numbers of baskets are no times
    if field.value == "time":
        return pa.types.is_timestamp(column.type) or (
            pa.types.is_string(column.type) and len(column) > 0 and can_be(field, column)
        )
    if field.name == "user_id" and pa.types.is_string(column.type) and len(column):
        words = set(plain(source.columns[at]).split("_"))
        called = bool(words & {"customer", "client", "kunde", "buyer", "kunden", "cliente"}) and not words & {"group"}
        mails = (pc.sum(pc.match_substring_regex(column, _EMAIL)).as_py() or 0) * 2 > len(column)
        return bool(mails) or (called and can_be(field, column))
    return False


def are_names(source: Source, at: int) -> bool:
    """Whether the values are names of people, first and last: `Meier, Anna`."""
    values = source.texts(at)[:200]
    return bool(values) and sum(bool(_NAME.fullmatch(v.strip())) for v in values) >= 0.8 * len(values)


def _plausible_epochs(values: Sequence[str]) -> bool:
    """Whether numbers, where the values are such, may be times of this age in some unit."""
    numbers = [float(v) for v in values[:200] if v.replace(".", "", 1).isdigit()]
    if not values:
        return False
    if len(numbers) * 2 < len(values[:200]):
        return True
    middle = sorted(numbers)[len(numbers) // 2]
    return 19_000_000 < middle < 21_000_000 or any(8e8 < middle / unit < 2.2e9 for unit in (1, 1e3, 1e6, 1e9))


def recognised_kind(source: Source, said: Mapping[str, str]) -> str | None:
    """Events have customers and items, items no customers, users no items; None where neither is known."""
    has = {"user_id": "user_id" in said, "item_id": "item_id" in said}
    for name in has:
        has[name] = has[name] or bool(candidates(source, event_field(name), set()))
    if has["item_id"] and "user_id" not in said and "ts" not in said:
        # Without times a name is that of who buys the goods for the shop, or delivers them.
        timed = bool(candidates(source, event_field("ts"), set()))
        has["user_id"] = has["user_id"] and (timed or not named_alone(source))
    if not has["user_id"] and has["item_id"] and "ts" not in said:
        session, ts = (candidates(source, event_field(n), set()) for n in ("session_id", "ts"))
        has["user_id"] = bool(session and ts)  # clicks of guests
    if not has["user_id"] and has["item_id"]:
        has["user_id"] = "session_id" in said
    if has["user_id"]:
        return EVENTS if has["item_id"] else "users"
    item = next(f for f in FIELDS["items"] if f.name == "item_id")
    return "items" if has["item_id"] or candidates(source, item, set()) else None


def named_alone(source: Source) -> bool:
    """Whether customers are told apart by names at best, as on lines whose orders another file has."""
    user = event_field("user_id")
    best = candidates(source, user, set())
    return bool(best) and best[0] in [i for t in (NAME_TIER, PARTNER_TIER) for i in of_tier(source, user, t, set())]


def recognised_aids(source: Source, names: Sequence[str], taken: set[int]) -> dict[str, tuple[int, ...]]:
    """The columns that help to judge a row, each for one purpose."""
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        best = candidates(source, aid(name), taken)
        if name == "status" and best:
            best = [_worded(source, best[0], taken)]
        if best:
            found[name] = (best[0],)
            taken.add(best[0])
    return found


def _worded(source: Source, best: int, taken: set[int]) -> int:
    """The column of states; where it numbers them, one beside it that says them in words."""
    status, payment = aid("status"), aid("payment_status")
    if not are_numbers(sorted(set(source.texts(best)))):
        return best
    for i, name in enumerate(source.columns):
        named = i not in taken and rank_of(source, status, i) is not None and _named(payment, name) is None
        if named and can_be(status, source.sample().column(f"c{i}")) and not are_numbers(sorted(set(source.texts(i)))):
            return i
    return best


def code_beside(source: Source, named: int, taken: set[int]) -> int | None:
    """The column with the codes of the products that a column names: `Referencia` beside `Producto`.

    What is called a reference may be the order's: it is the product's where each has one of its own.
    """
    if plain(source.columns[named]) not in _CALLED_PRODUCTS:
        return None
    names = source.texts(named)
    for i, column in enumerate(source.columns):
        if i in taken or i == named or not _REFERENCE.fullmatch(plain(column)):
            continue
        codes = source.texts(i)
        pairs = len(set(zip(codes, names, strict=False)))
        if len(codes) == len(names) and 1 < len(set(codes)) == len(set(names)) == pairs < len(codes):
            return i
    return None


_CALLED_PRODUCTS = frozenset(
    ("product", "producto", "produto", "produit", "prodotto", "articulo", "artigo", "articolo")
)
_REFERENCE = re.compile(r"(cod(igo|ice)?_)?(ref|referen[ck]i?[ae]|riferimento)")
