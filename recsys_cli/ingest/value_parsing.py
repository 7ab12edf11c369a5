"""SQL that reads ids, numbers and times out of what people write. Every function returns an expression.

Decisions that need the whole column (which sign is the decimal one, does the day or the month come first, seconds or
milliseconds) are made once a file, from counts over all its rows: see `Habits`.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from ..errors import InputError

# Unicode spaces and marks that no one sees; SQL's own trim knows the plain space only.
INVISIBLE = (
    " \t\r\n\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u202f\u205f\u2060\u3000\ufeff"
)
MISSING = ("", "nan", "null", "none", "n/a", "#n/a", "na", "nat", "<na>", "(null)", "undefined", "\\n")
CURRENCIES = (
    "€$£¥₹₽₺₩₪₴₫฿",
    "EUR USD GBP CHF SEK NOK DKK PLN CZK HUF RON BGN TRY RUB UAH JPY CNY INR AUD CAD NZD BRL MXN ZAR SGD HKD KRW "
    "THB IDR MYR PHP VND ILS AED SAR US\\$ R\\$ A\\$ C\\$ kr zł Kč Ft lei лв руб Fr\\. Rs\\.?",
)
DATE_ORDERS = ("dmy", "mdy")
_MONTHS = ("%b", "%B")


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
    """The value as text; null where nothing is said. Text columns are trimmed already, see `staging.load_raw`."""
    if column.type != "VARCHAR":
        return _typed_text(column)
    c = column.sql
    return f"CASE WHEN strlen({c}) < 10 AND lower({c}) IN ({', '.join(map(quote, MISSING))}) THEN NULL ELSE {c} END"


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


def currency_unknown(text: str, bare: str) -> str:
    """True where a number stands beside letters that are no currency of ours."""
    return f"regexp_matches({text}, '\\d') AND regexp_replace({bare}, '[-+0-9.,eE\\s]', '', 'g') <> ''"


def flag(column: Column, text: str) -> str:
    """Yes or no in the usual words; null where neither is said. A count above nought is yes."""
    if column.type == "BOOLEAN":
        return column.sql
    yes = "'1','true','t','yes','y','ja','oui','si','sí','in stock','instock','in_stock','available','active'"
    no = "'0','false','f','no','n','nein','non','out of stock','outofstock','out_of_stock','unavailable','inactive'"
    low = f"lower({text})"
    count = f"try_cast({text} AS DOUBLE) > 0"
    return f"CASE WHEN {low} IN ({yes}) THEN true WHEN {low} IN ({no}) THEN false ELSE {count} END"


@dataclass(frozen=True)
class TimeHabit:
    """How a column writes times.

    Parameters
    ----------
    divisor
        Epoch numbers are in 1/divisor seconds; 0 for the serial days of spreadsheets.
    order
        dmy or mdy, of dates like 03/04/2025.
    zone
        The zone of times that do not name one.
    has, only
        The ways of writing that occur; and whether every value is written in one of them.
    bare
        All ISO times are without zone.
    """

    divisor: int = 1
    order: str = "dmy"
    zone: str = "UTC"
    has: frozenset[str] = frozenset({"epoch", "iso", "local", "named", "compact"})
    only: bool = False
    bare: bool = False


_EPOCH = "-?\\d+(\\.\\d+)?"
_ISO = "\\d{4}[-/.]\\d{1,2}[-/.]\\d{1,2}([ T].*)?"
_BARE = "\\d{4}-\\d\\d-\\d\\d([ T]\\d\\d:\\d\\d(:\\d\\d(\\.\\d+)?)?)?"
_COMPACT = "(19|20)\\d{6}([ T]?\\d{4,6}Z?)?"
_LOCAL = "\\d{1,2}[./-]\\d{1,2}[./-](\\d{4}|\\d{2})([ ,T]+.*)?"
_NAMED = "[A-Za-z]{3,9}\\.? \\d{1,2},? \\d{4}.*|\\d{1,2}\\.?[ -][A-Za-z]{3,9}\\.?[ -]\\d{4}.*"
_SHAPES = {"compact": _COMPACT, "epoch": _EPOCH, "iso": _ISO, "local": _LOCAL, "named": _NAMED}


def moment(column: Column, text: str, habit: TimeHabit) -> str:
    """Epoch seconds, UTC, or null."""
    c = column.sql
    if column.type == "TIMESTAMP WITH TIME ZONE":
        return f"floor(epoch({c}))::BIGINT"
    if column.type == "TIMESTAMP":
        return _local_seconds(c, habit.zone)
    if column.type in ("BIGINT", "DOUBLE"):
        return _epoch_seconds(f"{c}::DOUBLE" if column.type == "DOUBLE" else c, habit, typed=column.type)
    branches = {
        "compact": _compact(text, habit),
        "epoch": _epoch_seconds(f"try_cast({text} AS DOUBLE)", habit, typed="DOUBLE"),
        "iso": _iso(text, habit),
        "local": _local(text, habit),
        "named": _named(text, habit),
    }
    if habit.only and len(habit.has) == 1:
        return branches[next(iter(habit.has))]
    cases = " ".join(
        f"WHEN regexp_full_match({text}, '{_SHAPES[name]}') THEN {branches[name]}"
        for name in _SHAPES
        if name in habit.has
    )
    return f"CASE {cases} END" if cases else "NULL::BIGINT"


def _epoch_seconds(value: str, habit: TimeHabit, *, typed: str) -> str:
    if habit.divisor == 0:  # days since 1899-12-30
        return f"try_cast(round(({value} - 25569) * 86400) AS BIGINT)"
    if typed == "BIGINT":
        return value if habit.divisor == 1 else f"({value} // {habit.divisor})"
    return f"try_cast(floor({value} / {habit.divisor}) AS BIGINT)"


def _local_seconds(timestamp: str, zone: str) -> str:
    """Seconds of a time on the shop's clock; null for one that the clock jumped over."""
    if zone == "UTC":
        return f"floor(epoch({timestamp}))::BIGINT"
    there = f"timezone({quote(zone)}, {timestamp})"
    back = f"timezone({quote(zone)}, {there})"
    return f"CASE WHEN {back} = {timestamp} THEN floor(epoch({there}))::BIGINT END"


