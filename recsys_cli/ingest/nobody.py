"""Words that stand where a customer's number should, and mean nobody: the till's, the guest's, the spreadsheet's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ..store.sql import literals
from .value_parsing import MISSING

# As they are compared: lower case, without accents, spaces for punctuation.
NOBODY = frozenset(
    """0|1|guest|guests|guest user|guest customer|guest checkout|gast|gaste|
    gastkunde|gastbesteller|gast bestellung|invite|
    client invite|invitado|ospite|convidado|visitante|gosc|gjest|gaest|vieras|anonymous|anonymous customer|
    anonymous user|anonym|anonyme|anonimo|anoniem|anonymiseret|walk in|walk in customer|walkin|walkin customer|
    walk in client|passant|laufkunde|laufkundschaft|barkunde|barverkauf|diverse|diverse kunden|tageskunde|
    kassenkunde|cash|cash sale|cash customer|counter|counter sale|counter customer|retail customer|default customer|
    client de passage|client comptoir|client divers|cliente ocasional|cliente contado|cliente de paso|
    cliente generico|consumidor final|cliente banco|cliente occasionale|no customer|none|no name|not set|
    unknown|unknown customer|unbekannt|inconnu|desconocido|sconosciuto|onbekend|nicht angemeldet|not logged in|
    unregistered|unassigned|deleted user|geloschter benutzer""".replace("\n", "")
    .replace("    ", "")
    .split("|")
) - {"1"}
_ONLY_SIGNS = re.compile(r"[-–—_.]+|-1|0+|0\.0+")


def is_nobody(value: str, more: Sequence[str] = ()) -> bool:
    """Whether this stands for no customer."""
    return (
        value.strip().lower() in MISSING
        or bool(_ONLY_SIGNS.fullmatch(value.strip()))
        or _plain(value) in NOBODY | {_plain(m) for m in more}
    )


def _plain(value: str) -> str:
    bare = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    return " ".join(re.findall(r"[a-z0-9]+", bare))


def nobodies_sql(ids: str, more: Sequence[str] = ()) -> str:
    """SQL: the different texts of column `id` of the query `ids` that stand for no customer.

    Most ids have a digit above 0, and are not looked at further: to understand a text is slow.
    """
    plain = "trim(regexp_replace(lower(strip_accents(id)), '[^a-z0-9]+', ' ', 'g'))"
    own = sorted({_plain(m) for m in more})
    numbered = literals(w for w in own if re.search("[1-9]", w))
    possible = "NOT regexp_matches(id, '[1-9]') OR id = '-1'" + (f" OR {plain} IN ({numbered})" if numbered else "")
    signs = f"regexp_full_match(id, '{_ONLY_SIGNS.pattern}')"
    return (
        f"WITH few AS MATERIALIZED (SELECT DISTINCT id FROM ({ids}) WHERE {possible}) SELECT id FROM few "
        f"WHERE length(id) < 40 AND ({signs} OR {plain} IN ({literals(sorted(NOBODY.union(own)))})) ORDER BY id"
    )
