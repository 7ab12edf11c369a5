"""SQL that reads text and ids out of what people write. Every function returns an expression."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

# Unicode spaces and marks that no one sees; SQL's own trim knows the plain space only.
INVISIBLE = (
    " \t\r\n\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u202f\u205f\u2060\u3000\ufeff"
)
MISSING = (
    "",
    "(not set)",
    "(none)",
    "nan",
    "null",
    "none",
    "n/a",
    "#n/a",
    "na",
    "nat",
    "<na>",
    "(null)",
    "undefined",
    "\\n",
)


@dataclass(frozen=True)
class Column:
    """An expression and the type of what it gives: VARCHAR, BIGINT, DOUBLE, BOOLEAN, TIMESTAMP or with time zone."""

    sql: str
    type: str


def quote(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(sql: str) -> str:
    """Text without anything invisible around it; the slow trim is kept for the few values that need it."""
    edges = f"^[{INVISIBLE}]|[{INVISIBLE}]$"
    return f"CASE WHEN regexp_matches({sql}, {quote(edges)}) THEN trim({sql}, {quote(INVISIBLE)}) ELSE {sql} END"


def text(column: Column) -> str:
    """The value as text; null where nothing is said. Text columns are trimmed already, see `raw_rows.load_raw`."""
    if column.type != "VARCHAR":
        return _typed_text(column)
    c = column.sql
    return f"CASE WHEN strlen({c}) < 12 AND lower({c}) IN ({', '.join(map(quote, MISSING))}) THEN NULL ELSE {c} END"


def _typed_text(column: Column) -> str:
    c = column.sql
    if column.type == "DOUBLE":
        # Customer numbers become floats where a column has gaps: 13085.0 is customer 13085.
        whole = f"{c} = floor({c}) AND abs({c}) < 1e15"
        return f"CASE WHEN NOT isfinite({c}) THEN NULL WHEN {whole} THEN {c}::BIGINT::VARCHAR ELSE {c}::VARCHAR END"
    return f"{c}::VARCHAR"


def first_filled(columns: list[Column]) -> Column:
    """The first of several columns that says something."""
    if len(columns) == 1:
        return columns[0]
    return Column(f"coalesce({', '.join(text(c) for c in columns)})", "VARCHAR")


def without_fraction(text: str) -> str:
    """13085 of 13085.0."""
    return f"regexp_replace({text}, '^(\\d+)\\.0+$', '\\1')"


def pseudonym(text: str, secret: str, otherwise: str | None = None) -> str:
    """E-mail addresses as keyed hashes, see `identity.pseudonym`; other texts as they are, or as `otherwise`."""
    hashed = f"'mail-' || left(sha256({quote(secret)} || 'email:' || lower({text})), 32)"
    email = f"contains({text}, '@') AND regexp_full_match({text}, '[^@\\s]+@[^@\\s]+\\.[^@\\s]+')"
    return f"CASE WHEN {email} THEN {hashed} ELSE {otherwise or text} END"


def all_floats(con: duckdb.DuckDBPyConnection, relation: str, column: Column) -> bool:
    """Whether the ids of a column of text have all become floats (13085.0)."""
    if column.type != "VARCHAR":
        return False
    values = f"SELECT {text(column)} AS v FROM {relation}"
    other = f"SELECT 1 FROM ({values}) WHERE v IS NOT NULL AND NOT regexp_full_match(v, '\\d+\\.0+') LIMIT 1"
    if con.execute(other).fetchall():
        return False
    return bool(con.execute(f"SELECT 1 FROM ({values}) WHERE v IS NOT NULL LIMIT 1").fetchall())


def flag(column: Column, text: str) -> str:
    """Yes or no in the usual words; null where neither is said. A count above zero is yes."""
    if column.type == "BOOLEAN":
        return column.sql
    yes = (
        "'instock','1','true','t','yes','y','ja','oui','si','sí','in stock',"
        "'available','active','preorder','pre order',"
        "'backorder',"
        "'on backorder','onbackorder','auf lager','lieferbar','verfügbar','en stock','disponible','disponibile',"
        "'limited availability'"
    )
    no = (
        "'0','false','f','no','n','nein','non','out of stock','outofstock','unavailable','inactive','sold out',"
        "'soldout',"
        "'ausverkauft','nicht lieferbar','nicht auf lager','nicht verfügbar','rupture de stock','en rupture',"
        "'épuisé','agotado','esaurito','discontinued'"
    )
    low = f"regexp_replace(lower({text}), '^https?://schema.org/|[-_]+', ' ', 'g').trim()"
    count = f"try_cast({text} AS DOUBLE) > 0"
    return f"CASE WHEN {low} IN ({yes}) THEN true WHEN {low} IN ({no}) THEN false ELSE {count} END"


def median(con: duckdb.DuckDBPyConnection, relation: str, number: str) -> float | None:
    """The middle of a column's numbers without their signs, to six digits; None where there are none.

    Counted by those digits: DuckDB's own holds all values at once, of 100 million a gigabyte.
    """
    rows = con.execute(
        f"""WITH given AS (SELECT abs({number}) AS v FROM {relation}),
              told AS (SELECT greatest(v, 1e-3) AS v FROM given WHERE v IS NOT NULL AND isfinite(v)),
              counted AS (SELECT round(v, 5 - floor(log10(v))::INTEGER) AS v, count(*) AS n FROM told GROUP BY 1),
              ordered AS (SELECT v, sum(n) OVER (ORDER BY v) AS upto, sum(n) OVER () AS every FROM counted)
            SELECT (min(v) FILTER (2 * upto >= every) + min(v) FILTER (2 * upto > every)) / 2 FROM ordered"""
    ).fetchall()
    return None if rows[0][0] is None else float(rows[0][0])
