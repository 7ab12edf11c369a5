"""Every kind of list, option of a placement and operator of filters, where the right answer is known.

All are read from the code: a new one fails here until its case stands in the table.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lark
import msgspec
import orjson
import pytest

from recsys_cli.api.payloads import PersonalQuery
from recsys_cli.artifacts import Spool, SpoolWriter
from recsys_cli.errors import UsageError
from recsys_cli.serving import Engine, Filters, Request, filter_parser, placements
from recsys_cli.serving.filter_masks import _ORDER
from recsys_cli.serving.filter_tree import AllOf, AnyOf, Attribute, Literal, Node, Not, OfUser, parse
from recsys_cli.serving.list_kinds import KINDS
from recsys_cli.serving.live_events import Overlay
from recsys_cli.serving.placements import Placement, fill
from recsys_cli.settings_table import table

TESTS = Path(__file__).resolve().parents[1]


def _loaded(path: str) -> ModuleType:
    name = "contracts_of_placements_" + path.replace("/", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


_api = _loaded("api/conftest.py")
_written = _loaded("serving/test_written_filters.py")
_fields = _loaded("serving/test_filters.py")
DAY, NOW = 86_400, 1_750_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """See `tests/serving/shop.py`; read, and never changed."""
    return _api.shop_module.make_shop(tmp_path_factory.mktemp("shop"))


# -- kinds of lists ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Known:
    """What is asked, and the list's items; `ordered` where their order is known too, `title` where it has one."""

    asked: dict[str, Any]
    items: str
    ordered: bool = True
    title: str = ""


LISTS = {
    "personal": Known({"user_id": "d2", "k": 4}, "d2 d4 d7 d9", ordered=False),  # dogs' things that d2 has not bought
    "similar": Known({"item_id": "t0", "k": 7}, "t1 t4 t5 t6 t7 t8 t9", ordered=False),
    "together": Known({"item_id": "t0"}, "t1"),
    "category": Known({"item_id": "d0"}, "d1 d2 d3 d4 d5 d6 d7 d8 d9", ordered=False),
    "complete": Known({"items": ("c0",)}, "d1 g1 c1 d2"),  # one of each category that the basket lacks comes first
    "cheaper": Known({"item_id": "c4"}, "c0 c1 c2 c3", ordered=False),
    "better": Known({"item_id": "c1"}, "c2 c3", ordered=False),  # twice the price at most
    "buy-again": Known({"user_id": "regular"}, "c3"),  # c4 is not due yet
    "viewed": Known({"user_id": "viewer"}, "d5 c3"),
    "because": Known({"user_id": "buyer", "k": 1}, "t1", title='Because you bought Tea "0"'),
    "new-for-you": Known({"user_id": "t4"}, "new0 new1"),
    "on-sale": Known({"user_id": "c4", "repeat": True}, "c5 g5"),
    "popular": Known({"k": 3}, "c9 t0 t1", ordered=False),  # what sells today, and what all of one taste bought
    "trending": Known({"k": 1}, "c9"),
    "new": Known({"k": 2}, "new0 new1"),
}
HEARD = [
    *((f"c{n}", "purchase", "regular", ago) for n, days in ((3, (90, 60, 30)), (4, (70, 40, 10))) for ago in days),
    ("c3", "view", "viewer", 2),
    ("d5", "view", "viewer", 1),
    ("g7", "purchase", "viewer", 0),
    ("t0", "purchase", "buyer", 3),
]
REGULAR = {"c5": "10", "g5": "10", "d1": "2"}  # c5 and g5 cost 6, and d1 its 2


