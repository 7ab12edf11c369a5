"""Which of several columns is read, and what is said of the others."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from ..schema import PURCHASE
from .columns import KIND_TIER, Field, plain
from .event_values import EVENT_WORDS
from .readers import Source
from .recognition import aid, candidates, event_field, of_tier, rank_of
from .refusals import are_event_types

_ORDERS = 3  # of several lines each, from which on a sum is told to be theirs
_UNITS = (1, 1e3, 1e6, 1e9)  # of numbers of seconds since 1970, in each


def ratings(source: Source) -> list[str]:
    """What becomes of a column of ratings, which no model asks for."""
    rating = next((n for i, n in enumerate(source.columns) if rank_of(source, aid("rating"), i) is not None), None)
    if rating is None:
        return []
    return [
        f"The column {rating!r} is not used: a poor rating counts as much as a good one. To tell them apart, say from "
        f"which rating on a product is liked: --ratings-from 4 (--map rating={shlex.quote(rating)})."
    ]


def other_numbers(source: Source, item: Field, best: int, taken: set[int]) -> list[str]:
    """Which other numbers of products the file has: orders, catalogue and pages must go by the same."""
    numbers = [i for tier in (1, 2) for i in of_tier(source, item, tier, taken)]
    others = [i for i in numbers if i != best and (not source.levels or source.levels[i] == source.levels[best])]
    if best not in numbers or not others:
        return []
    named = ", ".join(repr(source.columns[i]) for i in others)
    return [
        f"item_id is read from {source.columns[best]!r}, not from {named}: the catalogue and the shop's pages must use "
        f"the same numbers. To use the other: --map item_id={shlex.quote(source.columns[others[0]])}"
    ]


def shared_names(source: Source, at: int, mails: Sequence[int]) -> str:
    """That customers are known by their names, or are not though they could be."""
    name = repr(source.columns[at])
    if mails:
        return f"user_id is read from {source.columns[mails[0]]!r}, not from {name}: two customers may share a name."
    return f"Customers are told apart by their names in {name}: two of the same name count as one."


def of_events(source: Source, wanted: Field, at: int, taken: set[int]) -> bool:
    """Whether a column called `type` or the like says what happened, and not what kind of order or line it is."""
    if at in of_tier(source, wanted, KIND_TIER + 1, taken):  # `interaction_type` of a sale may be where it was made
        return are_event_types(source.texts(at))
    if at not in of_tier(source, wanted, KIND_TIER, taken) or are_event_types(source.texts(at)):
        return True
    return not candidates(source, event_field("order_id"), taken) and order_itself(source, {*taken, at}) is None


def other_type(source: Source, at: int) -> str:
    """That a column called `type` is not read."""
    name, words = source.columns[at], sorted(set(source.texts(at)))
    shown = ", ".join(w[:30] for w in words[:3]) + (", …" if len(words) > 3 else "")
    return (
        f"The column {name!r} is not used: its values ({shown}) are not events. "
        f"If they are: --map event_type={shlex.quote(name)}"
    )


def order_itself(source: Source, taken: set[int]) -> int | None:
    """The number of the object that has the lines."""
    for name in ("id", "number", "name", "entity_id"):
        for i, column in enumerate(source.columns):
            outer = source.levels and source.levels[i] == 0 and i not in taken
            own = "." not in column or column.split(".")[0] in ("node", "order", "attributes")
            if outer and own and plain(column.split(".")[-1]) == name:
                return i
    return None


def events_by_words(source: Source, taken: set[int]) -> int | None:
    """The column whose words are all events, and not all the same one, whatever it is called.

    Nobody pays by `view` or `cart`; `invoice` and `credit` may be how an order was paid.
    """
    kinds = {word: name for name, words in EVENT_WORDS.items() for word in (name, *words.split())}
    for i in range(len(source.columns)):
        words = set() if i in taken else {plain(w) for w in source.texts(i)}
        said = {kinds[w] for w in words} if 1 < len(words) <= 12 and words <= set(kinds) else set()
        if len(said) > 1 and said - {PURCHASE, "refund"}:
            return i
    return None


def told_by_words(name: str) -> str:
    """That a column says what happened, though it is not called so."""
    return (
        f"What happened is read from {name!r}, whose words are all events. If they mean something else: "
        "--event-type purchase."
    )


def of_whole_orders(source: Source, orders: Sequence[int], at: int) -> bool:
    """Whether a sum is the same on all lines of each order that has several, as the order's own is."""
    sample = source.sample()
    numbers = zip(*(sample.column(f"c{i}").to_pylist() for i in orders), strict=True)
    sums = defaultdict[tuple[object, ...], list[object]](list)
    for number, amount in zip(numbers, sample.column(f"c{at}").to_pylist(), strict=True):
        sums[number].append(amount)
    several = [amounts for number, amounts in sums.items() if any(number) and len(amounts) > 1]
    # Of few orders each may by chance have lines of one price.
    return len(several) >= _ORDERS and all(len(set(amounts)) == 1 for amounts in several)


def order_total(name: str) -> str:
    """That a sum of whole orders is not read as one of lines."""
    return (
        f"The column {name!r} is not used: it is the same on all lines of each order, like the order's total. "
        f"If it is the line's: --map line_total={shlex.quote(name)}"
    )


def one_moment(source: Source, columns: Sequence[int]) -> int | None:
    """Of columns that tell the same moment in several ways, one that names its zone; None where they differ."""
    sample = source.sample()
    told = [[_seconds(v) for v in sample.column(f"c{i}").to_pylist()[:500]] for i in columns]
    if not any(v is not None for v in told[0]):
        return None
    for first, *others in zip(*told, strict=True):
        if any((first is None) != (o is None) or abs((first or 0) - (o or 0)) > 1 for o in others):
            return None
    zoned = (i for i in columns if all(v.isdigit() or v.endswith(("Z", "+00:00")) for v in source.texts(i)))
    return next(zoned, columns[0])


def _seconds(value: object) -> float | None:
    """Of a time as programs write it, since 1970; None for any other."""
    text = str(value).strip() if value is not None else ""
    try:
        if text.isdigit():
            return next((s for unit in _UNITS if 8e8 < (s := int(text) / unit) < 2.2e9), None)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):  # of hundreds of digits, too
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
