"""SQL that reads times as people and programs write them: epochs, ISO, local dates, with names of months, of mail.

Whether the day or the month comes first, and seconds or milliseconds, is decided once a column, from all its values:
see `time_habit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import duckdb

from ..errors import InputError
from .value_parsing import Column, median, quote, text


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
    zoned, weekday, foreign, worded, croatian
        Some value ends in a zone; begins with a day of the week; names a month in another language than English; has a
        word beside the clock (10:05 Uhr); names a month that only Croatian calls so.
    """

    divisor: int = 1
    order: str = "dmy"
    zone: str = "UTC"
    has: frozenset[str] = frozenset({"epoch", "iso", "local", "named", "compact"})
    only: bool = False
    bare: bool = False
    zoned: bool = False
    weekday: bool = False
    foreign: bool = False
    worded: bool = False
    croatian: bool = False


_EPOCH = "-?\\d+([.,]\\d+)?([eE]\\+\\d+)?"  # German Excel writes its days as 46290,5
_ISO = "\\d{4}[-/.] ?\\d{1,2}[-/.] ?\\d{1,2}\\.?([ T].*)?"  # Hungary writes 2025. 03. 01. 10:05
_BARE = "\\d{4}-\\d\\d-\\d\\d([ T]\\d\\d:\\d\\d(:\\d\\d(\\.\\d+)?)?)?"
_COMPACT = "(19|20)\\d{6}([ T]?\\d{4,6}Z?)?"
# Letters of every script by two ranges: \pL takes the expression engine a tenth of a second for each file.
_LETTER = "[a-zA-Z\\x{AA}-\\x{1FFF}\\x{2C00}-\\x{10FFFF}]"
_MONTH = _LETTER + "{3,12}\\.?"
_WEEKDAY = f"(?:{_LETTER}{{2,12}}\\.?,? )?"
_LOCAL = f"{_WEEKDAY}\\d{{1,2}}[./-]\\d{{1,2}}[./-](\\d{{4}}|\\d{{2}})([ ,T]+.*)?"
_HOURS = "(?i)\\b(\\d{1,2}) ?h ?(\\d\\d)( ?min)?\\b"  # 14h05, as France writes it
_BESIDE_CLOCK = "(?i)\\b(um|at|kl|klo|a las|à|alle|ore|om|o godz|uhr|uur|óra|ώρα)\\b\\.?|(\\d) ?(h)$"
_NAMED = (
    f"{_WEEKDAY}{_MONTH} +\\d{{1,2}},? .*\\d{{4}}.*|{_MONTH}-\\d{{1,2}}-(\\d{{4}}|\\d\\d)( .*)?|"
    f"{_WEEKDAY}\\d{{1,2}}(\\.|st|nd|rd|th)?( de)?[ -]{_MONTH}( de)?[ -](\\d{{4}}.*|\\d\\d( .*)?)"
)
_SHAPES = {"compact": _COMPACT, "epoch": _EPOCH, "iso": _ISO, "local": _LOCAL, "named": _NAMED}
# What other languages call the months, as regular expressions over lower case without accents.
_MONTHS = {
    "Jan": "januar|jaenner|janner|janvier|enero|gennaio|januari|janeiro|janv|ene|genn|ledna|stycznia|styczen"
    "|sty|tammikuuta|ianuarie|ianouariou|januara|sijecnja",
    "Feb": "februar|fevrier|febrero|febbraio|februari|fevereiro|fevr|febr|fev|unora|lutego|luty|lut"
    "|helmikuuta|februarie|veljace",
    "Mar": "marz|maerz|mars|marzo|maart|marco|mrz|mrt|brezna|marca|maaliskuuta|martie|marts|marcius|ozujka",
    "Apr": "avril|abril|aprile|avr|abr|dubna|kwietnia|kwi|huhtikuuta|aprilie|aprilis|travnja",
    "May": "mai|mayo|maggio|mei|maio|maj|magg|kvetna|maja|toukokuuta|majus|svibnja",
    "Jun": "juni|juin|junio|giugno|junho|giu|cervna|czerwca|cze|kesakuuta|iunie|junius|lipnja",
    "Jul": "juli|juillet|julio|luglio|julho|juil|lug|cervence|lipca|lip|heinakuuta|iulie|julius|srpnja",
    "Aug": "aout|agosto|augustus|augusti|ago|srpna|sierpnia|sie|elokuuta|augusztus|kolovoza",
    "Sep": "septembre|septiembre|settembre|setembro|sept|sett|zari|wrzesnia|wrz|syyskuuta|septembrie|szeptember|rujna",
    "Oct": "oktober|octobre|octubre|ottobre|outubro|okt|ott|rijna|pazdziernika|paz|lokakuuta|octombrie",
    "Nov": "novembre|noviembre|novembro|listopadu|listopada|lis|marraskuuta|noiembrie|studenoga",
    "Dec": "dezember|decembre|diciembre|dicembre|december|dezembro|dez|dic|prosince|grudnia|gru|joulukuuta"
    "|decembrie|prosinca",
}
# Listopada is November in Polish, and October beside these.
_CROATIAN = "sijecnja|veljace|ozujka|travnja|svibnja|lipnja|srpnja|kolovoza|rujna|studenoga|prosinca"
# Zones by their letters, in minutes east of Greenwich; those that two continents use are America's.
_ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "BST": 60, "IST": 330, "WEST": 60, "CET": 60, "MEZ": 60, "CEST": 120,
    "MESZ": 120, "EET": 120, "EEST": 180, "MSK": 180, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300,
    "MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "AKST": -540, "HST": -600, "JST": 540, "AEST": 600,
    "AEDT": 660,
}  # fmt: skip
# Behind a clock: -2025 of 14-03-2025 is not a zone.
_CLOCK = ":\\d\\d(?:[.,]\\d+)?(?: ?[AaPp][Mm])?"
_ZONE = f"(?:(?:GMT|UTC)?[+-]\\d\\d:?(?:\\d\\d)?|{'|'.join(sorted(_ZONES, key=len, reverse=True))})"


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
        "epoch": _epoch_seconds(_number(text), habit, typed="DOUBLE"),
        "iso": _iso(text, habit),
        "local": _zoned(text, habit, _local),
        "named": _zoned(_reordered(text), habit, _named),
    }
    if habit.only and len(habit.has) == 1:
        return branches[next(iter(habit.has))]
    cases = " ".join(
        f"WHEN regexp_full_match({text}, {quote(_SHAPES[name])}) THEN {branches[name]}"
        for name in _SHAPES
        if name in habit.has
    )
    return f"CASE {cases} END" if cases else "NULL::BIGINT"


