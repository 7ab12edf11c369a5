"""Who is meant: from what somebody typed to every name that our files may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..identity import pseudonym, user_key
from .needles import spellings

_FLOAT = re.compile(r"([+-]?\d+)\.0+")


@dataclass(frozen=True)
class Person:
    """One person under all their names.

    Parameters
    ----------
    ids
        Customer ids under which rows of the store may stand, in every spelling that the search looks for; of an
        e-mail, also its pseudonym.
    names
        What may name them in text.
    keys
        Keyed hash of each id; see `identity`.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    keys: tuple[tuple[int, int], ...]

    @staticmethod
    def of(asked: str, secret: str) -> Person:
        """The person somebody asks for by customer id or e-mail.

        Raises
        ------
        UsageError
            Nothing was named.
        """
        name = unicodedata.normalize("NFC", asked.strip())
        if not name:
            raise UsageError("No customer was named.", "Give the customer id, or the e-mail it stands for.")
        whole = _FLOAT.fullmatch(name)  # a spreadsheet's way of writing a customer number
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UsageError("A customer was named in a broken encoding.", "Type the name in UTF-8.") from None
        typed = [form for one in (name, asked.strip(), *([whole[1]] if whole else [])) for form in spellings(one)]
        ids = list(dict.fromkeys([*typed, *(pseudonym(secret, one) for one in typed if "@" in one)]))
        return Person(tuple(ids), tuple(ids), tuple(user_key(secret, i) for i in ids))


def ids_of(people: Sequence[Person]) -> list[str]:
    """All their ids."""
    return [i for p in people for i in p.ids]


def names_of(people: Sequence[Person]) -> list[str]:
    """All their names."""
    return [n for p in people for n in p.names]
