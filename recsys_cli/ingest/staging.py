"""From a file's columns to rows of the store: SQL in layers, over temporary tables of the caller's transaction.

`raw` has the columns as the file has them, see `raw_rows`; `checked` has every row with its values and the number of
the first rule that it offends (0 for none). Names of columns never reach SQL as such: positions do, as `c<position>`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import duckdb

from ..schema import EVENT_COLUMNS, ITEM_COLUMNS, USER_COLUMNS
from ..store.sql import literals
from . import durations, item_values, value_parsing
from .checks import Check, Context, checks_for
from .columns import EVENTS, ITEMS, USERS, field, in_utc
from .event_values import derived_events, money_back
from .nobody import nobodies_sql
from .number_parsing import bare_number, decimal_sign, doubts, number, pieces, price_in_words
from .order_states import BACK, UNKNOWN, UNPAID, cancelled_orders
from .readers import Source
from .time_parsing import TimeHabit, moment, time_habit
from .understanding import Understanding
from .value_parsing import Column

_EAST = 14 * 3600  # seconds by which the clock of the easternmost zone is ahead of UTC


@dataclass(frozen=True)
class Options:
    """What the person and the settings say about reading values.

    Parameters
    ----------
    zone, date_order, decimal
        See `settings.IngestSettings`; None finds out.
    hash_emails
        Keep keyed hashes of e-mail addresses, not the addresses.
    nobody
        The shop's own words for no customer.
    category_depth
        The level of a category's path that rules go by.
    """

    zone: str = "UTC"
    date_order: str | None = None
    decimal: str | None = None
    hash_emails: bool = True
    nobody: tuple[str, ...] = ()
    category_depth: int = 1


@dataclass(frozen=True)
class Staged:
    """A file in temporary tables.

    Parameters
    ----------
    checks
        Rule n of the column `reason` is `checks[n - 1]`.
    read
        Rows, broken ones included.
    notes
        What the person should know about how values were read.
    date_order
        dmy or mdy, where dates showed it.
    """

    checks: list[Check]
    read: int
    notes: list[str]
    date_order: str | None


def check_rows(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    understood: Understanding,
    context: Context,
    options: Options,
) -> Staged:
    """Read the values of `raw` and judge every row, into `checked`.

    Raises
    ------
    InputError
        When dates can be read two ways.
    """
    types = {row[0]: row[1] for row in con.execute("DESCRIBE raw").fetchall()}
    stage = _Stage(con, source, understood, context, options, types)
    checks = checks_for(replace(context, bare=stage.bare, slack=stage.slack))
    con.execute(f"CREATE OR REPLACE TEMP TABLE checked AS {stage.query(checks)}")
    stage.note_unread_prices()
    stage.note_states()
    stage.note_payments()
    stage.note_durations()
    count = "SELECT (SELECT count(*) FROM raw) + (SELECT count(*) FROM broken)"
    return Staged(checks, int(con.execute(count).fetchall()[0][0]), stage.notes, stage.date_order)


class _Stage:
    """Builds the query of `checked`, layer by layer."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        source: Source,
        understood: Understanding,
        context: Context,
        options: Options,
        types: dict[str, str],
    ) -> None:
        self.named = understood.described(source.columns)
        self.con, self.understood, self.context, self.options = con, understood, context, options
        self.types, self.columns = types, source.columns
        self.kind = understood.kind
        self.notes: list[str] = []
        self.date_order: str | None = None
        self._local = False
        self.text_types: dict[str, str] = {}

    def query(self, checks: Sequence[Check]) -> str:
        texts = ", ".join(f"{sql} AS t_{name}" for name, sql in self._texts.items())
        inner = f"SELECT row_number, {texts} FROM raw"
        if self.kind == ITEMS:
            inner = self._readable(inner)
        if "user_id" in self.understood.columns and self.options.hash_emails:
            hashed = value_parsing.pseudonym("t_user_id", self.context.secret)
            inner = f"SELECT * REPLACE ({hashed} AS t_user_id) FROM ({inner})"
        if self._variants:
            inner = self._named_variants(inner)
        if self.bare:
            bare = ", ".join(f"{self._bare(n)} AS {b}" for n, b in self.bare.items())
            inner = f"SELECT *, {bare} FROM ({inner})"
        parsed = ", ".join(f"{sql} AS {name}" for name, sql in self._values.items())
        inner = f"SELECT *, {parsed} FROM ({inner})" if parsed else inner
        derived = ", ".join(f"{sql} AS {name}" for name, sql in self._derived.items())
        inner = f"SELECT *, {derived} FROM ({inner})" if derived else inner
        cases = " ".join(f"WHEN {c.offends} THEN {n}" for n, c in enumerate(checks, 1))
        inner = f"SELECT *, CASE {cases} ELSE 0 END AS reason FROM ({inner})"
        shown = " ".join(f"WHEN {n} THEN t_{c.shows}::VARCHAR" for n, c in enumerate(checks, 1) if c.shows)
        detail = f"CASE reason {shown} END" if shown else "NULL::VARCHAR"
        kept = ", ".join(f"{sql} AS {name}" for name, sql in self._kept().items())
        return f"SELECT row_number, reason::UTINYINT AS reason, {detail} AS detail, {kept} FROM ({inner})"

    # -- layer 1: text of each field, or the column itself where it has a type of its own

    @cached_property
    def _texts(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, at in self.understood.columns.items():
            columns = [Column(f"c{i}", self.types[f"c{i}"]) for i in at]
            value = field(self.kind, name).value
            if len(columns) == 1 and columns[0].type != "VARCHAR" and value not in ("id", "word", "text"):
                found[name] = self._typed(name, columns[0])
                continue
            self.text_types[name] = "VARCHAR"
            if value == "id":
                found[name] = self._id(name, columns)
            else:
                found[name] = f"coalesce({', '.join(value_parsing.text(c) for c in columns)})"
        return found

    def _typed(self, name: str, column: Column) -> str:
        self.text_types[name] = column.type
        return (
            f"CASE WHEN isnan({column.sql}) THEN NULL ELSE {column.sql} END" if column.type == "DOUBLE" else column.sql
        )

    def _id(self, name: str, columns: Sequence[Column]) -> str:
        parts = []
        for _n, column in enumerate(columns):
            part = value_parsing.text(column)
            if value_parsing.all_floats(self.con, "raw", column):
                part = value_parsing.without_fraction(f"({part})")
            if name == "user_id":
                # Guests are numbered 0, or called so, and known by their e-mail address or not at all.
                part = self._without(self._nobodies(part), part)
            elif self.types[column.sql] == "VARCHAR" and self._composed(column):
                # An id is the same however its accents are put together. DuckDB's function ends at a NUL, which is
                # found and refused later.
                part = f"CASE WHEN contains({part}, chr(0)) THEN {part} ELSE nfc_normalize({part}) END"
            parts.append(part)
        return f"coalesce({', '.join(parts)})"

    def _nobodies(self, part: str) -> list[str]:
        """The words for nobody that the column holds: to look each row's up is quick, to understand it is not."""
        found = nobodies_sql(f"SELECT {part} AS id FROM raw", self.options.nobody)
        return [word for (word,) in self.con.execute(found).fetchall()]

    @staticmethod
    def _without(words: Sequence[str], part: str) -> str:
        return f"CASE WHEN {part} IN ({literals(words)}) THEN NULL ELSE {part} END" if words else part

    def _composed(self, column: Column) -> bool:
        """Whether a column has letters beyond ASCII, which may be written in two ways."""
        found = self.con.execute(
            f"SELECT 1 FROM raw WHERE strlen({column.sql}) > length({column.sql}) LIMIT 1"
        ).fetchall()
        return bool(found)

    @property
    def _variants(self) -> bool:
        """Whether the rows are Shopify's, which name variants by product and options."""
        preset = self.understood.preset
        return "handle" in self.understood.columns and preset is not None and preset.platform == "shopify"

    def _readable(self, inner: str) -> str:
        """Titles and descriptions as people read them."""
        names = [n for n in ("title", "description", "brand", "category") if n in self.understood.columns]
        if not names:
            return inner
        item_values.register_html(self.con)
        readable = ", ".join(f"{item_values.without_markup(f't_{n}')} AS t_{n}" for n in names)
        return f"SELECT * REPLACE ({readable}) FROM ({inner})"

    def _bare(self, name: str) -> str:
        """The text of a number without what surrounds it; of words around a price in a catalogue the number."""
        bare = bare_number(pieces(f"t_{name}") if name == "qty" else f"t_{name}")
        if self.kind != ITEMS or name not in ("price", "special_price", "regular_price"):
            return bare
        return price_in_words(bare)

    def _named_variants(self, inner: str) -> str:
        """Shopify's orders call a variant without SKU by its title and options; so does its catalogue, then."""
        columns = self.understood.columns
        options = [f"nullif(t_{o}, 'Default Title')" for o in ("option1", "option2") if o in columns]
        joined = f"nullif(concat_ws(' / ', {', '.join(options)}), '')" if options else "NULL"
        name = f"concat_ws(' - ', t_title, {joined})"
        sku = "t_item_id" if "item_id" in columns else "NULL"
        key = f"coalesce({sku}, CASE WHEN t_price IS NOT NULL THEN {name} END)"
        if "item_id" in columns:
            return f"SELECT * REPLACE ({key} AS t_item_id, {name} AS t_title) FROM ({inner})"
        return f"SELECT * REPLACE ({name} AS t_title), {key} AS t_item_id FROM ({inner})"

    # -- layer 2: values

    @cached_property
    def _values(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in self.understood.columns:
            what = field(self.kind, name).value
            column = Column(f"t_{name}", self.text_types.get(name, "VARCHAR"))
            if what == "time":
                found[name] = moment(column, f"t_{name}", self._time_habit(name))
            elif what in ("number", "whole"):
                target = {"qty": "raw_qty", "price": "given_price", "regular_price": "given_regular"}.get(name, name)
                found[target] = number(column, self.bare.get(name, ""), self._decimals[name])
            elif what == "duration":
                found[name] = durations.milliseconds(f"t_{name}::VARCHAR", self._duration[2])
            elif what == "flag":
                found["in_stock" if name == "availability" else name] = value_parsing.flag(column, f"t_{name}")
        return found

    def _raw_column(self, name: str) -> Column:
        at = self.understood.columns[name]
        columns = [Column(f"c{i}", self.types[f"c{i}"]) for i in at]
        return value_parsing.first_filled(columns)

    def _time_habit(self, name: str) -> TimeHabit:
        utc = in_utc(self.columns[self.understood.columns[name][0]])
        habit = time_habit(
            self.con,
            "raw",
            self._raw_column(name),
            zone="UTC" if utc else self.options.zone,
            order=self.options.date_order or self.understood.date_order,
            name=self.named[name],
            american=self.kind == ITEMS and self.understood.platform == "magento",  # of its default language
        )
        if habit.divisor != 1 and ("epoch" in habit.has or self.text_types[name] != "VARCHAR"):
            unit = {0: "days of a spreadsheet", 1_000: "milliseconds", 1_000_000: "microseconds"}
            self.notes.append(f"Times are read as {unit.get(habit.divisor, 'nanoseconds')}.")
        bare = bool(habit.has & {"local", "named", "compact"}) or ("iso" in habit.has and habit.bare)
        self._local = self._local or (bare and not utc)
        if "local" in habit.has and self.text_types[name] == "VARCHAR":
            self.date_order = habit.order
            order = "day, month, year" if habit.order == "dmy" else "month, day, year"
            self.notes.append(f"Dates are read as {order}.")
        return habit

    @cached_property
    def _decimals(self) -> dict[str, str]:
        """How each number field is written, see `values.number`."""
        said = {"comma": ",", "point": "."}.get(self.options.decimal or "")
        found: dict[str, str] = {}
        # Prices first: they show how quantities are written.
        for name in sorted(self.understood.columns, key=lambda n: field(self.kind, n).value == "whole"):
            if (value := field(self.kind, name).value) not in ("number", "whole"):
                continue
            plain, column = self.text_types[name] != "VARCHAR", self._raw_column(name)
            sign = said or decimal_sign(self.con, "raw", column, value == "whole", found.values())
            found[name] = "plain" if plain else sign
            if found[name] == "," and not said:
                self.notes.append(f"The comma is the decimal sign of {name}.")
            if not plain:
                self.notes += doubts(self.con, name, column, found[name])
        return found

    @cached_property
    def bare(self) -> dict[str, str]:
        """Number fields that are not written plainly, and the name of the column that holds their bare text."""
        self._texts  # noqa: B018 (finds out which fields are text)
        return {name: f"b_{name}" for name, how in self._decimals.items() if how != "plain"}

    @cached_property
    def slack(self) -> int:
        """See `Context.slack`."""
        self._values  # noqa: B018 (finds out how times are written)
        return _EAST if self._local and self.options.zone == "UTC" else 0

    # -- layer 3: what follows from several fields

    @cached_property
    def _derived(self) -> dict[str, str]:
        if self.kind == EVENTS:
            return self._derived_events()
        if self.kind == ITEMS:
            return self._derived_items()
        return {}

    def _derived_events(self) -> dict[str, str]:
        understood = self.understood
        return derived_events(
            understood.columns,
            states=self.context.states,
            cancelled=self._cancelled_orders() if "order_id" in understood.columns else "",
            date=understood.date,
            whole=understood.event_type,
            ratings_from=understood.ratings_from,
            own=self.context.settings.event_types,
        )

    def note_unread_prices(self) -> None:
        """Say which prices of a catalogue are not known, though something stands there."""
        if self.kind != ITEMS or "price" not in self.understood.columns:
            return
        said = value_parsing.text(self._raw_column("price"))
        count, shown = self.con.execute(
            f"SELECT count(*), list(DISTINCT v)[1:3] FROM (SELECT row_number, ({said})::VARCHAR AS v FROM raw) "
            "JOIN checked USING (row_number) WHERE v IS NOT NULL AND price IS NULL AND reason = 0"
        ).fetchall()[0]
        if count:
            what = "1 price cannot" if count == 1 else f"{count:,} prices cannot"
            values = ", ".join(repr(v[:30]) for v in sorted(shown))
            self.notes.append(
                f"{what} be read ({values}): {'that item has' if count == 1 else 'those items have'} none."
            )

    def note_payments(self) -> None:
        """Say of how many lines the money went back."""
        if self.kind == EVENTS and "payment_status" in self.understood.columns:
            back = money_back(f"({value_parsing.text(self._raw_column('payment_status'))})::VARCHAR")
            if rows := self.con.execute(f"SELECT count(*) FROM raw WHERE {back}").fetchall()[0][0]:
                what = "1 row is a refund" if rows == 1 else f"{rows:,} rows are refunds"
                self.notes.append(f"{what} by the payment, as {self.named['payment_status']!r} says.")

    @cached_property
    def _duration(self) -> tuple[str, str, int]:
        """The column of durations by its name, its text as SQL, and milliseconds in one of its numbers."""
        name = self.columns[self.understood.columns["duration_ms"][0]]
        text = f"({value_parsing.text(self._raw_column('duration_ms'))})::VARCHAR"
        return name, text, durations.unit_ms(self.con, name, text)

    def note_durations(self) -> None:
        """Say how durations of views were read."""
        if self.kind == EVENTS and "duration_ms" in self.understood.columns:
            self.notes += durations.duration_notes(self.con, *self._duration)

    def note_states(self) -> None:
        """Say which states of orders are no sales, and which are not known."""
        if self.kind != EVENTS or "status" not in self.understood.columns:
            return
        states = self.context.states
        said = value_parsing.text(self._raw_column("status"))
        counted = self.con.execute(
            f"SELECT state, s, n FROM (SELECT s, count(*) AS n, {states.sql('s')} AS state "
            f"FROM (SELECT ({said})::VARCHAR AS s FROM raw) WHERE s IS NOT NULL GROUP BY s) ORDER BY n DESC, s"
        ).fetchall()
        total = sum(n for _, _, n in counted)
        own = next((s for state, s, _ in counted if state == UNKNOWN), "")
        for wanted, one, several, way_out in (
            ((BACK, UNPAID), "is not a sale by its status", "are not sales by their status", ""),
            ((UNKNOWN,), "has a status that is not known and counts as a sale",
             "have a status that is not known and count as sales",
             f" If some are not: --state {shlex.quote(own[:40])}=cancelled (or =unpaid)."),
        ):  # fmt: skip
            found = [(s, n) for state, s, n in counted if state in wanted]
            if found:
                shown = ", ".join(f"{s[:30]} {n:,}" for s, n in found[:8]) + (", …" if len(found) > 8 else "")
                rows = sum(n for _, n in found)
                self.notes.append(f"{rows:,} of {total:,} rows {one if rows == 1 else several}: {shown}.{way_out}")
        if states.numbering and any(s in states.numbers and s not in states.said for _, s, _ in counted):
            self.notes.append(
                f"The numbers in {self.named['status']!r} are read as {states.numbering} numbers its states; if the "
                "shop has changed them: --state 6=paid, and so on."
            )

    def _cancelled_orders(self) -> str:
        numbers = value_parsing.text(self._raw_column("order_id"))
        return cancelled_orders(self.con, self.context.settings.cancelled, numbers)

    def _derived_items(self) -> dict[str, str]:
        has, platform = self.understood.columns, self.understood.platform
        found: dict[str, str] = {}
        parent = "" if platform == "shopify" else item_values.parent(self.con, has, self._texts, self._raw_ids())
        if {"availability", "stock", "published", "listing", "visibility"} & set(has):
            found["availability"] = item_values.availability(has, "in_stock", parent)
        if "price" in has:
            found |= item_values.prices(has)
        if "category" in has:
            found |= item_values.categories(platform, self.named["category"], self.options.category_depth)
        if "img_url" in has:
            found["img_url"] = item_values.first_picture("t_img_url")
        if "handle" in has and platform == "shopify":
            url = "t_url, " if "url" in has else ""
            found["url"] = f"coalesce({url}'/products/' || t_handle)"
            found["parent_id"] = "coalesce(t_parent_id, t_handle)" if "parent_id" in has else "t_handle"
        elif parent:
            found["parent_id"] = parent
        if "handle" in has and platform == "magento":
            found |= item_values.addresses_of_magento(has, parent)
        return found

    def _raw_ids(self) -> list[Column]:
        return [Column(f"c{i}", self.types[f"c{i}"]) for i in self.understood.columns.get("item_id", ())]

    # -- what is kept of a row

    def _kept(self) -> dict[str, str]:
        columns = {EVENTS: EVENT_COLUMNS, ITEMS: ITEM_COLUMNS, USERS: USER_COLUMNS}[self.kind]
        derived, parsed, has = self._derived, self._values, {*self.understood.columns}
        if self._variants:
            has |= {"item_id"}
        kept: dict[str, str] = {}
        for name, kind in columns.items():
            if name in derived or name in parsed:
                kept[name] = f"try_cast({name} AS {kind})"
            elif name in has:
                kept[name] = f"t_{name}::VARCHAR"
        if "duration_ms" in kept:
            kept["duration_ms"] = durations.of_views(kept["duration_ms"])
        return kept | {name: name for name in ("category_path", "regular_price") if name in derived}