def _zoned(text: str, habit: TimeHabit, read: Callable[[str, TimeHabit], str]) -> str:
    """Read the time without its zone, then move it; a time without one is on the shop's clock."""
    if not habit.zoned:
        return read(text, habit)
    at_the_end = quote(f"({_CLOCK})\\s*({_ZONE})(\\s*\\(.*\\))?$")
    bare = f"regexp_replace({text}, {at_the_end}, '\\1')"
    named = f"regexp_extract({text}, {at_the_end}, 2)"
    there = read(bare, replace(habit, zone="UTC"))
    return f"CASE WHEN {named} = '' THEN {read(text, habit)} ELSE {there} - {_offset(named)} END"


def _offset(zone: str) -> str:
    """Seconds east of Greenwich."""
    names = "MAP {" + ", ".join(f"'{name}': {minutes * 60}" for name, minutes in _ZONES.items()) + "}"
    digits = f"regexp_extract({zone}, '[+-]\\d\\d:?(\\d\\d)?$')"
    hours, minutes = (
        f"{digits}[2:3]::INTEGER",
        f"coalesce(try_cast(regexp_extract({digits}, '^...:?(\\d\\d)$', 1) AS INTEGER), 0)",
    )
    sign = f"(CASE WHEN starts_with({digits}, '-') THEN -1 ELSE 1 END)"
    return f"CASE WHEN {digits} <> '' THEN {sign} * ({hours} * 3600 + {minutes} * 60) ELSE ({names})[{zone}] END"


def _number(text: str) -> str:
    return f"try_cast(replace({text}, ',', '.') AS DOUBLE)"


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
    dashed = f"regexp_replace({text}, '^(\\d{{4}})[/.] ?(\\d{{1,2}})[/.] ?(\\d{{1,2}})\\.?', '\\1-\\2-\\3')"
    offset = "\\d:\\d\\d.*?\\s*(Z|UTC|GMT|[+-]\\d\\d(:?\\d\\d)?)$"
    letters = ", ".join(f"'{n}': '{m * 60 // 3600:+03d}:{abs(m) % 60:02d}'" for n, m in _ZONES.items())
    lettered = f"regexp_extract({dashed}, '\\d ?([A-Z]{{3,4}})$', 1)"
    offset_of = f"(MAP {{{letters}}})[{lettered}]"
    if habit.zoned:  # CET and the like are offsets; names of cities are not read
        unlettered = f"regexp_replace({dashed}, ' ?[A-Z]{{3,4}}$', '')"
        dashed = f"CASE WHEN {offset_of} IS NULL THEN {dashed} ELSE {unlettered} || {offset_of} END"
    zoned = f"regexp_replace({dashed}, '\\s*([+-]\\d\\d):?(\\d\\d)?$', '\\1:\\2')"
    zoned = f"regexp_replace({zoned}, ':$', ':00')"
    zoned = f"regexp_replace({zoned}, '\\s*(Z|UTC|GMT)$', '+00:00')"
    # A cast to a plain timestamp would drop an offset without a word, so only bare times may take that way.
    bare = f"regexp_full_match({dashed}, '\\d{{4}}-\\d{{1,2}}-\\d{{1,2}}([ T]\\d{{1,2}}:\\d\\d(:\\d\\d([.,]\\d+)?)?)?')"
    local = _local_seconds(f"try_cast(replace({dashed}, ',', '.') AS TIMESTAMP)", habit.zone)
    there = f"floor(epoch(try_cast({zoned} AS TIMESTAMPTZ)))::BIGINT"
    return f"CASE WHEN {bare} THEN {local} WHEN regexp_matches({dashed}, '{offset}') THEN {there} END"


