"""Who is meant: from what a letter says to the whole cells that name the person, and to nobody else.

A customer is named by the column `user_id`, a guest by the session of rows that name no customer. An e-mail address
also names the customer whose profile has it in an attribute that is an identifier, such as `email`: most letters come
from an address, and most shops count customers by number. What a profile says about somebody else (`referred_by`) names
nobody.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from ..artifacts import Artifacts, Spool, suppressed
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact, UsageError
from ..identity import UserKeys, find_key, load_secret, pseudonym, user_key
from ..ingest.columns import USER_FIELDS, plain, tier_of
from ..schema import guest_id
from ..settings import Settings
from ..store import Store
from ..store.personal_data import (
    cell,
    guests_named,
    in_other_case,
    known_ids,
    named_in,
    profiles_with,
    rejected_of,
    sessions_of,
)
from . import received

Keys = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Person:
    """One person, under everything that names them.

    Parameters
    ----------
    asked
        What they were asked for by: customer ids, e-mails, a session.
    ids
        Customer ids under which rows may stand, in every spelling that means the same.
    sessions
        Sessions of guests that are theirs.
    known
        Whether anything is held of them: a row, a line under way to one, or a history in a version.
    resolved
        Customers that an address was found in the profile of, each with the attribute that has it.
    also
        Customers whose profile has the address, though it is a customer's id itself: they may be somebody else, and are
        only named.
    meant
        Customers whose ids differ from an unknown one in case alone.
    """

    asked: tuple[str, ...]
    ids: tuple[str, ...]
    sessions: tuple[str, ...] = ()
    known: bool = False
    resolved: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()
    meant: tuple[str, ...] = ()

    def keys(self, secret: str) -> Keys:
        """Keyed hashes of the customer and of the guest; see `identity`."""
        return tuple(user_key(secret, one) for one in (*self.ids, *map(guest_id, self.sessions)))

    @property
    def names(self) -> tuple[str, ...]:
        """Every cell that names them."""
        return tuple(dict.fromkeys((*self.ids, *self.sessions)))

    @property
    def spelled(self) -> tuple[str, ...]:
        """Ids that are held and were not typed like that: the address in another case, or the number as 13085.0."""
        typed = {form for one in self.asked for form in spellings(one)} | {one for one, _ in self.resolved}
        return tuple(one for one in self.ids if one not in typed and not one.startswith("mail-"))


def is_email(name: str) -> bool:
    """Whether the identifier is the same in any case: erin@example.org is Erin@Example.org."""
    return "@" in name


def spellings(asked: str) -> tuple[str, ...]:
    """The ways of writing an identifier that mean the same person.

    Raises
    ------
    UsageError
        Nothing was named.
    """
    name = unicodedata.normalize("NFC", asked.strip())
    if not name:
        raise UsageError("No customer was named.", "Give the customer id, or the e-mail it stands for.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError("A customer was named in a broken encoding.", "Type the name in UTF-8.") from None
    number = cell(name)  # a spreadsheet writes 13085 as 13085.0, and so may have an export of a mixed column
    forms = [name, asked.strip(), unicodedata.normalize("NFD", name), number]
    forms += [f"{number}.0"] if number.isdecimal() else []
    forms += [name.lower(), name.upper()] if is_email(name) else []
    return tuple(dict.fromkeys(forms))


def ids_for(asked: Iterable[str], secret: str) -> tuple[str, ...]:
    """Customer ids that these names stand for; of an e-mail, its pseudonym as well."""
    forms = [form for one in asked for form in spellings(one)]
    return tuple(dict.fromkeys([*forms, *(pseudonym(secret, one) for one in forms if is_email(one))]))


class People:
    """Finds people in one shop.

    Parameters
    ----------
    settings
        Where the list of erased people is.
    """

    def __init__(self, store: Store, artifacts: Artifacts, settings: Settings) -> None:
        self.store = store
        self.secret = load_secret(settings.db, create=not artifacts.names())
        self.spool = Spool(artifacts.spool_dir)
        self._served = list(_tables(artifacts))
        self._listed = {entry.hash for entry in suppressed.entries(settings.db)}

    def find(self, asked: Sequence[Sequence[str]]) -> list[Person]:
        """The people who are asked for, each by one or more names; the database is read once for all of them.

        Raises
        ------
        UsageError
            Nothing was named.
        StoreBusy, StoreError
        """
        people = [Person(tuple(names), ids_for(names, self.secret)) for names in asked]
        if not self.store.exists():
            seen = received.look(self.spool, people)
            return [self._with_sessions(p, s, _Rows()) for p, s in zip(people, seen, strict=True)]
        with self.store.reading() as con:
            rows = _Rows.of(con, people)
            people = [rows.resolved(p) for p in people]
            seen = received.look(self.spool, people)
            rows.read(con, people, {session for s in seen for session in s.sessions})
            people = [self._with_sessions(p, s, rows) for p, s in zip(people, seen, strict=True)]
            unknown = [p.asked[0].strip() for p in people if not p.known]
            meant = in_other_case(con, unknown) if unknown else {}
        return [p if p.known else replace(p, meant=tuple(meant.get(p.asked[0].strip(), ()))) for p in people]

    def _with_sessions(self, person: Person, seen: received.Seen, rows: _Rows) -> Person:
        """With the sessions that are theirs: those in which only they were named or, of nobody's id, the guest's own.

        A customer's number may be somebody else's session: a customer, known or erased, is meant as one.
        """
        ids = {*person.ids, *seen.ids}
        served = self._in_versions(ids)
        held = bool(rows.held & ids or seen.ids or served)
        mine = {session for session, user in rows.visits.items() if user in ids}
        mine |= {session for session in seen.sessions if rows.named.get(session, set()) <= ids}
        if not held and not self._erased_as_customer(ids):
            mine |= (rows.guests & ids) | seen.guests
            mine |= {one for one in ids if self._in_versions([guest_id(one)])}
        known = held or bool(mine) or bool(rows.refused & {cell(one) for one in ids})
        ordered = tuple(dict.fromkeys((*person.ids, *sorted(seen.ids))))
        return replace(person, ids=ordered, sessions=tuple(sorted(mine)), known=known)

    def histories_of(self, person: Person) -> int:
        """How many histories of theirs versions held when this was made."""
        wanted = person.keys(self.secret)
        return sum(find_key(keys, key) >= 0 for keys in self._served for key in wanted)

    def _in_versions(self, owners: Iterable[str]) -> bool:
        """Whether a version has a history of one of these customers, or of the guest of a `schema.guest_id`."""
        wanted = [user_key(self.secret, owner) for owner in owners]
        return any(find_key(keys, key) >= 0 for keys in self._served for key in wanted)

    def _erased_as_customer(self, ids: Iterable[str]) -> bool:
        def listed(owner: str) -> bool:
            return suppressed.hash_of(self.secret, user_key(self.secret, owner)) in self._listed

        return bool(self._listed) and any(listed(one) and not listed(guest_id(one)) for one in ids)


@dataclass
class _Rows:
    """What the database says of the people who are looked for.

    Parameters
    ----------
    held
        Ids with rows.
    profiles
        See `personal_data.profiles_with`.
    visits, named
        Session to the one customer named in it; session to all who are.
    guests
        Names that are sessions of guests.
    refused
        Cells that name the customer or the session of a rejected row.
    """

    held: set[str] = field(default_factory=set)
    cased: dict[str, list[str]] = field(default_factory=dict)
    profiles: list[tuple[str, str, str]] = field(default_factory=list)
    visits: dict[str, str] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    guests: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    @staticmethod
    def of(con: duckdb.DuckDBPyConnection, people: Sequence[Person]) -> _Rows:
        emails = [one for p in people for one in p.ids if is_email(one)]
        addressed = [one for p in people if any(map(is_email, p.asked)) for one in p.ids]
        return _Rows(
            held=known_ids(con, [one for p in people for one in p.ids]),
            cased=in_other_case(con, emails) if emails else {},
            profiles=profiles_with(con, addressed),
        )

    def resolved(self, person: Person) -> Person:
        """With the address in every case in which it is held, and with the customers in whose profile it is."""
        cased = {one for i in person.ids for one in self.cased.get(i, ())} - {*person.ids}
        person = replace(person, ids=(*person.ids, *sorted(cased)))
        wanted = {cell(i) for i in person.ids}
        found = [(u, k) for u, k, v in self.profiles if v in wanted and u not in person.ids and is_identifier(k)]
        if not found:
            return person
        if (self.held | cased) & {*person.ids}:
            return replace(person, also=tuple(sorted({user for user, _ in found})))
        ids = [form for user, _ in found for form in spellings(user)]
        return replace(person, ids=tuple(dict.fromkeys((*person.ids, *ids))), resolved=tuple(found))

    def read(self, con: duckdb.DuckDBPyConnection, people: Sequence[Person], in_spool: set[str]) -> None:
        ids = [one for p in people for one in p.ids]
        self.held = known_ids(con, ids)
        self.visits, self.guests = sessions_of(con, ids), guests_named(con, ids)
        self.named = named_in(con, sorted(in_spool))
        self.refused = set(rejected_of(con, ids, ids).values())


def _tables(artifacts: Artifacts) -> Iterator[UserKeys]:
    for name in artifacts.names():
        try:
            yield read_bundle(artifacts.versions_dir / name).keys
        except CorruptArtifact:
            continue  # an erasure removes it


def is_identifier(attribute: str) -> bool:
    """Whether an attribute of a profile names the profile's own person, as ingest tells a file's columns."""
    return tier_of(USER_FIELDS[0], plain(attribute)) is not None
