"""Named places for lists: `[placements.NAME]` in recsys.toml says what stands there, and pages only name the place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NotFound, SettingError, UsageError
from ..settings_table import table
from ..typed_values import Bounds, typed
from .customer_lists import RAILS
from .engine import Engine
from .filter_tree import FilterError, parse
from .list_kinds import KINDS, ListKind
from .request import Answer, Request

MOST = 200  # items of a list
_OF_THE_SHOP = ("rules.in_stock_only", "rules.shown_days")  # the same for all lists
_RULES = {
    row.name.removeprefix("rules."): row
    for row in table()
    if row.name.startswith("rules.") and row.type in (bool, int, float) and row.name not in _OF_THE_SHOP
}
_KEYS = ("kind", "fallback", "filter", "rules", "ranker", "version", "rail", "k", "title")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")


@dataclass(frozen=True)
class Placement:
    """One place for a list.

    Parameters
    ----------
    name
        What pages call it.
    kind
        What stands there.
    fallback
        What fills it up, one after the other.
    filter
        Which items may stand there; see `filter_tree`. Empty for all.
    rules
        Other values for some of the shop's rules.
    ranker
        Whether the ranker orders the list, where it is on.
    version
        A published version to answer from; empty for the one that is served.
    rail
        Which of the customer's last purchases a list of the kind because is about, from 1.
    k
        How many items, where the request does not say.
    title
        Heading; empty for that of the page.
    """

    name: str
    kind: ListKind = KINDS["personal"]
    fallback: tuple[ListKind, ...] = (KINDS["popular"],)
    filter: str = ""
    rules: tuple[tuple[str, Any], ...] = ()
    ranker: bool = True
    version: str = ""
    rail: int = 1
    k: int = 10
    title: str = ""

    @staticmethod
    def of(name: str, given: Any) -> Placement:
        """From one table of `[placements]`.

        Raises
        ------
        SettingError
            Says which placement and why.
        """
        where = f"Placement '{name}'"
        if not _NAME.fullmatch(name):
            hint = "Use letters, digits, - and _, 60 at most."
            raise SettingError(("placements", name), f"{where} has a name that pages cannot send.", hint)
        if not isinstance(given, Mapping):
            raise SettingError(
                ("placements", name), f"{where} must be a table, got {given!r}.", f"Write [placements.{name}]."
            )
        for key in given:
            if key not in _KEYS:
                raise SettingError(
                    ("placements", name, key), f"{where} has '{key}', which is not known.", _near(key, _KEYS)
                )
        read: dict[str, Any] = {}
        for key, value in given.items():
            try:
                read[key] = _READERS[key](value)
            except FilterError as e:
                raise SettingError(("placements", name, key), f"{where}: {e.message}", e.hint) from None
            except _Wrong as e:
                path = ("placements", name, key, *e.path)
                raise SettingError(path, f"{where}: {'.'.join(map(str, (key, *e.path)))} {e}.", e.hint) from None
        if read.get("kind", PERSONAL).alone:
            read.setdefault("fallback", ())
        return Placement(name, **read)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the file, with what is left out there."""
        return {
            "name": self.name,
            "kind": self.kind.name,
            "fallback": [kind.name for kind in self.fallback],
            "filter": self.filter,
            "rules": dict(self.rules),
            "ranker": self.ranker,
            "version": self.version,
            "rail": self.rail,
            "k": self.k,
            "title": self.title,
        }

    def request(self, asked: Request, user: Mapping[str, str]) -> Request:
        """What is asked of the engine when a page asks for this place.

        Raises
        ------
        UsageError
            The kind needs a product or a basket, and the request has none.
        """
        if not self.kind.has_what_it_needs(asked):
            needs = " or ".join(self.kind.needs)
            what = f"The placement '{self.name}'" if self.name else "This list"
            raise UsageError(
                f"{what} shows {self.kind.name} items and needs {needs}.",
                "Send it; recsys placements preview takes --item and --basket.",
            )
        filters = asked.filters.and_written(self.filter, user=user) if self.filter else asked.filters
        rules = {**dict(self.rules), **(asked.rules or {})} or None
        ranked, about = asked.ranked and self.ranker, {**asked.user, **user}
        return replace(asked, filters=filters, rules=rules, ranked=ranked, rail=self.rail, user=about)


PERSONAL = KINDS["personal"]
Placements = Mapping[str, Placement]


def read_placements(tables: Mapping[str, Any]) -> Placements:
    """All placements of the settings.

    Raises
    ------
    SettingError
    """
    return {name: Placement.of(name, given) for name, given in tables.items()}