def _local(text: str, habit: TimeHabit) -> str:
    bare = f"regexp_replace({text}, '^{_WEEKDAY}(\\d)', '\\1')" if habit.weekday else text
    if habit.worded:
        bare = f"regexp_replace({bare}, {quote(_HOURS)}, '\\1:\\2')"
        bare = f"trim(regexp_replace({bare}, {quote(_BESIDE_CLOCK)}, '\\2', 'g'))"
    # Denmark writes 10.05 of the clock, too.
    bare = f"regexp_replace({bare}, '([ T]\\d{{1,2}})\\.(\\d\\d)(?:\\.(\\d\\d))?$', '\\1:\\2:\\3').rtrim(':')"
    even = f"regexp_replace(regexp_replace({bare}, '[./-]', '/', 'g'), '[ ,T]+', ' ', 'g')"
    pattern = "%d/%m/" if habit.order == "dmy" else "%m/%d/"
    short = f"regexp_full_match({even}, '\\d+/\\d+/\\d\\d( .*)?')"
    # With %Y the year 09 would be the year 9, so years of two digits have formats of their own.
    two = _local_seconds(_parse(even, pattern + "%y"), habit.zone)
    four = _local_seconds(_parse(even, pattern + "%Y"), habit.zone)
    return f"CASE WHEN {short} THEN {two} ELSE {four} END"


def _reordered(text: str) -> str:
    """`Mon Nov 03 17:34:08 +0100 2025` of Ruby, and of C without the zone, with the year before the time; and eBay's
    `Mar-01-25` with the day first."""
    ruby = f"({_LETTER}{{3}} +\\d{{1,2}}) (\\d\\d:\\d\\d:\\d\\d)( {_ZONE})? (\\d{{4}})$"
    ebay = f"regexp_replace({text}, '^({_MONTH})-(\\d{{1,2}})-(\\d{{2,4}})', '\\2 \\1 \\3')"
    return f"regexp_replace({ebay}, {quote(ruby)}, '\\1 \\4 \\2\\3')"


def _named(text: str, habit: TimeHabit) -> str:
    # Without the day of the week, the dots and commas, and the `de` and `th` beside numbers.
    even = f"regexp_replace({text}, '^{_LETTER}{{2,12}}\\.?,? +({_LETTER}|\\d)', '\\1')" if habit.weekday else text
    if habit.worded:
        even = f"regexp_replace({even}, {quote(_HOURS)}, '\\1:\\2')"
        even = f"regexp_replace({even}, {quote(_BESIDE_CLOCK)}, '\\2', 'g')"
    even = f"regexp_replace({even}, '(\\d)(st|nd|rd|th)\\b| de |[.,]? +|[.,-]', '\\1 ', 'g')"
    even = f"regexp_replace(trim({even}), '\\s+', ' ', 'g')"
    if habit.foreign:
        even = f"lower(strip_accents({even}))"
        if habit.croatian:
            even = f"regexp_replace({even}, '\\blistopada\\b', 'Oct')"
        for month, words in _MONTHS.items():
            even = f"regexp_replace({even}, '\\b({words})\\b', '{month}')"
    starts = [f"{m} %d %Y" for m in ("%b", "%B")] + [f"%d {m} %Y" for m in ("%b", "%B")]
    # With %Y the year 09 would be the year 9, so years of two digits have formats of their own.
    short = f"regexp_full_match({even}, '\\d+ {_LETTER}+ \\d\\d( .*)?')"
    formats = ", ".join(quote(s + t) for s in starts for t in _TIMES)
    short_formats = ", ".join(quote("%d %b %y" + t) for t in _TIMES)
    four = _local_seconds(f"try_strptime({even}, [{formats}])", habit.zone)
    two = _local_seconds(f"try_strptime({even}, [{short_formats}])", habit.zone)
    return f"CASE WHEN {short} THEN {two} ELSE {four} END"


