"""SQL that reads numbers and prices as people write them. Every function returns an expression.

Which sign is the decimal one is decided once a column, from all its values: see `decimal_sign`.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from .value_parsing import INVISIBLE, Column, quote, text

CURRENCIES = (
    "€$£¥₹₽₺₩₪₴₫฿",
    "EUR USD GBP CHF SEK NOK DKK PLN CZK HUF RON BGN TRY RUB UAH JPY CNY INR AUD CAD NZD BRL MXN ZAR SGD HKD KRW "
    "THB IDR MYR PHP VND ILS AED SAR US\\$ R\\$ A\\$ C\\$ kr zł Kč Ft lei TL лв руб\\.? Fr\\. Rs\\.?",
)


def number(column: Column, bare: str, decimal: str) -> str:
    """A finite number, else null.

    Parameters
    ----------
    bare
        For text, an expression with what `bare_number` gives.
    decimal
        `plain` when the column holds nothing but digits and a point. Else `.` or `,`: the decimal sign where a value
        alone does not show it; `?` when the column has both, and values like 1.234 are not read because they may
        mean either.
    """
    if column.type in ("BIGINT", "BOOLEAN"):
        return f"{column.sql}::DOUBLE"
    if column.type == "DOUBLE":
        return f"CASE WHEN isfinite({column.sql}) THEN {column.sql} END"
    cleaned = column.sql if decimal == "plain" else _with_point(bare, decimal)
    value = f"try_cast({cleaned} AS DOUBLE)"
    # 1e400 is infinite, and SQL reads `inf`, `nan` and 1_000 as numbers too.
    allowed = "" if decimal == "plain" else f"regexp_full_match({cleaned}, '{_PLAIN_OR_POWER}') AND "
    return f"CASE WHEN {allowed}isfinite({value}) THEN {value} END"


_PLAIN_OR_POWER = "[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?"


def _with_point(bare: str, decimal: str) -> str:
    """The number with a point for its decimal sign and nothing between groups of digits; null if it is unclear."""
    dots, commas = f"replace({bare}, '.', '')", f"replace({bare}, ',', '')"
    swapped = f"replace({dots}, ',', '.')"
    ambiguous = {".": commas, ",": swapped, "?": "NULL"}[decimal]
    if decimal == ".":
        ambiguous = f"CASE WHEN contains({bare}, '.') THEN {bare} ELSE {commas} END"
    return f"""CASE WHEN NOT contains({bare}, ',') AND NOT contains({bare}, '.') THEN {bare}
      WHEN regexp_full_match({bare}, '[+-]?[1-9]\\d{{0,2}}[.,]\\d{{3}}') THEN {ambiguous}
      WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(,\\d{{3}}){{2,}}') THEN {commas}
      WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(\\.\\d{{3}}){{2,}}') THEN {dots}
      WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(,\\d{{3}})+\\.\\d*') THEN {commas}
      WHEN regexp_full_match({bare}, '[+-]?\\d{{1,3}}(\\.\\d{{3}})+,\\d*') THEN {swapped}
      WHEN regexp_full_match({bare}, '[+-]?\\d*,\\d*') THEN replace({bare}, ',', '.')
      WHEN contains({bare}, ',') THEN NULL ELSE {bare} END"""


def bare_number(text: str) -> str:
    """Without currency, spaces between groups and apostrophes; (12.50) and 12.50- are negative."""
    signs, codes = CURRENCIES
    money = f"([{signs}]|{'|'.join(codes.split())})"
    bare = f"regexp_replace({text}, '^([+-]?)\\s*{money}\\s*|\\s*{money}$', '\\1', 'gi')"
    bare = f"regexp_replace({bare}, '(\\d)[ \u00a0\u202f\u2009’'']+(\\d)', '\\1\\2', 'g')"
    bare = f"regexp_replace({bare}, '^\\((.*)\\)$|^(.*\\d)-$', '-\\1\\2')"
    return f"trim({bare}, {quote(INVISIBLE)})"


def pieces(text: str) -> str:
    """SQL: a quantity without the word for pieces: `2 Stk.`, `2x`; 2 kg stay 2 kg."""
    words = (
        "st|stk|stck|stück|stuks|pcs?|pieces?|x|×|szt|ks|kpl|db|pz|pza|pzas|uds?|unid|unidades|buc|kom|шт|τεμ|adet|tk|"
        "vnt|gab"
    )
    return f"regexp_replace({text}, '^[x×] ?(\\d+)$|^([+-]?\\d[\\d.,]*) ?({words})\\.?$', '\\1\\2', 'i')"


def currency_unknown(text: str, bare: str) -> str:
    """True where a number stands beside letters that are no currency of ours."""
    return f"regexp_matches({text}, '\\d') AND regexp_replace({bare}, '[-+0-9.,eE\\s]', '', 'g') <> ''"


def first_number(text: str) -> str:
    """The first number of a text: of `ab 12,90 €`, of `12.90 - 15.90`; null where there is none."""
    return f"nullif(trim(regexp_extract({text}, '\\d[\\d.,’'' \u00a0]*\\d|\\d')), '')"


# Words around a price that leave it what it is; beside others it may be in any currency, and is not read.
_AROUND = (
    "from|ab|starting|at|as|low|nur|only|just|now|jetzt|incl|inkl|excl|exkl|inc|ex|vat|mwst|ust|tva|iva|ttc|ht|tax|net|brutto|"
    "netto|per|pro|je|each|stk|stück|st|piece|pcs|kg|g|l|ml|m|ca|approx|desde|a|à|partir|de|dès|da|partire|vanaf|od|fra|från|"
    "alkaen|bis|to|until|and|und|price|preis|prix|precio|prezzo"
)


def price_in_words(bare: str) -> str:
    """SQL: the first number of `ab 12,90`, `from 12.90`, `12.90 - 15.90`; other texts as they are."""
    words = f"lower(trim(regexp_replace({bare}, '[^\\pL]+', ' ', 'g')))"
    known = f"regexp_full_match({words}, '({_AROUND})( ({_AROUND}))*')"
    around = f"({words} <> '' AND NOT regexp_full_match({bare}, '{_PLAIN_OR_POWER}') AND {known})"
    span = f"regexp_full_match({bare}, '[\\d.,]+\\s*[-–—/]\\s*[\\d.,]+[^\\d]*')"
    return f"CASE WHEN {around} OR {span} THEN {first_number(bare)} ELSE {bare} END"


def decimal_sign(
    con: duckdb.DuckDBPyConnection, relation: str, column: Column, whole: bool = False, beside: Collection[str] = ()
) -> str:
    """How a whole column writes numbers, see `number`.

    Parameters
    ----------
    whole
        No piece is cut in parts.
    beside
        How other columns of the file do: 2,000 beside prices like 4,90 is two.
    """
    if column.type != "VARCHAR":
        return "plain"
    simple = "[+-]?\\d+(\\.\\d*)?"
    values = f"SELECT {text(column)} AS v FROM {relation}"
    odd = f"SELECT 1 FROM ({values}) WHERE v IS NOT NULL AND NOT regexp_full_match(v, '{simple}') LIMIT 1"
    if not con.execute(odd).fetchall():
        return "plain"
    comma = "[+-]?(\\d+,\\d{1,2}|\\d+,\\d{4,}|\\d{1,3}(\\.\\d{3})+,\\d+|\\d{1,3}(\\.\\d{3}){2,}|0,\\d+)"
    dot = "[+-]?(\\d+\\.\\d{1,2}|\\d+\\.\\d{4,}|\\d{1,3}(,\\d{3})+\\.\\d+|\\d{1,3}(,\\d{3}){2,}|0\\.\\d+)"
    either = "[+-]?[1-9]\\d{0,2},\\d{3}"
    rows = con.execute(
        f"""SELECT count(*) FILTER (regexp_full_match(b, '{comma}')), count(*) FILTER (regexp_full_match(b, '{dot}')),
                   count(*) FILTER (regexp_full_match(b, '{either}'))
            FROM (SELECT {bare_number("v")} AS b FROM (SELECT DISTINCT v FROM ({values}))
                  WHERE contains(v, ',') OR contains(v, '.'))"""
    ).fetchall()
    commas, dots, unclear = rows[0]
    if unclear and not commas and not dots and "," in beside:
        return ","
    if commas and dots:
        return "?"
    if commas:
        return ","
    if unclear and whole and not dots:
        # Pieces: 7 beside 1,200 are thousands; 1,000 beside 2,000 may be one and two.
        bare = con.execute(f"SELECT 1 FROM ({values}) WHERE regexp_full_match(v, '[+-]?\\d{{1,3}}') LIMIT 1").fetchall()
        return "." if bare else "?"
    # `1,234` and nothing else to go by: a thousand, or one and a bit?
    return "?" if unclear and not dots else "."


def doubts(con: duckdb.DuckDBPyConnection, name: str, column: Column, decimal: str) -> list[str]:
    """What to tell of a column of `raw` whose numbers may be meant otherwise than `decimal` says."""
    if decimal == "?" and (shown := _unclear(con, column)):
        return [f"{shown} in {name} could be two different numbers: say --decimal comma or --decimal point."]
    if name == "price" and decimal == "plain" and (shown := _in_thousands(con, column)):
        return [
            f"All prices have three digits behind the point: {shown} is read as {float(shown):g}. "
            "Where the point parts thousands, say --decimal comma."
        ]
    return []


def _unclear(con: duckdb.DuckDBPyConnection, column: Column) -> str:
    """One of a column's values in `raw` that `decimal_sign` found to mean either of two numbers; or ""."""
    either = "[+-]?[1-9]\\d{0,2}[.,]\\d{3}"
    values = f"(SELECT {text(column)} AS v FROM raw) WHERE regexp_full_match({bare_number('v')}, '{either}')"
    rows = con.execute(f"SELECT v FROM {values} LIMIT 1").fetchall()
    return rows[0][0] if rows else ""


def _in_thousands(con: duckdb.DuckDBPyConnection, column: Column) -> str:
    """One of a column's numbers where all in `raw` are like 1.250, as half of Europe writes thousands; or ""."""
    values = f"(SELECT {text(column)} AS v FROM raw) WHERE v IS NOT NULL"
    # The first that is written otherwise ends the search.
    other = f"SELECT 1 FROM {values} AND NOT regexp_full_match(v, '[1-9]\\d{{0,2}}\\.\\d{{3}}') LIMIT 1"
    if con.execute(other).fetchall():
        return ""
    return con.execute(f"SELECT min(v) FROM {values}").fetchall()[0][0] or ""
