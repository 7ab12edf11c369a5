"""Who is meant: from what a letter says to the whole cells that name the person, and to nobody else.

A customer is named by the column `user_id`, a guest by the session of rows that name no customer. An e-mail address
also names the customer whose profile has it in an attribute that is an identifier, such as `email`: most letters come
from an address, and most shops count customers by number. What a profile says about somebody else (`referred_by`) names
nobody.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import duckdb

from ..artifacts import Artifacts, Spool, suppressed
from ..artifacts.forgetting import readable
from ..errors import UsageError
from ..identity import find_key, load_secret, pseudonym, user_key
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
    """One person, under everything that names them."""

    asked: tuple[str, ...]  # what they were asked for by: customer ids, e-mails, a session
    ids: tuple[str, ...]  # customer ids under which rows may stand, in every spelling that means the same
    sessions: tuple[str, ...] = ()  # sessions of guests that are theirs
    known: bool = False  # whether anything is held of them: a row, a line under way to one, or a history in a version
    # customers that an address was found in the profile of, each with the attribute that has it
    resolved: tuple[tuple[str, str], ...] = ()
    # customers whose profile has the address, though it is a customer's id itself: they may be somebody else, and
    # are only named
    also: tuple[str, ...] = ()
    meant: tuple[str, ...] = ()  # customers whose ids differ from an unknown one in case alone

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
    """Finds people in one shop."""

    def __init__(self, store: Store, artifacts: Artifacts, settings: Settings) -> None:
        self.store = store
        self.secret = load_secret(settings.db, create=not artifacts.names())
        self.spool = Spool(artifacts.spool_dir)
        self._served = [bundle.keys for _, bundle in readable(artifacts)]
        self._listed = {entry.hash for entry in suppressed.entries(settings.db)}

    def find(self, asked: Sequence[Sequence[str]]) -> list[Person]:
        """The people who are asked for, each by one or more names; the database is read once for all of them.

        Raises
        ------
        UsageError
            Nothing was named.
        """
        people = [Person(tuple(names), ids_for(names, self.secret)) for names in asked]
        if not self.store.exists():
            return self._known(people, received.look(self.spool, people), _Rows())
        with self.store.reading() as con:
            people = _resolved(con, people)
            seen = received.look(self.spool, people)
            people = self._known(people, seen, _Rows.of(con, people, {one for s in seen for one in s.sessions}))
            unknown = [p.asked[0].strip() for p in people if not p.known]
            meant = in_other_case(con, unknown) if unknown else {}
        return [p if p.known else replace(p, meant=tuple(meant.get(p.asked[0].strip(), ()))) for p in people]

    def _known(self, people: Sequence[Person], seen: Sequence[received.Seen], rows: _Rows) -> list[Person]:
        """With what is held, and the sessions that are theirs: those in which only they were named or, of nobody's id,
        the guest's own. A customer's number may be somebody else's session: a customer, known or erased, is meant."""
        found = []
        for person, lines in zip(people, seen, strict=True):
            ids = {*person.ids, *lines.ids}
            held = bool(rows.held & ids or lines.ids) or self._in_versions(ids)
            mine = {session for session, user in rows.visits.items() if user in ids}
            mine |= {session for session in lines.sessions if rows.named.get(session, set()) <= ids}
            if not held and not self._erased_as_customer(ids):
                mine |= (rows.guests & ids) | lines.guests | {i for i in ids if self._in_versions([guest_id(i)])}
            known = held or bool(mine) or bool(rows.refused & {cell(one) for one in ids})
            ordered = tuple(dict.fromkeys((*person.ids, *sorted(lines.ids))))
            found.append(replace(person, ids=ordered, sessions=tuple(sorted(mine)), known=known))
        return found

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


@dataclass(frozen=True)
class _Rows:
    """What the database says of the people who are looked for."""

    held: Set[str] = frozenset()  # ids with rows
    visits: Mapping[str, str] = field(default_factory=dict)  # session to the one customer named in it
    named: Mapping[str, Set[str]] = field(default_factory=dict)  # session to all who are
    guests: Set[str] = frozenset()  # names that are sessions of guests
    refused: Set[str] = frozenset()  # cells that name the customer or the session of a rejected row

    @staticmethod
    def of(con: duckdb.DuckDBPyConnection, people: Sequence[Person], in_spool: Set[str]) -> _Rows:
        ids = [one for p in people for one in p.ids]
        refused = set(rejected_of(con, ids, ids).values())
        visits, named = sessions_of(con, ids), named_in(con, sorted(in_spool))
        return _Rows(known_ids(con, ids), visits, named, guests_named(con, ids), refused)


def _resolved(con: duckdb.DuckDBPyConnection, people: Sequence[Person]) -> list[Person]:
    """With addresses in every case in which they are held, and with the customers in whose profile they are."""
    emails = [one for p in people for one in p.ids if is_email(one)]
    cased = in_other_case(con, emails) if emails else {}
    held = known_ids(con, [*(one for p in people for one in p.ids), *(one for ids in cased.values() for one in ids)])
    profiles = profiles_with(con, [one for p in people if any(map(is_email, p.asked)) for one in p.ids])
    found = []
    for person in people:
        ids = tuple(dict.fromkeys((*person.ids, *sorted({c for i in person.ids for c in cased.get(i, ())}))))
        wanted = {cell(i) for i in ids}
        others = [(u, k) for u, k, v in profiles if v in wanted and u not in ids and is_identifier(k)]
        if held & {*ids}:  # a customer under the address itself: the others may be somebody else
            found.append(replace(person, ids=ids, also=tuple(sorted({user for user, _ in others}))))
        else:
            forms = [form for user, _ in others for form in spellings(user)]
            found.append(replace(person, ids=tuple(dict.fromkeys((*ids, *forms))), resolved=tuple(others)))
    return found


def is_identifier(attribute: str) -> bool:
    """Whether an attribute of a profile names the profile's own person, as ingest tells a file's columns."""
    return tier_of(USER_FIELDS[0], plain(attribute)) is not None