def _iso(text: str, habit: TimeHabit) -> str:
    if habit.bare:
        return _local_seconds(f"try_cast({text} AS TIMESTAMP)", habit.zone)
    dashed = f"regexp_replace({text}, '^(\\d{{4}})[/.](\\d{{1,2}})[/.](\\d{{1,2}})', '\\1-\\2-\\3')"
    offset = "\\d:\\d\\d.*?\\s*(Z|UTC|GMT|[+-]\\d\\d(:?\\d\\d)?)$"
    zoned = f"regexp_replace({dashed}, '\\s*([+-]\\d\\d):?(\\d\\d)?$', '\\1:\\2')"
    zoned = f"regexp_replace({zoned}, ':$', ':00')"
    zoned = f"regexp_replace({zoned}, '\\s*(Z|UTC|GMT)$', '+00:00')"
    # A cast to a plain timestamp would drop an offset without a word, so only bare times may take that way.
    bare = f"regexp_full_match({dashed}, '\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}([ T]\\d{{1,2}}:\\d\\d(:\\d\\d([.,]\\d+)?)?)?')"
    local = _local_seconds(f"try_cast(replace({dashed}, ',', '.') AS TIMESTAMP)", habit.zone)
    there = f"floor(epoch(try_cast({zoned} AS TIMESTAMPTZ)))::BIGINT"
    return f"CASE WHEN {bare} THEN {local} WHEN regexp_matches({dashed}, '{offset}') THEN {there} END"


def _local(text: str, habit: TimeHabit) -> str:
    even = f"regexp_replace(regexp_replace({text}, '[./-]', '/', 'g'), '[ ,T]+', ' ', 'g')"
    pattern = "%d/%m/" if habit.order == "dmy" else "%m/%d/"
    short = f"regexp_full_match({even}, '\\d+/\\d+/\\d\\d( .*)?')"
    # With %Y the year 09 would be the year 9, so years of two digits have formats of their own.
    two = _local_seconds(_parse(even, pattern + "%y"), habit.zone)
    four = _local_seconds(_parse(even, pattern + "%Y"), habit.zone)
    return f"CASE WHEN {short} THEN {two} ELSE {four} END"


def _named(text: str, habit: TimeHabit) -> str:
    even = f"regexp_replace(regexp_replace({text}, '[.,-]', ' ', 'g'), '\\s+', ' ', 'g')"
    starts = [f"{m} %d %Y" for m in _MONTHS] + [f"%d {m} %Y" for m in _MONTHS]
    formats = ", ".join(quote(s + t) for s in starts for t in _TIMES)
    return _local_seconds(f"try_strptime(trim({even}), [{formats}])", habit.zone)


