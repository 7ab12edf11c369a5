"""Who is meant: from what somebody typed to every name that our files may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..artifacts import Artifacts, Spool
from ..errors import UsageError
from ..identity import pseudonym, user_key
from ..store import Store
from ..store.personal_data import in_other_case
from .needles import is_email, spellings
from .spooled import find_lines

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
    def of(asked: str, secret: str, spelled: Iterable[str] = ()) -> Person:
        """The person somebody asks for by customer id or e-mail.

        Parameters
        ----------
        spelled
            Ids that are held; those that are the asked-for e-mail in another case are theirs, see `held_in_any_case`.

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
        emails = {form.lower() for form in typed if is_email(form)}
        typed += [one for one in spelled if one.lower() in emails]
        ids = list(dict.fromkeys([*typed, *(pseudonym(secret, one) for one in typed if is_email(one))]))
        return Person(tuple(ids), tuple(ids), tuple(user_key(secret, i) for i in ids))


def held_in_any_case(store: Store, spool: Spool, people: Sequence[Person]) -> list[str]:
    """Customers of the store, and of lines under way to it, whose ids are e-mails of these people in another case.

    A shop that keeps addresses (`ingest.emails`) may hold one under several ids, and all of them reach one person.
    """
    emails = [name for name in names_of(people) if is_email(name)]
    if not emails:
        return []
    lines, _ = find_lines(spool, emails)
    held = {str(line["user_id"]).strip() for line in lines if line.get("user_id")}
    if store.exists():
        with store.reading() as con:
            held |= {one for ids in in_other_case(con, emails).values() for one in ids}
    low, known = {name.lower() for name in emails}, set(emails)
    return sorted(one for one in held if one.lower() in low and one not in known)


def held_people(store: Store, artifacts: Artifacts, asked: Sequence[str], secret: str) -> list[Person]:
    """Those asked for, each under every spelling that is held.

    Raises
    ------
    UsageError
        Nothing was named.
    """
    people = [Person.of(one, secret) for one in asked]
    spelled = held_in_any_case(store, Spool(artifacts.spool_dir), people)
    return [Person.of(one, secret, spelled) for one in asked] if spelled else people


def ids_of(people: Sequence[Person]) -> list[str]:
    """All their ids."""
    return [i for p in people for i in p.ids]


def names_of(people: Sequence[Person]) -> list[str]:
    """All their names."""
    return [n for p in people for n in p.names]
