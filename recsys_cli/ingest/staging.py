"""From a file's columns to rows of the store: SQL in layers, over temporary tables of the caller's transaction.

`raw` has the columns as the file has them; `checked` has every row with its values and the number of the first rule
that it offends (0 for none). Names of columns never reach SQL as such: positions do, as `c<position>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import duckdb
import pyarrow as pa

from ..schema import EVENT_COLUMNS, EVENT_TYPES, ITEM_COLUMNS, PURCHASE, REFUND, USER_COLUMNS
from . import value_parsing
from .checks import Check, Context, checks_for, taken_back
from .columns import EVENTS, ITEMS, USERS, field
from .mapping import ID_COLUMN, Understanding
from .readers import Source
from .value_parsing import Column, TimeHabit, quote

EVENT_WORDS = {
    "purchase": "order sale buy bought purchased transaction checkout kauf bestellung achat compra",
    "view": "page_view pageview view_item product_view viewed detail visit",
    "cart": "add_to_cart addtocart cart_add add_cart basket add_to_basket",
    "refund": "return returned refunded cancellation credit",
    "click": "clicked select_item",
    "impression": "impressions shown view_item_list",
    "like": "favorite favourite wishlist add_to_wishlist thumbs_up liked",
    "dislike": "thumbs_down disliked hide",
}
_EAST = 14 * 3600  # seconds by which the clock of the easternmost zone is ahead of UTC
_NOT_FOR_SALE = "'0','-1','2','false','no','draft','archived','disabled','private','unlisted'"


@dataclass(frozen=True)
class Options:
    """What the person and the settings say about reading values.

    Parameters
    ----------
    zone, date_order, decimal
        See `settings.IngestSettings`; None finds out.
    hash_emails
        Keep keyed hashes of e-mail addresses, not the addresses.
    """

    zone: str = "UTC"
    date_order: str | None = None
    decimal: str | None = None
    hash_emails: bool = True


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


def load_raw(con: duckdb.DuckDBPyConnection, source: Source, understood: Understanding, *, everything: bool) -> None:
    """Read the columns that are used (or all of them) into `raw`."""
    used = sorted({i for at in understood.columns.values() for i in at})
    own = [i for i, name in enumerate(source.columns) if name == ID_COLUMN]
    wanted = sorted({*used, *own, *(understood.unused if everything else ())})
    con.register("file_rows", source.batches(wanted))
    try:
        types = con.execute("DESCRIBE file_rows").fetchall()
        # Our own exports mark what a spreadsheet would run as a formula; see `mending.FORMULA`.
        marked = ID_COLUMN in source.columns and source.form.name == "csv"
        picked = ", ".join(
            f"{value_parsing.trimmed(_unmarked(n) if marked else n)} AS {n}" if kind == "VARCHAR" else n
            for n, kind, *_ in types
            if n != "row_number"
        )
        con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT row_number, {picked} FROM file_rows")
    finally:
        con.unregister("file_rows")
        pa.default_memory_pool().release_unused()  # what reading took is needed for comparing
    _fill_down(con, understood)
    broken = pa.table(
        {
            "row_number": pa.array([b.row_number for b in source.broken], pa.int64()),
            "line": pa.array([b.text for b in source.broken], pa.string()),
            "why": pa.array([b.why for b in source.broken], pa.string()),
        }
    )
    con.register("broken_rows", broken)
    con.execute("CREATE OR REPLACE TEMP TABLE broken AS SELECT * FROM broken_rows")
    con.unregister("broken_rows")


def _unmarked(column: str) -> str:
    return f"CASE WHEN starts_with({column}, chr(39)) THEN {column}[2:] ELSE {column} END"


def _fill_down(con: duckdb.DuckDBPyConnection, understood: Understanding) -> None:
    """Give every line of an order what the platform tells on its first line only."""
    preset = understood.preset
    group = understood.columns.get(preset.group, ()) if preset else ()
    columns = [f"c{i}" for n in (preset.fill_down if preset else ()) for i in understood.columns.get(n, ())]
    if not group or not columns:
        return
    key = f"coalesce({', '.join(f'c{i}' for i in group)})"
    window = f"OVER (PARTITION BY {key} ORDER BY row_number ROWS UNBOUNDED PRECEDING)"
    filled = ", ".join(f"last_value(nullif({c}, '') IGNORE NULLS) {window} AS {c}" for c in dict.fromkeys(columns))
    con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * REPLACE ({filled}) FROM raw ORDER BY row_number")


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
        self.types = types
        self.kind = understood.kind
        self.notes: list[str] = []
        self.date_order: str | None = None
        self._local = False
        self.text_types: dict[str, str] = {}

    def query(self, checks: Sequence[Check]) -> str:
        texts = ", ".join(f"{sql} AS t_{name}" for name, sql in self._texts.items())
        inner = f"SELECT row_number, {texts} FROM raw"
        if "user_id" in self.understood.columns and self.options.hash_emails:
            hashed = value_parsing.pseudonym("t_user_id", self.context.secret)
            inner = f"SELECT * REPLACE ({hashed} AS t_user_id) FROM ({inner})"
        if "handle" in self.understood.columns:
            inner = self._named_variants(inner)
        if self.bare:
            bare = ", ".join(f"{value_parsing.bare_number(f't_{n}')} AS {b}" for n, b in self.bare.items())
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
            value = field(self.kind, name).value if name != "handle" else "text"
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
        for n, column in enumerate(columns):
            part = value_parsing.text(column)
            if value_parsing.all_floats(self.con, "raw", column):
                part = value_parsing.without_fraction(f"({part})")
            if name == "user_id" and self.understood.preset and n < len(columns) - 1:
                part = f"nullif({part}, '0')"  # platforms number guests 0 and tell their e-mail address
            parts.append(part)
        return f"coalesce({', '.join(parts)})"

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
            what = field(self.kind, name).value if name != "handle" else "text"
            column = Column(f"t_{name}", self.text_types.get(name, "VARCHAR"))
            if what == "time":
                found[name] = value_parsing.moment(column, f"t_{name}", self._time_habit(name))
            elif what in ("number", "whole"):
                target = {"qty": "raw_qty", "price": "given_price"}.get(name, name)
                found[target] = value_parsing.number(column, self.bare.get(name, ""), self._decimals[name])
            elif what == "flag":
                found["in_stock" if "published" in self.understood.columns else name] = value_parsing.flag(
                    column, f"t_{name}"
                )
        return found

    def _raw_column(self, name: str) -> Column:
        at = self.understood.columns[name]
        columns = [Column(f"c{i}", self.types[f"c{i}"]) for i in at]
        return value_parsing.first_filled(columns)

    def _time_habit(self, name: str) -> TimeHabit:
        habit = value_parsing.time_habit(
            self.con,
            "raw",
            self._raw_column(name),
            zone=self.options.zone,
            order=self.options.date_order or self.understood.date_order,
            name=self.named[name],
        )
        if habit.divisor != 1 and ("epoch" in habit.has or self.text_types[name] != "VARCHAR"):
            unit = {0: "days of a spreadsheet", 1_000: "milliseconds", 1_000_000: "microseconds"}
            self.notes.append(f"Times are read as {unit.get(habit.divisor, 'nanoseconds')}.")
        self._local = (
            self._local or bool(habit.has & {"local", "named", "compact"}) or ("iso" in habit.has and habit.bare)
        )
        if "local" in habit.has and self.text_types[name] == "VARCHAR":
            self.date_order = habit.order
            order = "day, month, year" if habit.order == "dmy" else "month, day, year"
            self.notes.append(f"Dates are read as {order}.")
        return habit

    @cached_property
    def _decimals(self) -> dict[str, str]:
        """How each number field is written, see `values.number`."""
        said = {"comma": ",", "point": "."}.get(self.options.decimal or "")
        found = {}
        for name in self.understood.columns:
            if name == "handle" or field(self.kind, name).value not in ("number", "whole"):
                continue
            plain = self.text_types[name] != "VARCHAR"
            found[name] = (
                "plain" if plain else said or value_parsing.decimal_sign(self.con, "raw", self._raw_column(name))
            )
            if found[name] == "," and not said:
                self.notes.append(f"The comma is the decimal sign of {name}.")
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
        has = self.understood.columns
        back = [taken_back("t_status")] if "status" in has else []
        if "cancelled_at" in has:
            back.append("t_cancelled_at IS NOT NULL")
        if "qty" in has:
            back.append("coalesce(raw_qty < 0, false)")
        if "refunded_qty" in has and "qty" in has:
            back.append("coalesce(abs(refunded_qty) >= raw_qty AND raw_qty > 0, false)")
        if "order_id" in has and (pattern := self._cancelled_orders()):
            back.append(f"coalesce({pattern}, false)")
        kind = _event_type("t_event_type") if "event_type" in has else quote(PURCHASE)
        found = {} if self.understood.date is None else {"ts": f"{self.understood.date}::BIGINT"}
        if back:
            kind = (
                f"CASE WHEN {kind} = {quote(PURCHASE)} AND ({' OR '.join(back)}) THEN {quote(REFUND)} ELSE {kind} END"
            )
        found["event_type"] = kind
        if "qty" in has:
            found["qty"] = "coalesce(try_cast(ceil(abs(raw_qty)) AS INTEGER), 1)"
        prices = ["given_price"] if "price" in has else []
        if "line_total" in has:
            pieces = "nullif(abs(raw_qty), 0)" if "qty" in has else "1"
            prices.append(f"round(abs(line_total) / coalesce({pieces}, 1), 6)")
        if prices:
            found["price"] = f"coalesce({', '.join(prices)})"
        return found

    def _cancelled_orders(self) -> str:
        patterns = " OR ".join(f"t_order_id GLOB {quote(p)}" for p in self.context.settings.cancelled)
        if not patterns:
            return ""
        at = self.understood.columns["order_id"]
        text = value_parsing.text(value_parsing.first_filled([Column(f"c{i}", self.types[f"c{i}"]) for i in at]))
        counts = self.con.execute(
            f"SELECT count(*), count(*) FILTER ({patterns}) FROM (SELECT {text} AS t_order_id FROM raw) "
            "WHERE t_order_id IS NOT NULL"
        ).fetchall()
        orders, matching = counts[0]
        # A shop whose ordinary order numbers look like that has no such mark for cancellations.
        return patterns if matching and matching * 2 < orders else ""

    def _derived_items(self) -> dict[str, str]:
        has, preset = self.understood.columns, self.understood.preset
        found: dict[str, str] = {}
        if "published" in has:
            stock = "coalesce(in_stock, true)" if "availability" in has else "true"
            found["availability"] = f"CASE WHEN lower(t_published) IN ({_NOT_FOR_SALE}) THEN false ELSE {stock} END"
        if "price" in has:
            special = "special_price" if "special_price" in has else "NULL"
            found["price"] = f"coalesce({special}, given_price)"
        if preset is not None and preset.platform in ("woocommerce", "magento"):
            if "category" in has:
                found["category"] = _deepest("t_category")
            if "img_url" in has:
                found["img_url"] = "trim(string_split(t_img_url, ', ')[1])"
        return found

    # -- what is kept of a row

    def _kept(self) -> dict[str, str]:
        columns = {EVENTS: EVENT_COLUMNS, ITEMS: ITEM_COLUMNS, USERS: USER_COLUMNS}[self.kind]
        derived, parsed, has = self._derived, self._values, {*self.understood.columns}
        if "handle" in has:
            has |= {"item_id"}
        kept: dict[str, str] = {}
        for name, kind in columns.items():
            if name in derived or name in parsed:
                kept[name] = f"try_cast({name} AS {kind})"
            elif name in has:
                kept[name] = f"t_{name}::VARCHAR"
        return kept


def _event_type(text: str) -> str:
    """The usual words for what happened; others are kept under their own name."""
    even = f"regexp_replace(lower({text}), '[^a-z0-9]+', '_', 'g')"
    cases = " ".join(
        f"WHEN {even} IN ({', '.join(quote(w) for w in [name, *words.split()])}) THEN {quote(name)}"
        for name, words in EVENT_WORDS.items()
    )
    assert set(EVENT_WORDS) == set(EVENT_TYPES)
    return f"CASE WHEN {text} IS NULL THEN {quote(PURCHASE)} {cases} ELSE {even} END"


def _deepest(text: str) -> str:
    """The last part of the longest of several paths: `Gear/Bags` of `Gear,Gear/Bags`."""
    paths = f"string_split({text}, ',')"
    by_depth = (
        f"list_sort(list_transform({paths}, lambda p: {{'d': len(string_split(replace(p, '>', '/'), '/')), 'p': p}}))"
    )
    deepest = f"({by_depth})[-1].p"
    return f"nullif(trim(string_split(replace({deepest}, '>', '/'), '/')[-1]), '')"