def _compact(text: str, habit: TimeHabit) -> str:
    digits = f"regexp_replace({text}, '[^0-9]', '', 'g')"
    formats = ", ".join(map(quote, ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d")))
    return _local_seconds(f"try_strptime({digits}, [{formats}])", habit.zone)


_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")


def _parse(even: str, date: str) -> str:
    return f"try_strptime({even}, [{', '.join(quote(date + t) for t in _TIMES)}])"


def decimal_sign(con: duckdb.DuckDBPyConnection, relation: str, column: Column) -> str:
    """How a whole column writes numbers, see `number`."""
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
    if commas and dots:
        return "?"
    if commas:
        return ","
    # `1,234` and nothing else to go by: a thousand, or one and a bit?
    return "?" if unclear and not dots else "."


def all_floats(con: duckdb.DuckDBPyConnection, relation: str, column: Column) -> bool:
    """Whether the ids of a column of text have all become floats (13085.0)."""
    if column.type != "VARCHAR":
        return False
    values = f"SELECT {text(column)} AS v FROM {relation}"
    other = f"SELECT 1 FROM ({values}) WHERE v IS NOT NULL AND NOT regexp_full_match(v, '\\d+\\.0+') LIMIT 1"
    if con.execute(other).fetchall():
        return False
    return bool(con.execute(f"SELECT 1 FROM ({values}) WHERE v IS NOT NULL LIMIT 1").fetchall())


def time_habit(
    con: duckdb.DuckDBPyConnection, relation: str, column: Column, *, zone: str, order: str | None, name: str
) -> TimeHabit:
    """How a whole column writes times.

    Raises
    ------
    InputError
        When its dates can be read with the day or the month first, and `order` does not say which.
    """
    if column.type in ("BIGINT", "DOUBLE"):
        median = con.execute(f"SELECT median(abs({column.sql}::DOUBLE)) FROM {relation}").fetchall()[0][0]
        return TimeHabit(_divisor(median), zone=zone)
    if column.type != "VARCHAR":
        return TimeHabit(zone=zone)
    shapes = ", ".join(f"count(*) FILTER (regexp_full_match(v, '{p}')) AS {n}" for n, p in _SHAPES.items())
    first = "try_cast(regexp_extract(v, '^(\\d{1,2})[./-]', 1) AS INTEGER)"
    second = "try_cast(regexp_extract(v, '^\\d{1,2}[./-](\\d{1,2})', 1) AS INTEGER)"
    here = f"regexp_full_match(v, '{_LOCAL}')"
    rows = con.execute(
        f"""SELECT {shapes}, count(*) FILTER ({here} AND {first} > 12), count(*) FILTER ({here} AND {second} > 12),
                   count(*) FILTER ({here} AND {first} <> {second}), count(*) FILTER ({here} AND contains(v[:6], '.')),
                   median(abs(try_cast(v AS DOUBLE))), any_value(v) FILTER ({here}), count(*),
                   count(*) FILTER (regexp_full_match(v, '{_BARE}'))
            FROM (SELECT {text(column)} AS v FROM {relation}) WHERE v IS NOT NULL"""
    ).fetchall()
    *counts, days_first, months_first, telling, dotted, median, example, n, bare = rows[0]
    has = frozenset(n for n, c in zip(_SHAPES, counts, strict=True) if c)
    found = order or _date_order(days_first, months_first, telling, dotted, example, name)
    # Eight digits are a date, and an epoch is not that short: one reading a column.
    return TimeHabit(_divisor(median), found, zone, has, max(counts) == n, bare == counts[list(_SHAPES).index("iso")])


def _date_order(days_first: int, months_first: int, telling: int, dotted: int, example: str | None, name: str) -> str:
    if days_first and not months_first:
        return "dmy"
    if months_first and not days_first:
        return "mdy"
    if not telling or dotted == telling:  # 3/3/2025 is the same in both; dots are European
        return "dmy"
    if days_first > 9 * months_first or months_first > 9 * days_first:
        return "dmy" if days_first > months_first else "mdy"
    raise InputError(
        f"Dates like {example} in column '{name}' can be read with the day or the month first.",
        "Say which it is: --date-order dmy or --date-order mdy",
    )


def _divisor(median: float | None) -> int:
    if median is None or median < 1e11:
        return 0 if median is not None and 20_000 <= median <= 80_000 else 1
    return 1_000 if median < 1e14 else 1_000_000 if median < 1e17 else 1_000_000_000
