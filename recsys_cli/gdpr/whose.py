"""Tell the rows of some people from those of others, and from those of others that only mention them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from .containers import OTHERS, is_visit, names_people
from .matching import Matcher
from .needles import Needle, is_email, is_telling, is_tiny
from .people import Person, names_of

ERASED = "[erased]"
# What a column holds that is called after customers and does not say whose the row is: "Customer Note", `user_agent`.
_FREE = ("note", "comment", "message", "remark", "agent", "notiz", "kommentar", "bemerkung", "nachricht", "hinweis")


class Standing(enum.Enum):
    """What a row has to do with them."""

    NOTHING = 0
    MENTIONED = 1
    THEIRS = 2


@dataclass(frozen=True)
class Whose:
    """Tells the rows of some people from those of others.

    Parameters
    ----------
    telling
        What means them wherever it stands.
    short
        Short ids of theirs, which mean them only where a customer is named.
    words
        Those of them with a letter, and not tiny: as a word of a text they mention the person. Digits are also prices
        and order numbers.
    names
        All their names.
    columns
        Columns that name customers, by what ingest understood; those whose names say so count in any case.
    sessions
        Short sessions of guests who are one of them: in a row that names no customer, one of these says whose it is.
    """

    telling: Matcher
    short: frozenset[str]
    words: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    columns: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()

    @staticmethod
    def of(needles: Sequence[Needle], people: Sequence[Person], sessions: Iterable[str] = ()) -> Whose:
        """From `proving.needles_of` these people."""
        names = tuple(dict.fromkeys(names_of(people)))
        short = frozenset(n for n in names if not is_telling(n))
        words = frozenset(n for n in short if not is_tiny(n) and has_letter(n))
        telling = Matcher([n for n in needles if n.telling])
        return Whose(telling, short, words, names, sessions=frozenset(s for s in sessions if not is_telling(s)))

    def knowing(self, columns: Iterable[str]) -> Whose:
        """The same, for a file with these columns that name customers."""
        return replace(self, columns=frozenset(columns))

    def hits(self, data: bytes) -> list[int]:
        """Offsets of everything that may be theirs, sorted; a short id is only a candidate."""
        found = {hit.offset for hit in self.telling.find(data)}
        # One by one, and what stands beside them looked at afterwards: a pattern of all takes ten times as long.
        for word in {form for name in self.short | self.sessions for form in _bytes_of(name)}:
            found.update(words_in(data, word))
        return sorted(found)

    def is_named(self, column: str) -> bool:
        """Whether a column says whose a row is."""
        if column in self.columns:
            return True
        return names_people(column) and not any(word in column.lower() for word in _FREE)

    def is_theirs(self, value: object) -> bool:
        """Whether a value of a column that names customers is a short id of theirs."""
        return not self.short.isdisjoint(_forms(value))

    def is_guest(self, column: str, value: object) -> bool:
        """Whether a value is the session of a guest who is one of them; whose the row is if it names no customer."""
        return is_visit(column) and not self.sessions.isdisjoint(_forms(value))

    def is_named_in(self, data: bytes) -> bool:
        """Whether text means them without a doubt."""
        return next(self.telling.find(data), None) is not None

    def is_whole(self, text: str) -> bool:
        """Whether a text is one of their unmistakable names, and nothing else."""
        data = text.strip().encode("utf-8", "surrogatepass")
        return any(hit.offset == 0 and len(hit.needle.data) == len(data) for hit in self.telling.find(data))

    def is_mentioned_in(self, text: str, column: str = "") -> bool:
        """Whether a short id of theirs stands in a text as a word; digits alone are taken for something else."""
        if not self.words or column.lower() in OTHERS:
            return False
        data = text.encode("utf-8", "surrogatepass")
        return any(next(words_in(data, name.encode("utf-8", "surrogatepass")), None) is not None for name in self.words)

    def named_among(self, values: Sequence[bytes]) -> set[int]:
        """Which of many values mean them without a doubt; one search for all."""
        return _places(values, [hit.offset for hit in self.telling.find(b"\n".join(values))])

    def candidates_among(self, values: Sequence[bytes]) -> set[int]:
        """Which of many values may be theirs, see `hits`; one search for all."""
        return _places(values, self.hits(b"\n".join(values)))

    def standing(self, cells: Iterable[tuple[str, Any]], *, telling: bool) -> Standing:
        """Whose a row is: theirs when a column that names its customer says so, and no row of somebody else's.

        In a row that names no customer at all, a cell that is their name and nothing else counts as well.

        Parameters
        ----------
        cells
            Column and value.
        telling
            Whether something in the row means them without a doubt.
        """
        filled = [(column, value, text) for column, value in cells if (text := text_of(value)).strip()]
        named = [(value, text) for column, value, text in filled if self.is_named(column)]
        if any(self.is_theirs(value) for value, _ in named):
            return Standing.THEIRS
        if not named and any(self.is_guest(column, value) for column, value, _ in filled):
            return Standing.THEIRS
        if telling:
            if any(self.is_named_in(text.encode("utf-8", "surrogatepass")) for _, text in named):
                return Standing.THEIRS
            if not named and any(self.is_whole(text) for _, _, text in filled):
                return Standing.THEIRS
            return Standing.MENTIONED
        if any(self.is_mentioned_in(text, column) for column, _, text in filled):
            return Standing.MENTIONED
        return Standing.NOTHING

    def without_names(self, text: str) -> str:
        """A text of ours with their names left out; a tiny one only where it is the whole text."""
        if text.strip() in self.short:
            return ERASED
        for name in sorted(self.names, key=len, reverse=True):
            if not is_tiny(name):
                case = re.IGNORECASE if is_email(name) else re.NOFLAG
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", ERASED, text, flags=case)
        return ERASED if self.is_named_in(text.encode("utf-8", "surrogatepass")) else text


def _forms(value: object) -> tuple[str, str]:
    """The text of a cell, and the number that it was before a spreadsheet made 13085.0 of it."""
    text = text_of(value).strip()
    return text, re.sub(r"\.0+$", "", text)


def has_letter(name: str) -> bool:
    """Whether an id is more than digits and what stands between them."""
    return any(character.isalpha() for character in name)


def text_of(value: object) -> str:
    """A value as the text that somebody would search for."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and value == int(value):
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else "" if value is None else str(value)


def _places(values: Sequence[bytes], offsets: Sequence[int]) -> set[int]:
    """In which of some values, joined by one byte, these offsets are."""
    ends = np.cumsum([len(value) + 1 for value in values])
    return set(np.searchsorted(ends, offsets, side="right").tolist())


def words_in(data: bytes, word: bytes) -> Iterator[int]:
    """Where a word stands that is no part of a longer one."""
    for match in re.finditer(re.escape(word), data):
        at, end = match.span()
        if not _is_word(data[max(at - 1, 0) : at]) and not _is_word(data[end : end + 1]):
            yield at


def _is_word(byte: bytes) -> bool:
    return byte.isalnum() or byte == b"_"


def _bytes_of(name: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "cp1252"):
        try:
            yield name.encode(encoding)
        except UnicodeEncodeError:
            continue
