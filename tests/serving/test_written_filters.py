"""Filters as people write them: every operator where the right answer is known, and nothing that crashes or runs."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.errors import UsageError
from recsys_cli.serving import Engine, Filters, Request
from recsys_cli.serving.attributes import Attributes
from recsys_cli.serving.filter_masks import Masks
from recsys_cli.serving.filter_tree import FilterError, parse

ROWS: dict[str, dict[str, Any]] = {
    "apple": {
        "title": "Green Apple", "category": "fruit", "brand": "Ash", "price": 2.0, "tags": "vegan, fresh",
        "availability": True, "created_at": 1_767_225_600,
        "attributes": {"ships_to": ["DE", "AT"], "organic": "yes", "weight": "180", "made-in": "IT", "uvp": "2.5"},
    },
    "bread": {
        "title": "Rye bread", "category": "bakery", "brand": None, "price": 4.5, "tags": "vegan;baked",
        "availability": None, "created_at": 1_750_000_000,
        "attributes": {"ships_to": ["DE"], "organic": False, "weight": 500, "home": "AT", "uvp": "4.5"},
    },
    "cheese": {
        "title": "Goat cheese", "category": "dairy", "brand": "Birch", "price": 9.9, "tags": None,
        "availability": False, "created_at": None,
        "attributes": {"ships_to": "FR|DE", "organic": "1", "weight": "250.0", "home": "FR", "sizes": [38, 39.5]},
    },
    "dish": {"title": "Dish", "category": "Kitchen & Co", "brand": "Ash", "price": None, "attributes": None},
}  # fmt: skip
CASES = {
    'category = "fruit"': "apple",
    "category == 'fruit'": "apple",
    'brand != "Ash"': "bread cheese",
    'brand <> "Ash"': "bread cheese",
    "price < 4.5": "apple",
    "price <= 4.5": "apple bread",
    "4.5 < price": "cheese",
    "price >= 4.5": "bread cheese",
    "price = 2": "apple",
    "price != 2": "bread cheese dish",
    'price < "10"': "apple bread cheese",
    "weight > 200": "bread cheese",
    "weight = 250": "cheese",
    'weight = "500"': "bread",
    '"vegan" in tags': "apple bread",
    'tags contains "baked"': "bread",
    'tags contains "veg"': "",
    'title contains "BREAD"': "bread",
    'title contains "ee"': "apple cheese",
    'category in ["fruit", "dairy"]': "apple cheese",
    "category in ('fruit')": "apple",
    'category not in ("fruit", "dairy")': "bread dish",
    "weight in [180, 500]": "apple bread",
    "sizes contains 38": "cheese",
    "sizes contains 39.5": "cheese",
    "organic": "apple cheese",
    "not organic": "bread dish",
    "organic = false": "bread",
    "organic = true and price < 5": "apple",
    "availability": "apple bread dish",
    "brand = null": "bread",
    "brand != null": "apple cheese dish",
    "price = null": "dish",
    '`made-in` = "IT"': "apple",
    'category = "Kitchen & Co"': "dish",
    "ships_to contains user.country": "apple",
    "user.country in ships_to": "apple",
    "user.visits > 3 and organic": "apple cheese",
    "user.visits > 4 and organic": "",
    "price < user.budget": "apple bread",
    "category in user.likes": "apple bread",
    'user.country = "AT" and price < 3': "apple",
    "user.gone = null or ships_to contains user.gone": "apple bread cheese dish",
    "ships_to contains home": "cheese",
    "price < uvp": "apple",
    "price = uvp": "bread",
    "price != uvp": "apple cheese dish",
    "price <= uvp": "apple bread",
    "price > uvp": "",
    "price >= uvp": "bread",
    "home = user.country": "bread",
    "home != user.country": "apple cheese dish",
    "price <= user.budget": "apple bread",
    "price > user.budget": "cheese",
    "price >= user.budget": "cheese",
    "user.visits < 4 and organic": "",
    "user.visits <= 4 and organic": "apple cheese",
    "user.visits >= 5 and organic": "",
    'user.country != "DE" and organic': "apple cheese",
    'user.likes contains "bakery" and organic': "apple cheese",
    '"dairy" in user.likes and organic': "",
    'user.country in ["AT", "DE"] and organic': "apple cheese",
    'created_at >= "2026-01-01"': "apple",
    'created_at < "2026-01-01"': "bread",
    'price < 3 or category = "dairy" and brand = "Birch"': "apple cheese",
    '(price < 3 or category = "dairy") and brand = "Birch"': "cheese",
    'NOT (price < 3 OR category = "dairy")': "bread dish",
    "true": "apple bread cheese dish",
    "not\n\ttrue": "",
    'title = "say \\"hi\\""': "",
}
USER = {"country": "AT", "budget": "5", "visits": "4", "likes": "fruit,bakery"}


def attributes() -> Attributes:
    rows = [
        {"item_id": i} | r | {"attributes": r["attributes"] and orjson.dumps(r["attributes"]).decode()}
        for i, r in ROWS.items()
    ]
    return Attributes(pa.Table.from_pylist(rows))


def fitting(text: str, known: Attributes | None = None) -> str:
    mask = Masks(known or attributes(), len(ROWS)).of(parse(text), USER)
    return " ".join(name for name, fits in zip(ROWS, mask.tolist(), strict=True) if fits)


@pytest.mark.parametrize("text", CASES)
def test_what_fits(text: str) -> None:
    assert fitting(text) == CASES[text]


@pytest.mark.parametrize("text", CASES)
def test_what_changes_is_seen_at_once(text: str) -> None:
    """Items that become what others are fit what those fit."""
    known = attributes()
    before = fitting(text, known)
    bread = ROWS["bread"] | {"attributes": orjson.dumps(ROWS["bread"]["attributes"]).decode()}
    known.change(0, bread)
    known.change(3, bread)
    others = (
        ("bread" in before) * "apple " + before.replace("apple", "").replace("dish", "") + ("bread" in before) * " dish"
    )
    assert fitting(text, known).split() == others.split()


WRONG = {
    "prise < 5": (1, "no item has an attribute 'prise'. Did you mean price?"),
    "category = fruit": (12, "no item has an attribute 'fruit'."),
    'price < 5 and Organic = "x"': (15, "no item has an attribute 'Organic'. Did you mean organic?"),
    "madein = 1": (1, "Did you mean `made-in`?"),
    "price <": (8, "the filter ends where a value or the name of an attribute is expected"),
    "price < < 5": (9, "'<' stands where a value or the name of an attribute is expected"),
    "(price < 5": (11, "the filter ends where ')' is expected"),
    "price < 5)": (10, "')' stands where the end is expected"),
    "made-in = 5": (5, "'-' is not expected here. Write a name with other characters in backquotes: `made-in`."),
    'brand = "Ash': (9, "'\"' is not expected here. The \" has no other one that closes it."),
    "price < 5 && organic": (11, "'&' is not expected here. Write and, or."),
    "price < 50EUR": (9, "'5' is not expected here"),
    "": (1, "the filter ends where"),
    '"vegan"': (1, "a value alone says nothing"),
    "category < 5": (1, "'category' holds texts, which cannot be compared with a number"),
    "price < null": (9, "< compares numbers, days and texts"),
    "price < true": (9, "< compares numbers, days and texts"),
    'created_at < "soon"': (14, "'soon' is not a day"),
    "ships_to contains user.land": (19, "user.land is not known. Send user.land=… with the request"),
    "price < user.country": (9, "user.country must be a number here, got 'AT'"),
    "price < " + "9" * 400: (9, "a number is too large. Write an id in quotes"),
    "price in [1, " + "9" * 400 + "]": (14, "a number is too large"),
    " or ".join(['title contains "x"'] * 5): (89, "looks into titles and descriptions 4 times at most"),
    "tags contains brand or tags contains category": (24, "one attribute in another once at most"),
    " or ".join(["price < 5"] * 33): (417, "a filter has 32 comparisons at most"),
    "price in 5": (10, "this is not a list"),
    "not " * 50 + "organic": (1, "more than 40 parts are inside each other"),
    "x" * 2001: (2001, "a filter has 2,000 characters at most"),
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_points_at_the_column(text: str) -> None:
    with pytest.raises(FilterError) as told:
        fitting(text)
    column, words = WRONG[text]
    assert (told.value.column, words in str(told.value)) == (column, True), str(told.value)
    assert str(told.value).startswith(f"filter, column {column}: ")


_KNOWN = attributes()
_PIECES = st.sampled_from(
    """price tags user.country user.x `made-in` "a" ' " 5 -1.5 null true < = != in contains and or not ( ) [ ] , \\
    __import__('os') created_at category . {0}""".split()  # noqa: SIM905
)


@given(
    st.one_of(
        st.text(max_size=60), st.lists(_PIECES, max_size=14).map(" ".join), st.text(string.printable, max_size=80)
    )
)
def test_whatever_is_written_is_a_mask_or_a_sentence(text: str) -> None:
    """Nothing crashes; and nothing can run, for the tree has no node that calls."""
    told = None
    try:
        mask = Masks(_KNOWN, len(ROWS)).of(parse(text), USER)
    except FilterError as e:
        told = e
    if told is None:
        assert (mask.dtype, mask.shape) == (bool, (len(ROWS),))
    else:
        assert 1 <= told.column <= len(text) + 1
        assert str(told).endswith((".", "?", '".'))


_LEAVES = {
    "price <= 4.5": "apple bread",
    "organic": "apple cheese",
    '"vegan" in tags': "apple bread",
    "brand = null": "bread",
    "weight > 200": "bread cheese",
    "false": "",
}
_TESTS = st.sampled_from(list(_LEAVES))
_TREES = st.recursive(
    _TESTS.map(lambda t: (t, set(_LEAVES[t].split()))),
    lambda inner: st.one_of(
        inner.map(lambda a: (f"not ({a[0]})", set(ROWS) - a[1])),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) and ({p[1][0]})", p[0][1] & p[1][1])),
        st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) or ({p[1][0]})", p[0][1] | p[1][1])),
    ),
    max_leaves=8,
)


@given(_TREES)
def test_and_or_and_not_are_those_of_sets(pair: tuple[str, set[str]]) -> None:
    text, expected = pair
    assert set(fitting(text, _KNOWN).split()) == expected


def test_lists_hold_what_fits(engine: Engine) -> None:
    filters = Filters.written('colour = "red" and price < user.most', user={"most": "7", "other": "x"})
    assert filters.user == (("most", "7"),)
    fits = {i for i in engine.catalogue.ids if i[1:].isdigit() and int(i[1:]) % 2 and int(i[1:]) + 1 < 7} - {"t3"}
    request = Request(user_id="t4", k=60, repeat=True, filters=filters)
    assert set(engine.recommend(request).item_ids) == fits
    for answer in (engine.popular(request), engine.shelf("new", request), engine.similar("c1", 60, filters=filters)):
        assert set(answer.item_ids) <= fits
        assert len(answer.item_ids) >= len(fits) - 1


def test_words_that_no_item_has_are_told_to_those_who_ask_why(engine: Engine) -> None:
    answer = engine.recommend(Request(explain=True, filters=Filters.written('colour in ["red"] and colour = "Red"')))
    assert answer.item_ids == []
    assert answer.stages[0]["unknown"] == {"colour": ["Red"]}


def test_campaigns_take_filters(ruled: Callable[..., Engine]) -> None:
    ban = {"action": "ban", "filter": 'colour = "red" and price < 5'}
    listed = ruled(campaigns=(ban,)).recommend(Request(user_id="t4", k=60)).item_ids
    assert not {"c1", "c3", "t1"} & set(listed)
    assert {"c5", "c2"} <= set(listed)
    for wrong, words in (("price <", "Campaign 1 in [[rules.campaigns]]: filter, column 8"), ("user.x = 1", "user.x")):
        with pytest.raises(UsageError, match=words.replace("[", r"\[")):
            ruled(campaigns=({"action": "ban", "filter": wrong},))


def test_a_change_of_the_catalogue_counts_in_filters(live: Callable[..., Engine]) -> None:
    made = live()
    request = Request(k=60, filters=Filters.written('colour = "green"'))
    assert made.popular(request).item_ids == []
    made.hear({"t": "item", "item_id": "c4", "attributes": '{"colour": "green"}', "ts": 1_750_000_100})
    assert made.popular(request).item_ids == ["c4"]