def fill(engine: Engine, placement: Placement, request: Request, first: Answer | None = None) -> Answer:
    """The list of a placement: of its kind, then of each that fills it up, no item twice.

    Parameters
    ----------
    request
        See `Placement.request`.
    first
        The answer of its kind, from position 0 to the last that is asked for, when it is there already.
    """
    want, taken = request.offset + request.k, dict[str, tuple[Answer, int, bool]]()
    notes, base = [], first
    for place, kind in enumerate((placement.kind, *placement.fallback)):
        if len(taken) >= want:
            break
        made = first if place == 0 and first is not None else _made(engine, kind, request, want + len(taken))
        if made is None:
            continue
        base = base or made
        before = len(taken)
        for n, item_id in enumerate(made.item_ids):
            if not made.fallbacks[n] and item_id not in taken and len(taken) < want and item_id != request.item_id:
                taken[item_id] = (made, n, place > 0)
        notes.append({"stage": "placement", "kind": kind.name, "items": len(taken) - before})
    picked = list(taken.values())[request.offset : want]
    return Answer(
        codes=[made.codes[n] for made, n, _ in picked],
        scores=[made.scores[n] for made, n, _ in picked],
        sources=[made.sources[n] for made, n, _ in picked],
        fallbacks=[fallback for _, _, fallback in picked],
        known=base.known if base else False,
        version=engine.version,
        item_ids=[made.item_ids[n] for made, n, _ in picked],
        reasons=[made.reasons[n] for made, n, _ in picked] if request.explain else [],
        title=base.title if base else "",
        stages=[*(base.stages if base else []), *notes] if request.explain else [],
    )


def whole(request: Request) -> Request:
    """All that the page and those before it hold: what `fill` takes as `first` is an answer to this."""
    return replace(request, k=request.offset + request.k, offset=0)


def _made(engine: Engine, kind: ListKind, request: Request, depth: int) -> Answer | None:
    if not kind.has_what_it_needs(request):
        return None
    try:
        return kind.make(engine, replace(request, k=depth, offset=0))
    except NotFound:  # a product that is newer than the version: something else can be shown on its page
        return None


# -- reading ---------------------------------------------------------------------------------------------------------


class _Wrong(ValueError):
    def __init__(self, text: str, hint: str = "", path: tuple[str | int, ...] = ()) -> None:
        super().__init__(text)
        self.hint = hint or "See the chapter Placements of the README."
        self.path = path


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."


def _kind(value: Any) -> ListKind:
    kind = KINDS.get(value) if isinstance(value, str) else None
    if kind is None:
        raise _Wrong(f"must be a kind of list, got {value!r}", _near(str(value), KINDS))
    return kind


def _kinds(value: Any) -> tuple[ListKind, ...]:
    names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise _Wrong(f"must be a list of kinds, got {value!r}", 'Write fallback = ["category", "popular"].')
    if len(names) > len(KINDS):  # each costs a list, and every visitor waits for it
        raise _Wrong(f"must be at most {len(KINDS)} kinds, got {len(names):,}", "Name each kind once.")
    return tuple(map(_kind, names))


def _typed(kind: Any, bounds: Bounds = Bounds()) -> Any:
    def read(value: Any) -> Any:
        try:
            return typed(kind, value, bounds)
        except ValueError as e:
            raise _Wrong(str(e)) from None

    return read


def _filter(value: Any) -> str:
    text: str = _typed(str)(value)
    if text:
        parse(text)
    return text


def _rules(value: Any) -> tuple[tuple[str, Any], ...]:
    if not isinstance(value, Mapping):
        raise _Wrong(f"must be a table, got {value!r}", "Write rules = {diversity = 0.5}.")
    found = []
    for name, given in value.items():
        row = _RULES.get(name)
        if row is None:
            raise _Wrong("cannot be changed by a placement", _near(name, _RULES), (name,))
        try:
            found.append((name, typed(row.type, given, row.bounds)))
        except ValueError as e:
            raise _Wrong(str(e), row.help, (name,)) from None
    return tuple(found)


_READERS = {
    "kind": _kind,
    "fallback": _kinds,
    "filter": _filter,
    "rules": _rules,
    "ranker": _typed(bool),
    "version": _typed(str),
    "rail": _typed(int, Bounds(1, RAILS)),
    "k": _typed(int, Bounds(1, MOST)),
    "title": _typed(str),
}
