"""How long views took, as analytics tools write it: in seconds or milliseconds by the column's name, or as 1:05."""

from __future__ import annotations

import re

import duckdb

from ..schema import VIEW
from ..view_durations import LONGEST_MS
from .columns import plain
from .value_parsing import median, quote

_IN_MS = re.compile(r".*(ms|msec|msecs|millis|milliseconds?|millisekunden)$")
_IN_SECONDS = re.compile(r".*(_s|secs?|seconds|sekunden|secondes|segundos|secondi)$")
_LONG = 7_200  # a usual view of two hours would be no seconds
_NUMBER = r"\d+(\.\d+)?([eE]\+?\d+)?"
_COMMA = r"\d+,\d{1,2}"
_CLOCK = r"(\d{1,2}:)?\d{1,2}:\d{2}(\.\d+)?"


def unit_ms(con: duckdb.DuckDBPyConnection, name: str, text: str) -> int:
    """Milliseconds in one of the column's numbers: 1 or 1,000, by its name, else by how large they are.

    Parameters
    ----------
    name
        What the file calls it: `engagement_time_msec`, `time_on_page`.
    text
        SQL over `raw`: the values as text.
    """
    called = plain(name)
    if _IN_MS.fullmatch(called):
        return 1
    if _IN_SECONDS.fullmatch(called):
        return 1000
    middle = median(con, "raw", f"try_cast({text} AS DOUBLE)")
    return 1 if middle is not None and middle > _LONG else 1000


def milliseconds(text: str, unit: int) -> str:
    """SQL: a duration in whole milliseconds, up to a day; null where it cannot be read, or cannot be one."""
    hours = f"coalesce(try_cast(regexp_extract({text}, '^(\\d{{1,2}}):\\d{{1,2}}:', 1) AS DOUBLE), 0)"
    minutes = f"try_cast(regexp_extract({text}, '(\\d{{1,2}}):\\d{{2}}(\\.\\d+)?$', 1) AS DOUBLE)"
    seconds = f"try_cast(regexp_extract({text}, ':(\\d{{2}}(\\.\\d+)?)$', 1) AS DOUBLE)"
    value = (
        f"CASE WHEN regexp_full_match({text}, {quote(_NUMBER)}) THEN try_cast({text} AS DOUBLE) * {unit} "
        f"WHEN regexp_full_match({text}, {quote(_COMMA)}) THEN try_cast(replace({text}, ',', '.') AS DOUBLE) * {unit} "
        f"WHEN regexp_full_match({text}, {quote(_CLOCK)}) THEN ({hours} * 3600 + {minutes} * 60 + {seconds}) * 1000 END"
    )
    return f"CASE WHEN {value} <= {LONGEST_MS} THEN round({value})::INTEGER END"


def of_views(duration: str) -> str:
    """SQL over rows with their `event_type`: a view's duration; other events have none."""
    return f"CASE WHEN event_type = {quote(VIEW)} THEN {duration} END"


def duration_notes(con: duckdb.DuckDBPyConnection, name: str, text: str, unit: int) -> list[str]:
    """What was read of the durations in `checked`, and what could not be; `text` is SQL over `raw`."""
    read, unread, shown = con.execute(
        f"SELECT count(duration_ms), count(*) FILTER (duration_ms IS NULL), "
        f"list_sort(list(DISTINCT v) FILTER (duration_ms IS NULL))[1:3] "
        f"FROM (SELECT row_number, {text} AS v FROM raw) JOIN checked USING (row_number) "
        f"WHERE v IS NOT NULL AND reason = 0 AND event_type = {quote(VIEW)}"
    ).fetchall()[0]
    notes = []
    if read:
        words = "milliseconds" if unit == 1 else "seconds"
        notes.append(f"How long views took is read from {name!r}, as {words}.")
    if unread:
        what = "1 duration" if unread == 1 else f"{unread:,} durations"
        values = ", ".join(repr(v[:30]) for v in shown)
        view = "that view has" if unread == 1 else "those views have"
        notes.append(f"{what} in {name!r} cannot be read ({values}): {view} none.")
    return notes