def _compact(text: str, habit: TimeHabit) -> str:
    digits = f"regexp_replace({text}, '[^0-9]', '', 'g')"
    formats = ", ".join(map(quote, ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d")))
    return _local_seconds(f"try_strptime({digits}, [{formats}])", habit.zone)


_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")


def _parse(even: str, date: str) -> str:
    return f"try_strptime({even}, [{', '.join(quote(date + t) for t in _TIMES)}])"


def time_habit(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    column: Column,
    *,
    zone: str,
    order: str | None,
    name: str,
    american: bool = False,
) -> TimeHabit:
    """How a whole column writes times.

    Parameters
    ----------
    american
        Dates beside AM and PM that can be read two ways have the month first.

    Raises
    ------
    InputError
        When its dates can be read with the day or the month first, and `order` does not say which.
    """
    if column.type in ("BIGINT", "DOUBLE"):
        return TimeHabit(_divisor(median(con, relation, f"{column.sql}::DOUBLE")), zone=zone)
    if column.type != "VARCHAR":
        return TimeHabit(zone=zone)
    # Values that differ in later digits alone are written alike: a few of them tell of millions.
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE ways AS SELECT min(v) AS v, count(*) AS n
            FROM (SELECT {text(column)} AS v FROM {relation}) WHERE v IS NOT NULL
            GROUP BY translate(v, '123456789', '000000000'), left(v, 6)"""
    )
    shapes = ", ".join(f"sum(n) FILTER (regexp_full_match(v, {quote(p)})) AS {n}" for n, p in _SHAPES.items())
    first = f"try_cast(regexp_extract(v, '^{_WEEKDAY}(\\d{{1,2}})[./-]', 1) AS INTEGER)"
    second = f"try_cast(regexp_extract(v, '^{_WEEKDAY}\\d{{1,2}}[./-](\\d{{1,2}})', 1) AS INTEGER)"
    here = f"regexp_full_match(v, {quote(_LOCAL)})"
    rows = con.execute(
        f"""SELECT {shapes}, sum(n) FILTER ({here} AND {first} > 12), sum(n) FILTER ({here} AND {second} > 12),
                   sum(n) FILTER ({here} AND {first} <> {second}),
                   sum(n) FILTER ({here} AND {first} <> {second} AND regexp_matches(v, '^\\D*\\d+\\.')),
                   sum(n), sum(n) FILTER (regexp_full_match(v, '{_BARE}')),
                   coalesce(min(v) FILTER ({here} AND {first} <> {second}), min(v) FILTER ({here}))
            FROM ways"""
    ).fetchall()
    *counted, example = rows[0]
    *counts, days_first, months_first, telling, dotted, n, bare = (int(c or 0) for c in counted)
    middle = median(con, relation, _number(text(column))) if counts[0] or counts[1] else None
    has = frozenset(n for n, c in zip(_SHAPES, counts, strict=True) if c)
    if american and example and example.endswith(("AM", "PM")) and telling and not days_first:
        order = order or "mdy"
    found = order or _date_order(days_first, months_first, telling, dotted, example, name)
    # Eight digits are a date, and an epoch is not that short: one reading a column.
    return TimeHabit(
        _divisor(middle),
        found,
        zone,
        has,
        max(counts) == n,
        bare == counts[list(_SHAPES).index("iso")],
        *(_worded(con) if has & {"local", "named"} or bare < counts[list(_SHAPES).index("iso")] else ()),
    )


def _worded(con: duckdb.DuckDBPyConnection) -> tuple[bool, ...]:
    """`zoned`, `weekday`, `foreign`, `worded` and `croatian` of the `ways`."""
    zone = f"{_CLOCK} ?{_ZONE}( ?\\(.*\\))?$|\\d {_ZONE} \\d{{4}}$"
    weekday = f"^{_LETTER}{{2,12}}\\.?,? +({_LETTER}|\\d+(\\.|st|nd|rd|th)? +{_LETTER}|\\d+[./-]\\d)"
    months = "|".join(_MONTHS.values())
    found = con.execute(
        f"""SELECT bool_or(regexp_matches(v, {quote(zone)})), bool_or(regexp_matches(v, {quote(weekday)})),
                   bool_or(regexp_matches(lower(strip_accents(v)), '\\b({months})\\b')),
                   bool_or(regexp_matches(v, {quote(f"{_BESIDE_CLOCK}|{_HOURS}")})),
                   bool_or(regexp_matches(lower(strip_accents(v)), '\\b({_CROATIAN})\\b'))
            FROM ways"""
    ).fetchall()[0]
    return tuple(map(bool, found))


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


def _divisor(middle: float | None) -> int:
    if middle is None or middle < 1e11:
        return 0 if middle is not None and 20_000 <= middle <= 80_000 else 1
    return 1_000 if middle < 1e14 else 1_000_000 if middle < 1e17 else 1_000_000_000
