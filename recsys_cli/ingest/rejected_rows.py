"""Rows that were not taken: kept with their reason and content, listed, exported, and taken again when fixed.

Only columns that something is read from are kept, and e-mail addresses in them as keyed hashes: a row that waits to be
fixed is no reason to store a customer's address and telephone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb

from . import value_parsing
from .checks import REJECTED, Check
from .columns import EVENTS, ID_COLUMN
from .import_report import Reason, reasons_from
from .readers import Source
from .refusals import no_times
from .understanding import Understanding

BROKEN_LINE = ("broken_line", "It has more or fewer fields than the header, or is not a JSON object.")
EXAMPLES = 3


def reasons_of(con: duckdb.DuckDBPyConnection, checks: Sequence[Check], source: Source) -> tuple[Reason, ...]:
    """Counts and examples of what was rejected, from `checked` and `broken`."""
    counted = con.execute(
        f"""SELECT reason, count(*), list({{'r': row_number, 'd': detail}} ORDER BY row_number)[1:{EXAMPLES}]
            FROM (SELECT * FROM checked WHERE reason > 0) GROUP BY reason"""
    ).fetchall()
    rows = [
        (checks[n - 1].name, checks[n - 1].sentence, checks[n - 1].severity, count, [(e["r"], e["d"]) for e in found])
        for n, count, found in counted
    ]
    if source.broken:
        first = source.broken[:EXAMPLES]
        # By DuckDB, whose expressions take linear time: `re` would take minutes for a line of 200,000 NUL bytes.
        masked = con.execute(f"SELECT {_masked('line')} FROM unnest(?) t(line)", [[b.text for b in first]]).fetchall()
        shown = [(b.row_number, f"{b.why}: {text[:80]}") for b, (text,) in zip(first, masked, strict=True)]
        rows.append((*BROKEN_LINE, REJECTED, len(source.broken), shown))
    return reasons_from(rows)


def explain_numbered(
    con: duckdb.DuckDBPyConnection, reasons: Sequence[Reason], source: Source, understood: Understanding
) -> tuple[Reason, ...]:
    """The reasons; where all times of a file of events are small whole numbers (of rows, say), with what to do."""
    at = understood.columns.get("ts", ())
    of_times = sum(r.rows for r in reasons if r.name in _NO_TIMES)
    if understood.kind != EVENTS or len(at) != 1 or not of_times:
        return tuple(reasons)
    text = f"nullif(c{at[0]}::VARCHAR, '')"
    filled, small = con.execute(
        f"SELECT count({text}), count(*) FILTER (regexp_full_match({text}, '\\d{{1,7}}(\\.0+)?')) FROM raw"
    ).fetchall()[0]
    if small < filled or of_times < filled:
        return tuple(reasons)  # some are times, so these are too, though wrong ones
    found = con.execute(f"SELECT {text} FROM raw WHERE {text} IS NOT NULL ORDER BY row_number LIMIT 100").fetchall()
    what = no_times(source.columns[at[0]], [value for (value,) in found])
    advice = f"{what}; where the export has none, say one date for all rows with --date."
    return tuple(replace(r, sentence=f"{r.sentence[:-1]}: {advice}") if r.name in _NO_TIMES else r for r in reasons)


_NO_TIMES = ("bad_time", "old_time")


def keep_rejected(
    con: duckdb.DuckDBPyConnection,
    batch_id: int,
    name: str,
    mark: str,
    checks: Sequence[Check],
    source: Source,
    understood: Understanding,
    secret: str | None,
) -> None:
    """Write the rejected rows of `checked` and `broken`; those of the same content read before are replaced.

    Parameters
    ----------
    mark
        See `pipeline._mark`; before its colon stands the hash of the file's content.
    secret
        For hashing e-mail addresses; None keeps them.
    """
    content = mark.split(":")[0]
    con.execute(
        "DELETE FROM rejected WHERE batch_id IN (SELECT batch_id FROM batches WHERE split_part(content_sha256, ':', 1) "
        "= ? AND kind = ? AND batch_id <> ?)",
        [content, understood.kind, batch_id],
    )
    names = ", ".join(value_parsing.quote(c.name) for c in checks)
    # A row that came back and is still wrong keeps its number, so that the same file can be fixed further.
    given = f"try_cast(c{source.columns.index(ID_COLUMN)} AS BIGINT)" if ID_COLUMN in source.columns else "NULL::BIGINT"
    detail, raw = _kept(checks, source, understood, secret)
    last = con.execute("SELECT coalesce(max(rejected_id), 0) FROM rejected").fetchall()[0][0]
    con.execute(
        f"""INSERT INTO rejected (rejected_id, batch_id, file, row_number, reason, detail, raw)
            SELECT coalesce(given, {last} + row_number() OVER (ORDER BY row_number)), ?, ?, row_number, reason,
                   detail, raw
            FROM (
              SELECT {given} AS given, k.row_number, [{names}][k.reason] AS reason, {detail} AS detail, {raw} AS raw
              FROM (SELECT row_number, reason, detail FROM checked WHERE reason > 0) k JOIN raw USING (row_number)
              UNION ALL
              SELECT NULL, row_number, {value_parsing.quote(BROKEN_LINE[0])}, why,
                     CASE WHEN row_number NOT IN ({_broken_about(checks)})
                     THEN json_object('line', {_masked("line") if secret else "line"})::VARCHAR END
              FROM broken
            ) fresh
            WHERE raw IS NULL OR NOT EXISTS (
              FROM rejected old WHERE old.raw = fresh.raw AND old.reason = fresh.reason AND old.batch_id <> ?
            )
            ORDER BY row_number""",
        [batch_id, name, batch_id],
    )


def _kept(checks: Sequence[Check], source: Source, understood: Understanding, secret: str | None) -> tuple[str, str]:
    """What is kept of a rejected row: the offending value and, as JSON, the columns that are read; nothing of the
    rows about people who were erased."""
    columns = understood.columns
    used = sorted({i for at in columns.values() for i in at})
    texts = {i: private_text(f"c{i}::VARCHAR", secret) for i in used}
    pairs = ", ".join(f"{value_parsing.quote(source.columns[i])}, {texts[i]}" for i in used)
    detail, raw = private_text("detail", secret), f"json_object({pairs})::VARCHAR"
    erased = [str(n) for n, c in enumerate(checks, 1) if c.name == "erased"]
    if not erased:
        return detail, raw
    alive = f"reason NOT IN ({', '.join(erased)})"
    return f"CASE WHEN k.{alive} THEN {detail} END", f"CASE WHEN k.{alive} THEN {raw} END"


def _broken_about(checks: Sequence[Check]) -> str:
    """SQL: numbers of the broken lines in which somebody is named of whom nothing is to be kept."""
    naming = " OR ".join(c.names for c in checks if c.names)
    if not naming:
        return "SELECT 0 WHERE false"
    between, commas = value_parsing.quote(_BETWEEN), value_parsing.quote("," * len(_BETWEEN))
    words = f"string_split(translate(line, {between}, {commas}), ',')"
    # Each different word is asked for once: in a file of broken lines alone, most words are in all of them. Without the
    # limit and the list, which leave out nothing, the question is moved to where all words are.
    return f"""WITH words AS MATERIALIZED (
                 SELECT row_number, trim(word) AS word
                 FROM (SELECT row_number, unnest({words}) AS word FROM broken))
               SELECT row_number FROM words WHERE list_contains((
                 SELECT coalesce(list(word), [])
                 FROM (SELECT DISTINCT word FROM words LIMIT {1 << 40}) WHERE {naming}), word)"""


_BETWEEN = ";|\t\"'{}[]:"  # and the comma
_ADDRESS = r"[^\s@,;|<>]+@[^\s@,;|<>]+\.[^\s@,;|<>]+"


def private_text(sql: str, secret: str | None) -> str:
    """The text with e-mail addresses hashed where they are all of it, and taken out where they are a part."""
    if secret is None:
        return sql
    hashed = value_parsing.pseudonym(f"({sql})", secret, _masked(sql))
    return f"CASE WHEN contains({sql}, '@') THEN {hashed} ELSE {sql} END"


def _masked(sql: str) -> str:
    return f"regexp_replace({sql}, {value_parsing.quote(_ADDRESS)}, '(e-mail address)', 'g')"


def forget_mended(con: duckdb.DuckDBPyConnection, source: Source) -> int:
    """Forget the rejected rows that this file brings back (those with `_rejected_id`): they are judged again."""
    if ID_COLUMN not in source.columns:
        return 0
    at = source.columns.index(ID_COLUMN)
    returned = f"SELECT try_cast(c{at} AS BIGINT) FROM raw WHERE c{at} IS NOT NULL"
    return int(con.execute(f"DELETE FROM rejected WHERE rejected_id IN ({returned})").fetchall()[0][0])
