"""Which column is what: as the person said, as the platform's export has it, or as names and content tell."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError, UsageError
from .columns import AIDS, EVENTS, FIELDS, ITEMS, KINDS, USERS, Field, plain, tier_of
from .presets import PLATFORMS, PRESETS, Preset, dead_end, given_away
from .readers import Source

# Columns that our own export of rejected rows adds; they come back with the mended rows.
ID_COLUMN = "_rejected_id"  # ties a mended row to the one it replaces
OWN_COLUMNS = (ID_COLUMN, "_file", "_row", "_reason", "_detail", "_reading")
_TIME = (
    r"^\s*(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{9,19}(\.\d+)?$|(19|20)\d{6}"
    r"|[A-Za-z]{3,9}\.? \d|\d{1,2}\.?[ -][A-Za-z]{3})"
)
_RATINGS = {"rating", "ratings", "stars", "overall", "star_rating", "review_rating", "book_rating"}
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


@dataclass(frozen=True)
class Understanding:
    """What a file is, and where each field stands in it.

    Parameters
    ----------
    kind
        events, items or users.
    columns
        Field name to positions of columns; of several, the first that is filled counts.
    preset
        The platform's habits, where one is at work.
    unused
        Positions of columns that nothing is read from.
    notes
        What was decided between columns.
    date_order
        dmy or mdy, where it is known from the file that these rows were in.
    guessed
        Nobody said what kind of file it is, nor did a platform's columns; only the names of columns did.
    date
        The time of every row, epoch seconds, where somebody said it; no column is read for it then.
    """

    kind: str
    columns: Mapping[str, tuple[int, ...]]
    preset: Preset | None
    unused: tuple[int, ...]
    notes: tuple[str, ...] = ()
    date_order: str | None = None
    guessed: bool = False
    date: int | None = None

    def remembered(self, names: Sequence[str], date_order: str | None) -> str:
        """As JSON, for `recalled`."""
        columns = {field: [names[i] for i in at] for field, at in self.columns.items()}
        platform = self.preset.platform if self.preset else None
        # By the header, a line that is not a row tells where its customer would be.
        told = {"kind": self.kind, "preset": platform, "columns": columns, "header": list(names)}
        said = told | {"date_order": date_order, "date": self.date}
        return orjson.dumps(said).decode()

    def described(self, names: Sequence[str]) -> dict[str, str]:
        """Field to column names, for people."""
        return {f: " or ".join(names[i] for i in at) for f, at in self.columns.items()}


def understand(
    source: Source,
    *,
    kind: str | None = None,
    said: Mapping[str, str] | None = None,
    preset: str | None = None,
    remembered: Mapping[str, Mapping[str, str]] | None = None,
    date: int | None = None,
) -> Understanding:
    """Understand the columns of a file.

    Parameters
    ----------
    kind
        events, items or users, when the person said so.
    said
        Field to column name, from the command line; `a|b` means a, or b where a is empty.
    preset
        A platform's name, or none to find it out.
    remembered
        Mappings from the settings, by kind; used where the file has the column.
    date
        The time of all rows of a file of events, epoch seconds; columns of times are left alone then.

    Raises
    ------
    UsageError, InputError
        When a column named is not there, or a field that is needed cannot be told; the message has the line to type.
    """
    if preset is not None and preset not in PLATFORMS:
        near = difflib.get_close_matches(preset, PLATFORMS, n=1)
        raise UsageError(
            f"There is no preset '{preset}'.", f"Did you mean {near[0] if near else ', '.join(PLATFORMS)}?"
        )
    if "_reading" in source.columns and not said and kind is None and preset is None and date is None:
        at = source.columns.index("_reading")
        readings = [r for r in source.sample().column(f"c{at}").unique().to_pylist() if r]
        if readings and (again := recalled(source, readings[0])) is not None:
            return again
    found = _preset_for(source, preset, kind, bool(said))
    if found is not None:
        return _dated(source, _by_preset(source, found, said or {}, date is not None), date)
    if not said and kind is None and (advice := dead_end(source.columns)):
        raise InputError(f"{source.path} holds no products.", advice)
    sample, guessed = source.sample(), kind is None
    kind = kind or _kind_of(source, said or {}, sample)
    chosen = _said(source, kind, {**_usable(source, kind, (remembered or {}).get(kind, {})), **(said or {})})
    recognised, notes = _recognise(source, kind, chosen, sample, date is not None)
    columns = {**recognised, **chosen}
    notes += _ratings(source) if kind == EVENTS and "event_type" not in columns else []
    return _dated(source, replace(_complete(source, kind, columns, None, notes), guessed=guessed), date)


def _dated(source: Source, understood: Understanding, date: int | None) -> Understanding:
    """The same, with one time for all rows instead of a column of times, where one was said."""
    if date is None or understood.kind != EVENTS:
        return understood
    day = datetime.fromtimestamp(date, UTC).date()
    columns = {name: at for name, at in understood.columns.items() if name != "ts"}
    notes = (*understood.notes, f"Every row is dated {day}, as said; no time is read from the file.")
    again = _complete(source, EVENTS, columns, understood.preset, ())
    return replace(again, notes=notes, date=date, guessed=understood.guessed)


def _ratings(source: Source) -> list[str]:
    """What becomes of a column of ratings, which no model asks for."""
    rating = next((name for name in source.columns if plain(name) in _RATINGS), None)
    if rating is None:
        return []
    return [
        f"The column {rating!r} is not used: a poor rating counts as much as a good one. To weigh them, read them as "
        f"types of events, --map event_type={shlex.quote(rating)}, and set weights under [events.weights]."
    ]


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
    return replace(again, date_order=known.get("date_order"), date=known.get("date"))


def _fits(preset: Preset, names: Sequence[str]) -> bool:
    known = {plain(c) for columns in preset.columns.values() for c in columns}
    return all(plain(n) in known for n in names)


def _preset_for(source: Source, named: str | None, kind: str | None, said: bool) -> Preset | None:
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
            f"{source.path} is no export of {platform} that we know (it lacks {', '.join(map(repr, best.telling))}).",
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
    return _complete(source, preset.kind, columns, preset, list(preset.notes))


def _suggest(source: Source, name: str, looked: Sequence[str], spare: Sequence[int]) -> str:
    """The line to type, with the likeliest of the columns that nothing is read from."""
    if name == "ts":
        sample = source.sample()
        spare = [i for i in spare if _looks(_event_field("ts"), sample.column(f"c{i}"))]
        spare = sorted(spare, key=lambda i: -_likeness(source.columns[i], looked))
    words = {w for c in looked for w in plain(c).split("_")}
    sharing = [source.columns[i] for i in spare if words & set(plain(source.columns[i]).split("_"))]
    names = [source.columns[i] for i in spare]
    near = sharing or [m for c in looked for m in difflib.get_close_matches(c, names, n=1, cutoff=0.4)]
    near = near or (names if name == "ts" else [])
    return f"Say which column it is: --map {name}={shlex.quote(near[0] if near else 'THE COLUMN')}"


_PERSONAL = {"email", "mail", "phone", "telephone", "billing", "shipping", "customer", "client", "kunde", "address"}


def names_people(columns: Sequence[str]) -> bool:
    """Whether a file has columns about customers; such columns must not become attributes of items."""
    customer = next(f for f in FIELDS[EVENTS] if f.name == "user_id")
    return any(tier_of(customer, plain(c)) is not None or _PERSONAL & set(plain(c).split("_")) for c in columns)


def refuse_dealings(source: Source, understood: Understanding, rows: int, things: int) -> None:
    """Stop where sales would be taken for a catalogue, or visits for a list of customers, for want of a known name.

    Parameters
    ----------
    rows, things
        Good rows of the file, and the products or customers they are about.

    Raises
    ------
    InputError
        The kind was guessed, and the rows are not one for each product or customer.
    """
    if not understood.guessed or understood.kind == EVENTS or rows <= 1.2 * things:
        return
    dealing = [i for name in ("order_id", "session_id", "ts") for i in _named_like(source, name)]
    if understood.kind == ITEMS and not dealing:
        return  # sizes and colours of the same product, in a row each
    what, lacking = ("products", "user_id") if understood.kind == ITEMS else ("customers", "item_id")
    also = f" and has the column {source.columns[dealing[0]]!r}" if dealing else ""
    raise InputError(
        f"{source.path} would be read as a list of {what}, but has {rows:,} rows of {things:,} of them{also}, "
        f"as a list of events has; its columns: {_list(source.columns)}.",
        f"If it holds events, say what is in place of {lacking}: --map {lacking}=COLUMN; if not, --type "
        f"{understood.kind}.",
    )


def _named_like(source: Source, name: str) -> list[int]:
    return [i for i, column in enumerate(source.columns) if tier_of(_event_field(name), plain(column)) is not None]


def _likeness(name: str, looked: Sequence[str]) -> float:
    return max(difflib.SequenceMatcher(None, plain(name), plain(c)).ratio() for c in looked)


def _said(source: Source, kind: str, said: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, tuple[int, ...]]:
    fields = [f.name for f in (*FIELDS[kind], *AIDS)]
    chosen: dict[str, tuple[int, ...]] = {}
    for name, column in said.items():
        if name not in fields and name not in extra:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Fields: {', '.join(f.name for f in FIELDS[kind])}."
            raise UsageError(f"'{name}' is no field of {kind}.", hint)
        chosen[name] = tuple(_position(source, name, part) for part in _alternatives(source, column))
    return chosen


def _alternatives(source: Source, column: str) -> list[str]:
    return [column] if column in source.columns or "|" not in column else column.split("|")


def _position(source: Source, field: str, column: str) -> int:
    if column in source.columns:
        return source.columns.index(column)
    same = [i for i, c in enumerate(source.columns) if plain(c) == plain(column) and plain(column)]
    if len(same) == 1:
        return same[0]
    near = difflib.get_close_matches(column, source.columns, n=1)
    hint = f"Did you mean --map {field}={shlex.quote(near[0])}?" if near else f"It has: {_list(source.columns)}."
    raise InputError(f"{source.path} has no column '{column}'.", hint)


def _usable(source: Source, kind: str, remembered: Mapping[str, str]) -> dict[str, str]:
    """Remembered mappings whose column this file has; others are about other files."""
    return {f: c for f, c in remembered.items() if c in source.columns}


def _kind_of(source: Source, said: Mapping[str, str], sample: pa.Table) -> str:
    """Events have customers and items, items no customers, users no items."""
    has = {"user_id": "user_id" in said, "item_id": "item_id" in said}
    for name in has:
        has[name] = has[name] or bool(_candidates(source, _event_field(name), set(), sample))
    if not has["user_id"] and has["item_id"] and "ts" not in said:
        session, ts = (_candidates(source, _event_field(n), set(), sample) for n in ("session_id", "ts"))
        has["user_id"] = bool(session and ts)  # clicks of guests
    if has["user_id"]:
        return EVENTS if has["item_id"] else USERS
    fields = [f for f in FIELDS[ITEMS] if f.name == "item_id"]
    if has["item_id"] or _candidates(source, fields[0], set(), sample):
        return ITEMS
    raise InputError(
        f"{source.path} has no column that we know as a customer or a product; it has: {_list(source.columns)}.",
        "Say which they are: --map user_id=COLUMN --map item_id=COLUMN --map ts=COLUMN "
        f"(and --type {'|'.join(KINDS)}).",
    )


def _event_field(name: str) -> Field:
    return next(f for f in FIELDS[EVENTS] if f.name == name)


def _recognise(
    source: Source, kind: str, chosen: Mapping[str, tuple[int, ...]], sample: pa.Table, dated: bool
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    taken = {i for where in chosen.values() for i in where}
    found: dict[str, tuple[int, ...]] = {}
    notes: list[str] = []
    # Required fields first: `email` is a customer only where nothing better is, and `id` an item.
    for field in sorted(FIELDS[kind], key=lambda f: not f.required):
        if field.name in chosen or (dated and field.name == "ts"):
            continue
        best = _candidates(source, field, taken, sample)
        if not best:
            guests = field.name == "user_id" and _candidates(source, _event_field("session_id"), taken, sample)
            if field.required and not (guests or (field.name == "user_id" and "session_id" in chosen)):
                raise _missing(source, kind, field, sample, taken)
            continue
        if len(best) > 1 and field.required:
            raise _ambiguous(source, field, best)
        if len(best) > 1:
            others = ", ".join(repr(source.columns[i]) for i in best[1:])
            notes.append(f"{field.name} is read from {source.columns[best[0]]!r}, not from {others}.")
        found[field.name] = (best[0],)
        taken.add(best[0])
    if kind == EVENTS and "title_of_line" not in chosen:
        title = _candidates(source, next(f for f in AIDS if f.name == "title_of_line"), taken, sample)
        found |= {"title_of_line": (title[0],)} if title else {}
    if kind == ITEMS and "title" not in found and "description" in found and "title" not in chosen:
        # Invoices and price lists call the product's name its description.
        found["title"] = found.pop("description")
    return found, notes


def _candidates(source: Source, field: Field, taken: set[int], sample: pa.Table) -> list[int]:
    """Positions of the columns in the most telling tier whose content can be the field."""
    tiers: dict[int, list[int]] = {}
    for i, name in enumerate(source.columns):
        tier = None if i in taken or name in OWN_COLUMNS else tier_of(field, plain(name))
        if tier is not None and (tier == 0 or _can_be(field, sample.column(f"c{i}"))):
            tiers.setdefault(tier, []).append(i)
    if not tiers:
        return []
    best = tiers[min(tiers)]
    return best[:1] if min(tiers) == 0 else best


def _can_be(field: Field, column: pa.ChunkedArray) -> bool:
    """Whether the content speaks against the field: nothing in it, or no times where times should be."""
    text = pc.cast(column, pa.string(), safe=False) if not pa.types.is_string(column.type) else column
    filled = text.filter(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(text), ""), False))
    if len(filled) == 0:
        return len(column) == 0
    if field.value == "time" and pa.types.is_string(column.type):
        return bool(pc.sum(pc.match_substring_regex(filled, _TIME)).as_py() * 2 >= len(filled))
    return True


def no_times(name: str, values: Sequence[str]) -> str:
    """What a column holds whose values are no times, without a full stop."""
    shown = list(dict.fromkeys(v[:20] for v in values))
    if not shown:
        return f"{name} is empty"
    return f"{name} holds {', '.join(shown[:3])}{' …' if len(shown) > 3 else ''}, which are no times"


def _named_but_none(source: Source, field: Field, sample: pa.Table, taken: set[int]) -> str:
    """A sentence on each column that is named like the field and cannot be it, because of what it holds."""
    said = []
    for i, name in enumerate(source.columns):
        if field.value != "time" or i in taken or tier_of(field, plain(name)) is None:
            continue
        values = [str(v).strip() for v in sample.column(f"c{i}").to_pylist() if v is not None and str(v).strip()]
        said.append(f" {no_times(name, values)}.")
    return "".join(said)


def _missing(source: Source, kind: str, field: Field, sample: pa.Table, taken: set[int]) -> InputError:
    names = source.columns
    guess = next((i for i in range(len(names)) if i not in taken and _looks(field, sample.column(f"c{i}"))), None)
    example = shlex.quote(names[guess]) if guess is not None else "COLUMN"
    return InputError(
        f"{source.path} has no column that we know as {field.name}; it has: {_list(names)}."
        + _named_but_none(source, field, sample, taken),
        f"Say which one it is: --map {field.name}={example}"
        + ("" if kind == EVENTS else f" (read as {kind}; --type says otherwise)")
        + (" (where it has no times, say one date for all rows: --date 2025-01-31)" if field.name == "ts" else ""),
    )


def _looks(field: Field, column: pa.ChunkedArray) -> bool:
    if field.value == "time":
        return pa.types.is_timestamp(column.type) or (
            pa.types.is_string(column.type) and len(column) > 0 and _can_be(field, column)
        )
    if field.name == "user_id" and pa.types.is_string(column.type) and len(column):
        return bool((pc.sum(pc.match_substring_regex(column, _EMAIL)).as_py() or 0) * 2 > len(column))
    return False


def _ambiguous(source: Source, field: Field, best: Sequence[int]) -> InputError:
    lines = " or ".join(f"--map {field.name}={shlex.quote(source.columns[i])}" for i in best)
    return InputError(f"{source.path} has {len(best)} columns that can be {field.name}.", f"Say which one: {lines}")


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


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
