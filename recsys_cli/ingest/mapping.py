"""Which column is what: as the person said, as the platform's export has it, or as names and content tell."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import orjson

from ..errors import InputError, UsageError
from .columns import AIDS, EMAIL_TIER, EVENTS, FIELDS, ITEMS, NAME_TIER, OF_RETURNS, OWN_COLUMNS, Field, plain
from .dialect import column_name
from .order_heads import with_heads
from .platform_files import Preset
from .presets import PLATFORMS, PRESETS, given_away
from .readers import Source
from .recognition import (
    are_names,
    candidates,
    clock_beside,
    code_beside,
    event_field,
    looks_like,
    of_tier,
    rank_of,
    recognised_aids,
    recognised_kind,
    substitutes,
)
from .refusals import (
    ambiguous,
    dead_end,
    listed,
    missing,
    refuse_half_orders,
    refuse_one_customer,
    refuse_packed_products,
    refuse_views_as_purchases,
    unknown_kind,
    views_by_name,
)
from .rival_columns import (
    events_by_words,
    of_events,
    of_whole_orders,
    one_moment,
    order_itself,
    order_total,
    other_numbers,
    other_type,
    ratings,
    shared_names,
    told_by_words,
)
from .understanding import Asked, Understanding
from .variant_rows import with_products


def understand(source: Source, asked: Asked) -> Understanding:
    """Understand the columns of a file.

    Raises
    ------
    UsageError, InputError
        When a column named is not there, or a field that is needed cannot be told; the message has the line to type.
    """
    if asked.preset is not None and asked.preset not in PLATFORMS:
        near = difflib.get_close_matches(asked.preset, PLATFORMS, n=1)
        raise UsageError(
            f"There is no preset '{asked.preset}'.", f"Did you mean {near[0] if near else ', '.join(PLATFORMS)}?"
        )
    if "_reading" in source.columns and asked.nothing:
        readings = source.texts(source.columns.index("_reading"))
        if readings and (again := recalled(source, readings[0])) is not None:
            return again
    said = dict(asked.said)
    found = _preset_for(source, asked)
    if found is not None:
        understood = _by_preset(source, found, said, asked.date is not None)
    else:
        understood = _by_names(source, asked, said)
    if understood.kind == EVENTS:
        understood = _with_clock(source, _told(source, understood, asked))
        refuse_views_as_purchases(source, understood.columns, understood.preset is not None, understood.event_type)
    refuse_packed_products(source, understood.columns)
    return _dated(source, understood, asked.date)


def _by_names(source: Source, asked: Asked, said: Mapping[str, str]) -> Understanding:
    kind = asked.kind
    if not said and kind is None and (advice := dead_end(source.columns)):
        raise InputError(f"{source.path} holds no products.", advice)
    kind = kind or recognised_kind(source, {**_who_and_what(source, asked.remembered), **said})
    if kind is None:
        raise unknown_kind(source)
    if asked.kind is None and not said:
        refuse_half_orders(source, kind)
    remembered = {f: c for f, c in asked.remembered.get(kind, {}).items() if c in source.columns}
    chosen = _said(source, kind, {**remembered, **said})
    recognised, notes = _recognise(source, kind, chosen, asked.date is not None)
    columns = {**recognised, **chosen}
    if kind == EVENTS and "event_type" not in columns and asked.ratings_from is None:
        notes += ratings(source)
    understood = replace(_complete(source, kind, columns, None, notes), guessed=asked.kind is None)
    return with_heads(source, understood) if kind == EVENTS else with_products(source, understood)


def _who_and_what(source: Source, remembered: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The columns of customers and items that the settings name for any kind of file, as far as this one has them."""
    names = ("user_id", "session_id", "item_id")
    return {
        name: columns[name] for columns in remembered.values() for name in names if columns.get(name) in source.columns
    }


def _told(source: Source, understood: Understanding, asked: Asked) -> Understanding:
    """The same, with what was said of all its rows."""
    if asked.ratings_from is not None and "rating" not in understood.columns:
        raise UsageError("--ratings-from needs a column of ratings.", "Say which it is: --map rating=COLUMN.")
    if asked.event_type is not None and "event_type" in understood.columns:
        columns = {name: at for name, at in understood.columns.items() if name != "event_type"}
        understood = replace(understood, columns=columns)
    event_type, notes = asked.event_type, list(understood.notes)
    typed = {"event_type", "order_id", "price", "qty", "status"} & set(understood.columns)
    if event_type is None and understood.preset is None and not typed and views_by_name(source):
        event_type = "view"
        notes.append("Its name speaks of views: every row is read as a view. If not: --event-type purchase.")
    if event_type is None and understood.preset is None and "event_type" not in understood.columns:
        dates = [
            source.columns[i] for i in understood.columns.get("ts", ()) if OF_RETURNS.search(plain(source.columns[i]))
        ]
        if dates:
            event_type = "refund"
            notes.append(f"Times are from {dates[0]!r}: every row is read as a refund. If not: --event-type purchase.")
    for at in understood.columns.get("user_id", ())[:1]:
        if note := refuse_one_customer(source, at, "user_id" in asked.said):
            notes.append(note)
    return replace(understood, event_type=event_type, ratings_from=asked.ratings_from, notes=tuple(notes))