@pytest.fixture(scope="module")
def engine(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """On the shop, after what is in `HEARD` and `REGULAR`."""
    lines = [
        {"t": "event", "item_id": i, "event_type": t, "user_id": u, "ts": NOW - ago * DAY, "qty": 1}
        for i, t, u, ago in HEARD
    ]
    lines += [
        {"t": "item", "item_id": i, "ts": NOW, "attributes": json.dumps({"regular_price": price})}
        for i, price in REGULAR.items()
    ]
    folder = tmp_path_factory.mktemp("spool")
    SpoolWriter(folder).append([orjson.dumps(line) for line in lines])
    made = Engine.open(shop.version, shop.secret, Overlay(Spool(folder), {}, shop.secret))
    for _ in made.catch_up():
        pass
    code, shelves = made.catalogue.code_of, made.bundle.shelves
    with_it = [code[i] for i in ("c1", "d1", "d2", "g1")]
    for name, values in (("together_item", with_it), ("together_lift", [9, 8, 7, 6])):
        shelf = shelves[name].copy()
        shelf[code["c0"]] = -1 if name == "together_item" else 0
        shelf[code["c0"], :4] = values
        shelves[name] = shelf  # type: ignore[index]
    return made


def listed(engine: Engine, kind: str, **asked: Any) -> Any:
    placement = Placement.of("place", {"kind": kind, "fallback": [], "k": 40})
    return fill(engine, placement, placement.request(Request(**{"k": 40, **asked}), {}))


def test_every_kind_has_a_case() -> None:
    assert LISTS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", LISTS)
def test_a_kind_shows_what_it_is_known_to(engine: Engine, kind: str) -> None:
    known = LISTS[kind]
    answer = listed(engine, kind, **known.asked)
    expected = known.items.split()
    assert (answer.item_ids if known.ordered else sorted(answer.item_ids)) == expected
    assert answer.title == known.title
    assert not any(answer.fallbacks)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_needs_and_how_it_is_filled_up(engine: Engine, kind: str) -> None:
    of = KINDS[kind]
    assert Placement.of("place", {"kind": kind}).fallback == (() if of.alone else (KINDS["popular"],))
    nobody = {"user_id": "nobody"}
    if of.needs:
        with pytest.raises(UsageError, match=f"shows {kind} items and needs {' or '.join(of.needs)}"):
            listed(engine, kind, **nobody)
    elif of.tells:
        assert listed(engine, kind, **nobody).item_ids == [], "of those of whom nothing is known, nothing can be told"
        assert listed(engine, kind, **LISTS[kind].asked, consent="none").item_ids == []


# -- options of placements --------------------------------------------------------------------------------------------

Body = dict[str, Any]


def _items(body: Body) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def _marks(body: Body) -> list[tuple[str, bool]]:
    return [(item["item_id"], item["fallback"]) for item in body["items"]]


def _prices(body: Body) -> list[float]:
    return [item["price"] for item in body["items"]]


@dataclasses.dataclass(frozen=True)
class Option:
    """A placement with the option, one without it, and what is asked; `shown` of each answer is known.

    PLAIN and RANKED stand for the names of two versions: the served one, and one that puts cheap items first.
    """

    given: Body
    without: Body
    asked: dict[str, Any]
    shown: Callable[[Body], Any]
    expected: tuple[Any, Any]


_RANKED = {"version": "RANKED", "k": 4, "rules": {"explore": False}}
OPTIONS = {
    "kind": Option({"kind": "trending", "k": 1}, {"k": 1, "kind": "new"}, {}, _items, (["c9"], ["new0"])),
    "fallback": Option(
        {"kind": "together", "fallback": ["trending"], "k": 2},
        {"kind": "together", "fallback": [], "k": 2},
        {"item_id": "t0"},
        _marks,
        ([("t1", False), ("c9", True)], [("t1", False)]),
    ),
    "filter": Option(
        {"kind": "cheaper", "filter": "price < user.most"},
        {"kind": "cheaper"},
        {"item_id": "c3", "user.most": "3"},
        lambda body: sorted(_items(body)),
        (["c0", "c1"], ["c0", "c1", "c2"]),
    ),
    "rules": Option(
        {"rules": {"max_per_category": 1}, "k": 4},
        {"k": 4, "rules": {"max_per_category": 0}},
        {"user_id": "t4", "repeat": True},
        lambda body: len({item["category"] for item in body["items"]}),
        (4, 1),
    ),
    "ranker": Option(
        {**_RANKED, "ranker": False},
        _RANKED,
        {"user_id": "g1"},
        lambda body: _prices(body) == sorted(_prices(body)),
        (False, True),
    ),
    "version": Option({"version": "RANKED"}, {}, {}, lambda body: body["version"], ("RANKED", "PLAIN")),
    "rail": Option(
        {"kind": "because", "rail": 2},
        {"kind": "because", "rail": 1},
        {"user_id": "two-tastes"},
        lambda body: body["title"],
        ('Because you bought Coffee "5"', 'Because you bought Tea "0"'),
    ),
    "k": Option({"k": 3}, {}, {}, lambda body: len(body["items"]), (3, 10)),
    "title": Option(
        {"title": 'For <you> & "yours"'}, {}, {}, lambda body: body.get("title"), ('For <you> & "yours"', None)
    ),
}


def _toml(tables: dict[str, Body]) -> str:
    """As people write it; JSON's lists, texts, numbers and yes and no are TOML's."""
    lines = ["[serve]", "ranker_ms = 1000.0"]
    for name, given in tables.items():
        lines.append(f"[placements.{name}]")
        for key, value in given.items():
            inside = ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) if isinstance(value, dict) else ""
            lines.append(f"{key} = {{{inside}}}" if inside else f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class Served:
    """A server with two placements for each option, `with-NAME` and `without-NAME`; `names` are its versions'."""

    server: Any
    names: dict[str, str]


@pytest.fixture(scope="module")
def served(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("lightgbm")
    from cheap_first import cheap_first, with_ranker

    from recsys_cli.ranking.outcome import NEW, REPEAT

    mine = _api.copy_of(shop, tmp_path_factory.mktemp("served") / "copy")
    plain = mine.version.name
    ranked = with_ranker(mine, cheap_first(NEW, REPEAT)).name
    with mine.artifacts.exclusive():
        mine.artifacts.point_to(plain)
    names = {"PLAIN": plain, "RANKED": ranked}
    tables = {f"with-{name}": option.given for name, option in OPTIONS.items()}
    tables |= {f"without-{name}": option.without for name, option in OPTIONS.items()}
    folder = tmp_path_factory.mktemp("log")
    text = re.sub("PLAIN|RANKED", lambda word: names[word[0]], _toml(tables))
    (folder / "recsys.toml").write_text(text, encoding="utf-8")
    server = _api.Server(mine, folder / "log", cwd=folder)
    try:
        for item_id, ago in (("c5", 5), ("t0", 3)):
            event = {"user_id": "two-tastes", "item_id": item_id, "event_type": "purchase", "ts": NOW - ago * DAY}
            server.post("/events", event)
        assert _api.eventually(lambda: _ready(server, ranked)), "the events count, and the other version is loaded"
        yield Served(server, names)
    finally:
        server.stop()


def _ready(server: Any, version: str) -> bool:
    rail = server.get("/recommend", placement="with-rail", user_id="two-tastes")["items"]
    return bool(rail) and server.get("/recommend", placement="with-version")["version"] == version


def test_every_option_has_a_case() -> None:
    fields = {field.name for field in dataclasses.fields(Placement)} - {"name"}
    assert OPTIONS.keys() == fields == set(placements._KEYS) == placements._READERS.keys()
    assert {"name"} | fields == Placement.of("place", {}).as_dict().keys()
    assert all(option.given.keys() >= {name} for name, option in OPTIONS.items())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_does_what_it_says(served: Served, name: str) -> None:
    option = OPTIONS[name]
    bodies = [served.server.get("/recommend", placement=f"{way}-{name}", **option.asked) for way in ("with", "without")]
    expected = tuple(served.names.get(value, value) if isinstance(value, str) else value for value in option.expected)
    assert tuple(option.shown(body) for body in bodies) == expected
    assert [body["placement"] for body in bodies] == [f"with-{name}", f"without-{name}"]


def test_the_rules_of_a_placement_are_those_of_requests_and_the_readme_names_them() -> None:
    shop_wide = {row.name.removeprefix("rules.") for row in table() if row.name.startswith("rules.")}
    filters = {field.name for field in dataclasses.fields(Filters)}
    of_requests = {field.name for field in msgspec.structs.fields(PersonalQuery)} & shop_wide - filters
    more = {"freshness_days", "consumables", "explore"}
    assert of_requests
    assert placements._RULES.keys() == of_requests | more
    told = re.search(r"`rules` may set (.+?);", (TESTS.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == placements._RULES.keys()


@pytest.mark.parametrize("name", placements._RULES)
def test_a_rule_of_a_placement_reaches_the_list(engine: Engine, name: str) -> None:
    row = placements._RULES[name]
    other = (not row.default) if row.type is bool else row.default + 1 if row.default + 1 <= row.high else 0.5
    request = Placement.of("place", {"rules": {name: other}}).request(Request(), {})
    assert getattr(engine._rules_of(request).settings, name) == other != getattr(engine.rules.settings, name)


# -- operators of filters ---------------------------------------------------------------------------------------------

CASES: dict[str, str] = _written.CASES
_SIDES = {Attribute: "item", Literal: "value", OfUser: "user"}


def _grammar() -> lark.Lark:
    return lark.Lark(filter_parser._GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=False)


def _parts(text: str, parser: lark.Lark) -> set[str]:
    """The rules of the grammar by which a filter is read, and the words it has of those that are a choice."""
    found = set()
    for part in parser.parse(text).iter_subtrees():
        if part.data not in ("any", "all") or len(part.children) > 1:
            found.add(str(part.data))
        for token in part.children:
            if isinstance(token, lark.Token) and token.type in ("COMPARISON", "WORD"):
                found.add(token.lower())
    return found


def _choices(parser: lark.Lark) -> set[str]:
    pattern = {terminal.name: terminal.pattern.value for terminal in parser.terminals}
    words = re.match(r"\(([\w|]+)\)", pattern["WORD"])
    assert words is not None
    return {*pattern["COMPARISON"].split("|"), *words[1].split("|")}


def test_every_operator_of_the_grammar_has_a_case() -> None:
    parser = _grammar()
    rules = {name for name in vars(filter_parser._Tree) if not name.startswith("_")}
    assert {"any", "all", "negated", "within", "contains"} <= rules
    used = set().union(*(_parts(text, parser) for text in CASES))
    assert (rules | _choices(parser)) - used == set(), "a filter with it stands in CASES of test_written_filters"


def _comparisons(node: Node) -> Iterator[tuple[str, str]]:
    if isinstance(node, Not | AllOf | AnyOf):
        for part in node.parts:
            yield from _comparisons(part)
    else:
        sides = sorted((_SIDES[type(node.left)], _SIDES[type(node.right)])) if node.how != "contains" else (
            _SIDES[type(node.left)], _SIDES[type(node.right)])  # fmt: skip
        yield node.how, " and ".join(sides)


def test_every_comparison_has_a_case_for_whatever_stands_on_its_sides() -> None:
    pairs = ("item and value", "item and item", "item and user", "user and value")
    wanted = {(how, pair) for how in _ORDER for pair in pairs}
    wanted |= {("contains", pair) for pair in (
        "item and value", "item and user", "item and item", "value and item", "user and item", "user and value",
        "value and user")}  # fmt: skip
    used = {found for text in CASES for found in _comparisons(parse(text).root)}
    assert wanted - used == set(), "a filter with it stands in CASES of test_written_filters"


def test_every_filter_by_name_has_a_case() -> None:
    """`filter` and `user` are the written ones, above."""
    assert _fields.FILTERS.keys() == {field.name for field in dataclasses.fields(Filters)} - {"filter", "user"}
