"""A file's columns as they are written, in the temporary tables `raw` and `broken` of the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from . import value_parsing
from .columns import ID_COLUMN
from .readers import Source
from .understanding import Understanding


def load_raw(con: duckdb.DuckDBPyConnection, source: Source, understood: Understanding, *, everything: bool) -> None:
    """Read the columns that are used (or all of them) into `raw`."""
    used = sorted({i for at in understood.columns.values() for i in at})
    own = [i for i, name in enumerate(source.columns) if name == ID_COLUMN]
    wanted = sorted({*used, *own, *(understood.unused if everything else ())})
    con.register("file_rows", source.batches(wanted))
    try:
        types = con.execute("DESCRIBE file_rows").fetchall()
        # Our own exports mark what a spreadsheet would run as a formula; see `csv_cells`.
        marked = ID_COLUMN in source.columns and source.form.name == "csv"
        texts = {n: _unmarked(n) if marked else _unguarded(n) if _guarded(source, n) else n for n, *_ in types}
        picked = ", ".join(
            f"{value_parsing.trimmed(texts[n])} AS {n}" if kind == "VARCHAR" else n
            for n, kind, *_ in types
            if n != "row_number"
        )
        con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT row_number, {picked} FROM file_rows")
        _join_clock(con, understood, {n: kind for n, kind, *_ in types})
    finally:
        con.unregister("file_rows")
        pa.default_memory_pool().release_unused()  # what reading took is needed for comparing
    _fill_down(con, understood)
    _gather_parts(con, understood)
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


def _gather_parts(con: duckdb.DuckDBPyConnection, understood: Understanding) -> None:
    """Give a product of BigCommerce's the stock and the picture of the rows below it: of its options and pictures."""
    kind = understood.columns.get("item_type", ())
    if not kind or understood.platform != "bigcommerce":
        return
    types = {name: of for name, of, *_ in con.execute("DESCRIBE raw").fetchall()}
    whole = f"lower(trim(c{kind[0]})) = 'product'"
    kept = {}
    for i in understood.columns.get("stock", ()):  # only whether there are any counts
        kept[f"c{i}"] = f"max(try_cast(c{i} AS DOUBLE)) OVER parts"
    for i in understood.columns.get("img_url", ()):
        kept[f"c{i}"] = f"coalesce(nullif(c{i}, ''), arg_min(c{i}, row_number) FILTER (c{i} <> '') OVER parts)"
    if kept:
        told = ", ".join(f"CASE WHEN {whole} THEN ({v})::{types[c]} ELSE {c} END AS {c}" for c, v in kept.items())
        parts = f"SELECT *, count(*) FILTER ({whole}) OVER (ORDER BY row_number) AS part FROM raw"
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * EXCLUDE (part) REPLACE ({told}) FROM ({parts}) "
            "WINDOW parts AS (PARTITION BY part) ORDER BY row_number"
        )


def _join_clock(con: duckdb.DuckDBPyConnection, understood: Understanding, types: Mapping[str, str]) -> None:
    """Put the hour and minute of another column behind the day."""
    if "time_of_day" not in understood.columns or "ts" not in understood.columns:
        return
    day, clock = (f"c{understood.columns[name][0]}" for name in ("ts", "time_of_day"))
    if types[day].startswith("TIMESTAMP"):
        text = f"strftime({day}, '%Y-%m-%d')"
    else:
        text = f"regexp_replace({day}::VARCHAR, '[ T]00:00(:00)?$', '')"
        text = f"regexp_replace({text}, '^(\\d{{4}})(\\d\\d)(\\d\\d)$', '\\1-\\2-\\3')"
    formats = "['%I:%M %p', '%I:%M:%S %p']"
    half_day = f"strftime(try_strptime(upper(replace({clock}::VARCHAR, '.', '')), {formats}), '%H:%M:%S')"
    bare = f"regexp_replace({clock}::VARCHAR, ' (Uhr|uur|h)$', '')"
    joint = f"regexp_replace({bare}, '^(\\d{{1,2}})(\\d\\d)(\\d\\d)?$', '\\1:\\2:\\3').rtrim(':')"  # 905 and 90500
    even = f"coalesce({half_day}, regexp_replace({joint}, '^(\\d+)\\.(\\d\\d)(\\.(\\d\\d))?$', '\\1:\\2'))"
    # A row without a day has no time, whatever the clock said.
    moment = f"CASE WHEN nullif({text}, '') IS NULL THEN NULL ELSE concat_ws(' ', {text}, nullif({even}, '')) END"
    con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * REPLACE ({moment} AS {day}) FROM raw")


def _unmarked(column: str) -> str:
    return f"CASE WHEN starts_with({column}, chr(39)) THEN {column}[2:] ELSE {column} END"


def _guarded(source: Source, column: str) -> bool:
    """Whether cells are written as formulas to keep their zeros: ="00123"."""
    return any(v.startswith('="') for v in source.texts(int(column[1:]))[:50]) if column != "row_number" else False


def _unguarded(column: str) -> str:
    return f"regexp_replace({column}, '^=\"(.*)\"$', '\\1')"


def _fill_down(con: duckdb.DuckDBPyConnection, understood: Understanding) -> None:
    """Give every line of an order what is told on one of its rows only."""
    group = understood.columns.get(understood.group, ())
    # Of pictures the product's own is filled down to its variants, not that of the variant above.
    columns = [f"c{i}" for n in understood.fill_down for i in understood.columns.get(n, ())[-(n == "img_url") :]]
    if not group or not columns:
        return
    if understood.group in understood.fill_down:  # the group itself is told on its first row alone
        above = "OVER (ORDER BY row_number ROWS UNBOUNDED PRECEDING)"
        told = ", ".join(f"last_value(nullif(c{i}, '') IGNORE NULLS) {above} AS c{i}" for i in group)
        con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * REPLACE ({told}) FROM raw ORDER BY row_number")
    key = f"coalesce({', '.join(f'c{i}' for i in group)})"
    window = f"OVER (PARTITION BY {key} ORDER BY row_number ROWS UNBOUNDED PRECEDING)"
    whole = f"OVER (PARTITION BY {key})"
    filled = ", ".join(
        f"coalesce(last_value(nullif({c}, '') IGNORE NULLS) {window}"
        + (f", max(nullif({c}, '')) {whole})" if understood.heads else ")")
        + f" AS {c}"
        for c in dict.fromkeys(columns)
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE raw AS SELECT * REPLACE ({filled}) FROM raw ORDER BY row_number")