def _with_clock(source: Source, understood: Understanding) -> Understanding:
    """The same; where days and hours stand in two columns, both make the time."""
    dates = understood.columns.get("ts", ())
    if len(dates) != 1 or "time_of_day" in understood.columns:
        return understood
    clock = clock_beside(source, dates[0], understood.unused)
    if clock is None:
        return understood
    unused = tuple(i for i in understood.unused if i != clock)
    return replace(understood, columns={**understood.columns, "time_of_day": (clock,)}, unused=unused)


def _dated(source: Source, understood: Understanding, date: int | None) -> Understanding:
    """The same, with one time for all rows instead of a column of times, where one was said."""
    if date is None or understood.kind != EVENTS:
        return understood
    day = datetime.fromtimestamp(date, UTC).date()
    columns = {name: at for name, at in understood.columns.items() if name not in ("ts", "time_of_day")}
    notes = (*understood.notes, f"Every row is dated {day}, as said; no time is read from the file.")
    unused = _complete(source, EVENTS, columns, understood.preset, ()).unused
    return replace(understood, columns=columns, unused=unused, notes=notes, date=date)


def recalled(source: Source, reading: str) -> Understanding | None:
    """The understanding of a file of rejected rows that come back, from what was remembered with them."""
    try:
        known = orjson.loads(reading)
        columns = {
            field: tuple(source.columns.index(name) for name in names if name in source.columns)
            for field, names in known["columns"].items()
        }
        kind, platform = str(known["kind"]), known["preset"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None  # somebody has edited that column; the file is understood like any other
    names = [name for wanted in known["columns"].values() for name in wanted]
    preset = next((p for p in PRESETS if p.platform == platform and p.kind == kind and _fits(p, names)), None)
    again = _complete(source, kind, {f: at for f, at in columns.items() if at}, preset, ())
    return replace(
        again,
        date_order=known.get("date_order"),
        date=known.get("date"),
        event_type=known.get("event_type"),
        ratings_from=known.get("ratings_from"),
        fill_down=again.fill_down,
        group=again.group,
    )


def _fits(preset: Preset, names: Sequence[str]) -> bool:
    known = {plain(c) for columns in preset.columns.values() for c in columns}
    return all(plain(n) in known for n in names)


def _preset_for(source: Source, asked: Asked) -> Preset | None:
    named, kind, said = asked.preset, asked.kind, bool(asked.said)
    preset = given_away(source.columns, named)
    if preset is not None and kind is not None and preset.kind != kind:
        preset = None
    if preset is not None and said and named is None and kind is not None:
        return None  # told what it is and where things are: nothing left to guess
    if preset is None and named is not None:
        return _nearest(source, named, kind)
    return preset


def _nearest(source: Source, platform: str, kind: str | None) -> Preset:
    """The platform's kind of file that this one is most like, when it lacks a telling column."""
    names = {plain(c) for c in source.columns}
    candidates = [p for p in PRESETS if p.platform == platform and kind in (None, p.kind)]
    if not candidates:
        raise UsageError(f"The preset {platform} has no {kind}.", "Leave --preset out.")

    def likeness(preset: Preset) -> int:
        return sum(plain(c) in names for columns in preset.columns.values() for c in columns)

    best = max(candidates, key=likeness)
    if likeness(best) < 2:
        raise InputError(
            f"{source.path} is not a known export of {platform} (it lacks {', '.join(map(repr, best.telling))}).",
            "Leave --preset out, or name the columns with --map.",
        )
    return best


def _by_preset(source: Source, preset: Preset, said: Mapping[str, str], dated: bool) -> Understanding:
    at = {plain(name): i for i, name in reversed(list(enumerate(source.columns)))}
    columns = {name: tuple(at[plain(c)] for c in wanted if plain(c) in at) for name, wanted in preset.columns.items()}
    chosen = _said(source, preset.kind, said, extra=tuple(preset.columns))
    columns = {**{name: where for name, where in columns.items() if where}, **chosen}
    for name in preset.needed:
        if name not in columns and not (dated and name == "ts"):
            looked = " or ".join(repr(c) for c in preset.columns[name])
            spare = [i for i in range(len(source.columns)) if not any(i in w for w in columns.values())]
            raise InputError(
                f"{source.path} looks like {preset.kind} of {preset.platform}, but lacks the column {looked} ({name}).",
                _suggest(source, name, preset.columns[name], spare),
            )
    if preset.ask and preset.ask not in said:
        raise ambiguous(source, next(f for f in FIELDS[preset.kind] if f.name == preset.ask), columns[preset.ask])
    understood = _complete(source, preset.kind, columns, preset, list(preset.notes))
    return replace(understood, fill_down=preset.fill_down, group=preset.group)


def _suggest(source: Source, name: str, looked: Sequence[str], spare: Sequence[int]) -> str:
    """The line to type, with the likeliest of the columns that nothing is read from."""
    if name == "ts":
        spare = [i for i in spare if looks_like(event_field("ts"), source, i)]
        spare = sorted(spare, key=lambda i: -_likeness(source.columns[i], looked))
    words = {w for c in looked for w in plain(c).split("_")}
    sharing = [source.columns[i] for i in spare if words & set(plain(source.columns[i]).split("_"))]
    names = [source.columns[i] for i in spare]
    near = sharing or [m for c in looked for m in difflib.get_close_matches(c, names, n=1, cutoff=0.4)]
    near = near or (names if name == "ts" else [])
    return f"Say which column it is: --map {name}={shlex.quote(near[0] if near else 'THE COLUMN')}"


def _likeness(name: str, looked: Sequence[str]) -> float:
    return max(difflib.SequenceMatcher(None, plain(name), plain(c)).ratio() for c in looked)


def _said(source: Source, kind: str, said: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    fields = [f.name for f in (*FIELDS[kind], *AIDS)]
    chosen: dict[str, tuple[int, ...]] = {}
    for name, column in said.items():
        if name not in fields and name not in extra:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Fields: {', '.join(f.name for f in FIELDS[kind])}."
            raise UsageError(f"'{name}' is not a field of {kind}.", hint)
        chosen[name] = tuple(_position(source, name, part) for part in _alternatives(source, column))
    return chosen


def _alternatives(source: Source, column: str) -> list[str]:
    return [column] if column in source.columns or "|" not in column else column.split("|")


def _position(source: Source, field: str, column: str) -> int:
    if column in source.columns:
        return source.columns.index(column)
    bare = plain(column_name(column))
    same = [i for i, c in enumerate(source.columns) if plain(c) in (plain(column), bare) and bare]
    if len(same) == 1:
        return same[0]
    below = [i for i, c in enumerate(source.columns) if plain(c).startswith(plain(column) + "_") and "." in c]
    if below and field == "item_id":  # the list of lines itself was named
        item = event_field("item_id")
        ranked = sorted((rank, i) for i in below if (rank := rank_of(source, item, i)) is not None)
        if ranked:
            return ranked[0][1]
    if below:
        raise InputError(
            f"'{column}' of {source.path} is a list or an object.",
            f"Name a value in it: --map {field}=COLUMN, of {listed([source.columns[i] for i in below])}.",
        )
    near = difflib.get_close_matches(column, source.columns, n=1)
    hint = f"Did you mean --map {field}={shlex.quote(near[0])}?" if near else f"It has: {listed(source.columns)}."
    raise InputError(f"{source.path} has no column '{column}'.", hint)


def _recognise(
    source: Source, kind: str, chosen: Mapping[str, tuple[int, ...]], dated: bool
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    taken = {i for where in chosen.values() for i in where}
    found: dict[str, tuple[int, ...]] = {}
    notes: list[str] = []
    # Required fields first: `email` is a customer only where nothing better is, and `id` an item.
    for wanted in sorted(FIELDS[kind], key=lambda f: not f.required):
        if wanted.name in chosen or (dated and wanted.name == "ts") or _repeated(source, wanted):
            continue
        best = _best(source, kind, wanted, chosen, taken)
        if not best:
            guests = wanted.name == "user_id" and candidates(source, event_field("session_id"), taken)
            if wanted.required and not (guests or (wanted.name == "user_id" and "session_id" in chosen)):
                raise missing(source, kind, wanted, taken)
            continue
        named = wanted.name == "user_id" and kind == EVENTS
        if named and (are_names(source, best[0]) or best[0] in of_tier(source, wanted, NAME_TIER, taken)):
            mails = of_tier(source, wanted, EMAIL_TIER, {*taken, best[0]})[:1]
            notes.append(shared_names(source, best[0], mails))
            best = mails or best
        if wanted.name == "user_id" and len(best) > 1:
            best = [i for i in best if "unique" in plain(source.columns[i]).split("_")][:1] or best
        if len(best) > 1 and wanted.value == "time" and (same := one_moment(source, best)) is not None:
            best = [same]
        if len(best) > 1 and wanted.required:
            raise ambiguous(source, wanted, best)
        if len(best) > 1:
            others = ", ".join(repr(source.columns[i]) for i in best[1:])
            notes.append(f"{wanted.name} is read from {source.columns[best[0]]!r}, not from {others}.")
        if wanted.name == "item_id" and kind == EVENTS and (code := code_beside(source, best[0], taken)) is not None:
            notes.append(
                f"item_id is read from {source.columns[code]!r}, the code of what {source.columns[best[0]]!r} names."
            )
            best = [code]
        elif wanted.name == "item_id" and kind == EVENTS:
            notes += other_numbers(source, wanted, best[0], taken)
        if kind == EVENTS and not _of_products(source, wanted, best[0]):
            continue
        if wanted.name == "event_type" and not of_events(source, wanted, best[0], taken):
            notes.append(other_type(source, best[0]))
            continue
        others_too = substitutes(source, wanted, best[0], taken) if kind == EVENTS else ()
        found[wanted.name] = (best[0], *others_too)
        taken |= {best[0], *others_too}
    if kind == EVENTS and "order_id" not in chosen and {"__parentId", "id"} <= set(source.columns):
        # Shopify's bulk answers have the lines as objects of their own, below the order's.
        found["order_id"] = tuple(source.columns.index(name) for name in ("__parentId", "id"))
    if kind == EVENTS and "order_id" not in {*found, *chosen} and (order := order_itself(source, taken)) is not None:
        found["order_id"] = (order,)
    wanted_aids = [n for n in _AIDS_OF[kind] if n != "stock" or not candidates(source, event_field("order_id"), taken)]
    if kind == EVENTS and "price" not in {*found, *chosen}:
        wanted_aids.append("line_total")
    found |= recognised_aids(source, [n for n in wanted_aids if n not in chosen], taken)
    notes += _order_totals(source, chosen, found)
    plain_log = kind == EVENTS and not _OF_ORDERS & {*found, *chosen}
    if plain_log and (told := events_by_words(source, taken)) is not None:
        found["event_type"] = (told,)
        notes.append(told_by_words(source.columns[told]))
    if kind == ITEMS and "title" not in found and "description" in found and "title" not in chosen:
        # Invoices and price lists call the product's name its description.
        found["title"] = found.pop("description")
    return found, notes


# With one of these a column of other words may say how an order was paid or what its state is.
_OF_ORDERS = {"event_type", "order_id", "qty", "price", "line_total", "status", "payment_status"}
_AIDS_OF = {
    EVENTS: (
        "title_of_line",
        "line_type",
        "status",
        "payment_status",
        "test_order",
        "cancelled_at",
        "refunded_qty",
        "rating",
    ),
    ITEMS: ("published", "listing", "visibility", "stock", "stock_policy", "special_price", "handle"),
    "users": (),
}


def _order_totals(
    source: Source, chosen: Mapping[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> list[str]:
    """Take a sum of whole orders out of what was found, and say so."""
    orders = chosen.get("order_id", found.get("order_id", ()))
    if not orders or "line_total" not in found or not of_whole_orders(source, orders, found["line_total"][0]):
        return []
    return [order_total(source.columns[found.pop("line_total")[0]])]


def _best(
    source: Source, kind: str, wanted: Field, chosen: Mapping[str, tuple[int, ...]], taken: set[int]
) -> list[int]:
    """The most telling columns; beside visits a name is that of the visitor's program."""
    best = candidates(source, wanted, taken)
    if kind == EVENTS and wanted.name == "user_id" and best and best[0] in of_tier(source, wanted, NAME_TIER, taken):
        visits = "session_id" in chosen or candidates(source, event_field("session_id"), taken)
        return [] if visits else best
    return best


def _repeated(source: Source, wanted: Field) -> bool:
    """Whether the field would be told once for several rows: a message's number is not that of each of its lines."""
    return wanted.name == "event_id" and bool(source.levels)


def _of_products(source: Source, wanted: Field, at: int) -> bool:
    """Not the price of a whole order for that of its lines."""
    if not source.levels or wanted.name not in ("price", "qty", "position"):
        return True
    return source.levels[at] == max(source.levels) or bool(substitutes(source, event_field("item_id"), at, set()))


def _complete(
    source: Source,
    kind: str,
    columns: Mapping[str, tuple[int, ...]],
    preset: Preset | None,
    notes: Sequence[str],
) -> Understanding:
    used = {i for where in columns.values() for i in where}
    own = {i for i, name in enumerate(source.columns) if name in OWN_COLUMNS}
    unused = tuple(i for i in range(len(source.columns)) if i not in used | own)
    twins = {name for i in used if source.columns.count(name := source.columns[i]) > 1}
    doubled = [f"The file has several columns called {name!r}; the first is read." for name in sorted(twins)]
    order = {f.name: n for n, f in enumerate((*FIELDS[kind], *AIDS))}
    ordered = {name: columns[name] for name in sorted(columns, key=lambda n: order.get(n, len(order)))}
    return Understanding(kind, ordered, preset, unused, (*notes, *doubled))
