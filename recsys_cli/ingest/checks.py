"""Whether a row can be taken: one small object a rule, in the order in which they are asked.

A rule is an SQL predicate over the row as read: it is true where the row offends. The first rule that a row offends
names the reason it is rejected for. Columns: `t_<field>` is a field's text, `<field>` its value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..settings import IngestSettings
from ..store.erased_people import refusal
from .columns import EVENTS, FIELDS, ITEMS, USERS
from .number_parsing import currency_unknown
from .order_states import UNDELIVERED, UNPAID, States
from .value_parsing import quote

REJECTED, LEFT_OUT = "rejected", "left out"
# Reasons of rows with which nothing is wrong.
LEFT_OUT_FOR = frozenset(
    ("part_of_line", "translation", "picture", "order_head", "no_lines", "part_of_product", "test_order", "undecided",
     "unpaid", "undelivered", "non_product", "erased")
)  # fmt: skip


_BESIDE_PRODUCTS = (
    "shipping|billing|delivery|discount|coupon|voucher|fee|^tax|payment|tip$|gift|versand|rabatt|gutschein"
)


@dataclass(frozen=True)
class Check:
    """One rule.

    Parameters
    ----------
    name
        What to call it in counts and lists.
    sentence
        What is wrong with a row that offends, for people.
    offends
        SQL predicate.
    shows
        The field whose text is shown as the offender; empty for none.
    severity
        `rejected`: something is wrong. `left out`: nothing is, the row is not a customer's dealing with a product.
    names
        SQL predicate over a text `word`: it names somebody of whom nothing is to be kept, wherever it stands. Lines
        that are no rows cannot be asked for more.
    """

    name: str
    sentence: str
    offends: str
    shows: str = ""
    severity: str = REJECTED
    names: str = ""

    def __post_init__(self) -> None:
        assert (self.severity == LEFT_OUT) == (self.name in LEFT_OUT_FOR), self.name


@dataclass(frozen=True)
class Context:
    """What rules may depend on.

    Parameters
    ----------
    kind
        events, items or users.
    has
        Fields that the file has, and what else is true of it: `variants` (rows are Shopify's, with a handle), `heads`
        (orders have rows of their own), `lines` (rows are entries of lists in objects).
    settings
        The shop's own patterns and limits.
    now
        Epoch seconds.
    keep_out
        People who were erased: hash of the person to the time of the erasure.
    secret
        The database's, for recognising them.
    bare
        Number fields that are not written plainly, and the columns with what `number_parsing.bare_number` made of them.
    states
        How the file tells how far orders got.
    slack
        Seconds by which times may be ahead of UTC: local times in a file, and no `ingest.timezone` to read them by.
        What an erased person bought that afternoon must not look like something they did after the erasure.
    """

    kind: str
    has: frozenset[str]
    settings: IngestSettings
    now: int
    keep_out: Mapping[str, int]
    secret: str
    bare: Mapping[str, str] = field(default_factory=dict)
    states: States = field(default_factory=States)
    slack: int = 0


def checks_for(context: Context) -> list[Check]:
    """The rules that can be asked of this file."""
    found: list[Check] = []
    for make in _MAKERS:
        found += make(context)
    return found


def _ids(c: Context) -> list[Check]:
    names = {"user_id": "no customer", "item_id": "no product"}
    required = [f.name for f in FIELDS[c.kind] if f.required and f.name in names]
    missing = [Check(f"no_{n[:4]}", f"It names {names[n]}.", f"t_{n} IS NULL") for n in required if n in c.has]
    if c.kind == EVENTS and "session_id" in c.has:
        # Guests are known by their session until they say who they are.
        nobody = "t_session_id IS NULL" + (" AND t_user_id IS NULL" if "user_id" in c.has else "")
        missing[0:1] = [Check("no_user", "It names no customer and no session.", nobody)]
    ids = [f.name for f in FIELDS[c.kind] if f.value == "id" and f.name in c.has]
    # Unassigned and control characters in ids break logs, URLs and terminals; the replacement character is damage.
    odd = r"[\x00-\x1f\x7f-\x9f\x{FFFD}\x{202A}-\x{202E}]"
    # A rule for each field, so that the id shown is the one that offends.
    most = c.settings.max_id
    long_ids = [Check("long_id", f"{n} is longer than {most} characters.", f"length(t_{n}) > {most}", n) for n in ids]
    odd_ids = [
        Check("odd_id", f"{n} holds control or damaged characters.", f"regexp_matches(t_{n}, '{odd}')", n) for n in ids
    ]
    rounded = [
        Check(
            "rounded_id",
            f"{n} was rounded by a spreadsheet, its digits are gone. Export it again with that column as text.",
            f"regexp_full_match(t_{n}, '\\d([.,]\\d+)?[eE]\\+\\d{{1,2}}')",
            n,
        )
        for n in ids
    ]
    return [*missing, *long_ids, *odd_ids, *rounded]


def _own_rows(c: Context) -> list[Check]:
    """Rows that platforms write beside the real ones."""
    found = []
    if "parent_line" in c.has:
        sentence = "It details the line above, which is counted."
        found.append(Check("part_of_line", sentence, "t_parent_line IS NOT NULL", "item_id", LEFT_OUT))
    if "translation_of" in c.has:
        sentence = "It repeats an item for another store view."
        found.append(Check("translation", sentence, "t_translation_of IS NOT NULL", "item_id", LEFT_OUT))
    if "variants" in c.has:
        sentence = "It only adds a picture to the item above."
        found.append(Check("picture", sentence, "t_item_id IS NULL AND t_price IS NULL", "handle", LEFT_OUT))
    if "heads" in c.has:
        sentence = "It is the row of an order or a payment, whose lines are counted."
        found.append(Check("order_head", sentence, "t_item_id IS NULL", "order_id", LEFT_OUT))
    if "lines" in c.has and c.kind == EVENTS:
        sentence = "It names no product: an order without lines, or a page view."
        found.append(Check("no_lines", sentence, "t_item_id IS NULL", "", LEFT_OUT))
    if "item_type" in c.has and c.states.platform == "bigcommerce":
        sentence = "It is an option, a picture or a rule of the product above."
        found.append(Check("part_of_product", sentence, "lower(t_item_type) <> 'product'", "item_id", LEFT_OUT))
    if "test_order" in c.has:
        found.append(Check("test_order", "It is a test order.", "coalesce(test_order, false)", "order_id", LEFT_OUT))
    if "line_type" in c.has:
        beside = f"regexp_matches(lower(t_line_type), {quote(_BESIDE_PRODUCTS)})"
        found.append(Check("non_product", "It is postage, a fee or the like.", beside, "line_type", LEFT_OUT))
    if "rating" in c.has:
        sentence = "Its rating says neither that it is liked nor that it is disliked."
        found.append(Check("undecided", sentence, "event_type = 'rated'", "rating", LEFT_OUT))
    return found


def _orders(c: Context) -> list[Check]:
    if c.kind != EVENTS or "status" not in c.has:
        return []
    never = f"coalesce({c.states.sql('t_status')} = {quote(UNPAID)}, false)"
    undelivered = f"{never} AND regexp_matches(lower(t_status), {quote(UNDELIVERED)})"
    return [
        Check("undelivered", "Its order was not delivered.", undelivered, "status", LEFT_OUT),
        Check("unpaid", "Its order was not paid for.", never, "status", LEFT_OUT),
    ]


def _times(c: Context) -> list[Check]:
    if "ts" not in c.has:
        return []
    first = int(datetime.fromisoformat(c.settings.earliest).replace(tzinfo=UTC).timestamp())
    return [
        Check("no_time", "It has no time.", "t_ts IS NULL"),
        Check("bad_time", "Its time cannot be read, or never was.", "t_ts IS NOT NULL AND ts IS NULL", "ts"),
        Check("old_time", f"Its time is before {c.settings.earliest}.", f"ts < {first}", "ts"),
        Check("future_time", "Its time is in the future.", f"ts > {_latest(c)}", "ts"),
    ]


def _latest(c: Context) -> int:
    """The latest time that is accepted, epoch seconds: clocks differ, and zones are mistaken."""
    return c.now + int(c.settings.future_hours * 3600)


def _numbers(c: Context) -> list[Check]:
    found = []
    if c.kind != ITEMS and ("price" in c.has or "line_total" in c.has):
        name = "price" if "price" in c.has else "line_total"
        shown = f"t_{name}::VARCHAR"
        odd = currency_unknown(shown, c.bare.get(name, shown))
        unknown = f"t_{name} IS NOT NULL AND price IS NULL AND {odd}"
        bad = f"t_{name} IS NOT NULL AND price IS NULL"
        found += [
            Check("currency", "Its price is in a currency we do not know.", unknown, name),
            Check("bad_price", "Its price is not a number, or can be read two ways.", bad, name),
        ]
    if c.kind == ITEMS and "price" in c.has:
        found.append(Check("bad_price", "Its price is negative.", "price < 0", "price"))
    if "qty" in c.has:
        found += [
            Check("bad_qty", "Its quantity is not a number.", "t_qty IS NOT NULL AND raw_qty IS NULL", "qty"),
            Check("huge_qty", "Its quantity is implausibly large.", "abs(raw_qty) > 2147483647", "qty"),
            Check("no_qty", "Its quantity is zero.", "raw_qty = 0", "qty"),
        ]
    for name, what in (("position", "position"), ("margin", "margin")):
        if name in c.has:
            bad = f"t_{name} IS NOT NULL AND {name} IS NULL"
            found.append(Check(f"bad_{name}", f"Its {what} is not a number.", bad, name))
    if "created_at" in c.has:
        bad = "t_created_at IS NOT NULL AND created_at IS NULL"
        found.append(Check("bad_time", "Its time cannot be read, or never was.", bad, "created_at"))
    return found


def _products(c: Context) -> list[Check]:
    if "item_id" not in c.has:
        return []
    codes = _any_like("t_item_id", c.settings.non_products)
    found = [Check("non_product", "It is postage, a fee or the like.", codes, "item_id", LEFT_OUT)] if codes else []
    title = next((t for t in ("title_of_line", "title") if t in c.has), None)
    titles = _any_like(f"t_{title}", c.settings.non_product_titles) if title else ""
    if titles:
        # Products have numbers; a code like M or D with the title Manual or Discount has not.
        unnumbered = "length(regexp_replace(t_item_id, '[^0-9]', '', 'g')) < 4"
        offends = f"{unnumbered} AND ({titles})"
        found.append(Check("non_product", "It is postage, a fee or the like.", offends, title or "", LEFT_OUT))
    return found


def _catalogue(c: Context) -> list[Check]:
    if c.kind != EVENTS or c.settings.unknown_items != "reject":
        return []
    unknown = "t_item_id NOT IN (SELECT item_id FROM items)"
    return [Check("unknown_item", "Its item is not in the catalogue.", unknown, "item_id")]


def _any_like(column: str, patterns: tuple[str, ...]) -> str:
    """SQL: the text matches one of the shell patterns, whatever its case; plain words are looked up at once."""
    low = f"lower({column})"
    plain = [quote(p.lower()) for p in patterns if p and not set(p) & set("*?[")]
    found = [f"{low} IN ({', '.join(plain)})"] if plain else []
    found += [f"{low} GLOB {quote(p.lower())}" for p in patterns if set(p) & set("*?[")]
    return f"coalesce({' OR '.join(found)}, false)" if found else ""


def _erased(c: Context) -> list[Check]:
    user, session = (f"t_{n}" if n in c.has and c.kind != ITEMS else "" for n in ("user_id", "session_id"))
    if not c.keep_out or not (user or session):
        return []
    early = refusal(c.secret, c.keep_out, _past(c), user, session)
    if c.kind == USERS:  # a profile has no time; events since the erasure show that they have come back
        early += f" AND {user} NOT IN (SELECT user_id FROM events WHERE user_id IS NOT NULL)"
    word = [refusal(c.secret, c.keep_out, "0", *who) for who in (("word", ""), ("", "word"))]
    sentence = "It is about a person who asked to be forgotten."
    return [Check("erased", sentence, early, "", LEFT_OUT, names=" OR ".join(word))]


def _past(c: Context) -> str:
    """SQL: when it happened, as far as that decides whether it was before an erasure.

    A time that cannot be read, or never was, is no proof that they have come back: such a row would be rejected for it,
    and kept with the name of somebody erased until the shop fixes it.
    """
    if "ts" not in c.has:
        return "0"
    ahead = f"CASE WHEN regexp_full_match(t_ts::VARCHAR, '[0-9.]+') THEN 0 ELSE {c.slack} END" if c.slack else "0"
    return f"coalesce(CASE WHEN ts <= {_latest(c)} THEN ts - {ahead} END, 0)"


_MAKERS: tuple[Callable[[Context], list[Check]], ...] = (
    _erased,
    _own_rows,
    _ids,
    _times,
    _orders,
    _products,
    _numbers,
    _catalogue,
)


def now() -> int:
    """Epoch seconds."""
    return int(time.time())
